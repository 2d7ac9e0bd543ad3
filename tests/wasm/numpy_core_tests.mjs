// Run test files of numpy in Pyodide under Node: numpy_core_tests.mjs PYODIDE NUMPY_WITH_TESTS WHEELS FILE...
// Prints one JSON object with pytest's counts.
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

// Without this Node prints the whole of Pyodide with an error.
process.on("uncaughtException", ({ message }) => {
  console.error(message);
  process.exit(1);
});

const [pyodideFolder, tree, wheels, ...files] = process.argv.slice(2);
const folder = resolve(pyodideFolder);
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`).href);
const pyodide = await loadPyodide({
  indexURL: `${folder}/`,
  packageBaseUrl: `${folder}/`,
  stdout: () => {},
  stderr: () => {},
});
pyodide.mountNodeFS("/tree", resolve(tree));
pyodide.FS.mkdir("/wheels");
for (const name of readdirSync(wheels))
  pyodide.unpackArchive(new Uint8Array(readFileSync(`${wheels}/${name}`)), "wheel", { extractDir: "/wheels" });
const counts = await pyodide.runPythonAsync(`
import json, os, sys
sys.path[:0] = ["/tree", "/wheels"]
sys.dont_write_bytecode = True
os.chdir("/tmp")
import pytest
class Count:
    def __init__(self):
        self.counts, self.failures = {}, []
    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] = self.counts.get(report.outcome, 0) + 1
            if report.outcome == "failed":
                self.failures.append(report.nodeid)
count = Count()
code = pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir=/tree", "-o", "addopts=", "-m", "not slow", *${JSON.stringify(files)}], plugins=[count])
json.dumps({"exit": int(code), **count.counts, "failures": count.failures[:20]})
`);
console.log(counts);

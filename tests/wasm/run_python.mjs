// Run a Python file in the site's own Pyodide, under Node, with the site's own wheel installed by micropip:
//   node run_python.mjs DIST_SITE FILE.py     prints what the file's last expression is
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

// Without this Node prints the whole of Pyodide with an error.
process.on("uncaughtException", ({ message }) => {
  console.error(message);
  process.exit(1);
});

const site = resolve(process.argv[2]);
const manifest = JSON.parse(readFileSync(`${site}/manifest.json`, "utf8"));
const { loadPyodide } = await import(pathToFileURL(`${site}/pyodide/pyodide.mjs`).href);
const pyodide = await loadPyodide({ indexURL: `${site}/pyodide/`, packageBaseUrl: `${site}/pyodide/` });
const quiet = { messageCallback: () => {} };
const loaded = await pyodide.loadPackage(["numpy", "micropip"], quiet);
if (loaded.length !== 2) throw new Error(`loaded ${loaded.map((entry) => entry.name)}`);
const wheel = manifest.wheels.pyenhance.split("/").pop();
pyodide.FS.writeFile(`/tmp/${wheel}`, readFileSync(`${site}/${manifest.wheels.pyenhance}`));
await pyodide.pyimport("micropip").install(`emfs:/tmp/${wheel}`);
console.log(await pyodide.runPythonAsync(readFileSync(process.argv[3], "utf8")));

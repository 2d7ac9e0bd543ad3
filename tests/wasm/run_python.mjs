// Run a Python file in an ordinary Pyodide under Node, with numpy, and with our wheel installed by micropip:
//   node run_python.mjs FETCHED.json WHEEL FILE.py     prints what the file's last expression is
import { readFileSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";

// Without this Node prints the whole of Pyodide with an error.
process.on("uncaughtException", ({ message }) => {
  console.error(message);
  process.exit(1);
});

const [facts, wheel, file] = process.argv.slice(2).map((path) => resolve(path));
const { pyodide: core, numpy, micropip } = JSON.parse(readFileSync(facts, "utf8"));
const { loadPyodide } = await import(pathToFileURL(`${core}/pyodide.mjs`).href);
const pyodide = await loadPyodide({ indexURL: `${core}/` });
const quiet = { messageCallback: () => {} };
const loaded = await pyodide.loadPackage([numpy, micropip], quiet);
if (loaded.length !== 2) throw new Error(`loaded ${loaded.map((entry) => entry.name)}`);
pyodide.FS.writeFile(`/tmp/${basename(wheel)}`, readFileSync(wheel));
await pyodide.pyimport("micropip").install(`emfs:/tmp/${basename(wheel)}`);
console.log(await pyodide.runPythonAsync(readFileSync(file, "utf8")));

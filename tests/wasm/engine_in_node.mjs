// The engine of the built site under Node, with Pyodide in it.
import { openSite } from "./site.mjs";

/** @param {string} site folder */
export async function open(site) {
  const { engine, load, models } = await openSite(site);
  const { Python } = await load("python.js");
  const { loadPyodide } = await load("pyodide/pyodide.mjs");
  const pyodide = await loadPyodide({ indexURL: `${engine}/pyodide/`, packageBaseUrl: `${engine}/pyodide/` });
  await pyodide.loadPackage("pyenhance", { messageCallback: () => {} });
  return { load, models, python: new Python(pyodide, models) };
}

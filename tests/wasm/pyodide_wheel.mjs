// Install the site's own wheel with micropip in the site's own Pyodide, under Node, and enhance something with it.
//   node pyodide_wheel.mjs DIST_SITE
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

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
console.log(
  await pyodide.runPythonAsync(`
import hashlib, json, sys
import numpy as np
from pyenhance import Enhancer, __version__, enhance
x = (0.05 * np.random.default_rng(0).normal(size=48_000)).astype(np.float32)
y = enhance(x, 48_000)
hops = x.reshape(-1, 480)
once = Enhancer().process_hops(hops)
e = Enhancer()
split = np.concatenate([e.process_hops(hops[i:i + 7]) for i in range(0, 100, 7)])
json.dumps({"version": __version__, "platform": sys.platform, "numpy": np.__version__, "out": float(np.std(y)), "same": bool((once == split).all()), "y": y[::100].tolist()})
`),
);

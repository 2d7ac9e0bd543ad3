// Python with numpy and pyenhance, from the site's own files or from what the last visit kept.
import { checked } from "./checked.js";
import { HERE } from "./place.js";
import { Python } from "./python.js";
import * as snapshot from "./snapshot.js";

/**
 * What make_site.py writes into manifest.json; file names are relative to it.
 * @typedef {object} Manifest
 * @property {string} build
 * @property {string} pyodide its version
 * @property {string} numpy_origin
 * @property {Record<string, { latency_samples: number, num_bands: number, weights: string, image: string, summary?: string }>} models
 * @property {Record<string, string>} whole weights files of models that hear whole recordings
 * @property {Record<string, string>} libraries the compiled code for Models.instances, the fastest first
 * @property {Record<string, { bytes: number, sha256: string, integrity: string }>} files
 */
/** @typedef {(stage: "download" | "python" | "numpy" | "model", done: number, total: number) => void} Progress */

/**
 * Load, from what the last visit kept where that can be used; and keep what the next visit may start from.
 * @param {{ manifest: Manifest, model: string, models: import("./models.js").Models, remember: boolean, kernel: string | null }} wanted
 * @param {Progress} progress
 * @returns {Promise<{ python: Python, facts: Record<string, unknown>, started_again: boolean }>} facts: of the model
 */
export async function load({ manifest, model, models, remember, kernel }, progress) {
  const names = Object.keys(manifest.files).filter((name) => name.startsWith("pyodide/"));
  const known = snapshot.knows(manifest.pyodide);
  if (remember && !known)
    console.warn(
      `pyenhance: every start is a first one: snapshots know Pyodide ${snapshot.PYODIDE}, this is ${manifest.pyodide}`,
    );
  const again = remember && known ? await startAgain(manifest, names, model, models, kernel, progress) : null;
  return again ?? (await startAnew(manifest, names, model, models, kernel, remember && known, progress));
}

// From nothing.
/** @param {Manifest} manifest @param {string[]} names @param {string} model @param {import("./models.js").Models} models @param {string | null} kernel @param {boolean} remember @param {Progress} progress */
async function startAnew(manifest, names, model, models, kernel, remember, progress) {
  const pyodide = await start(manifest, names, { _makeSnapshot: remember }, progress, async (loading) => {
    progress("numpy", 0, 1);
    const loaded = await loading.loadPackage("pyenhance"); // and what it needs, numpy
    // loadPackage resolves even when a download failed
    if (loaded.length !== 2)
      throw new Error(`of numpy and pyenhance only ${loaded.map(({ name }) => name)} could be loaded`);
  });
  pyodide.pyimport("pyenhance.live").destroy();
  if (remember) keep(pyodide, manifest.build);
  return warmedUp(new Python(pyodide, models), model, kernel, progress, false);
}

// For the next start; while this one goes on.
/** @param {import("../types/pyodide").Pyodide} pyodide @param {string} build */
async function keep(pyodide, build) {
  try {
    await snapshot.keep(snapshot.take(pyodide), build, HERE);
  } catch (error) {
    console.warn("pyenhance: the next start will be as long as this one", error);
  }
}

// From what the last visit kept; null where nothing was kept, or it cannot be used.
/** @param {Manifest} manifest @param {string[]} names @param {string} model @param {import("./models.js").Models} models @param {string | null} kernel @param {Progress} progress */
async function startAgain(manifest, names, model, models, kernel, progress) {
  try {
    const saved = await snapshot.read(manifest.build, HERE);
    if (!saved) return null;
    const { default: createModule } = await import(new URL("pyodide/pyodide.asm.mjs", HERE).href);
    const core = names.filter((name) => !name.endsWith(".whl"));
    const pyodide = await start(manifest, core, snapshot.options(saved, createModule), progress);
    delete pyodide._api.config._loadSnapshot; // Pyodide would hold it for good
    const started = await warmedUp(new Python(pyodide, models), model, kernel, progress, true);
    await snapshot.worked(manifest.build, HERE);
    return started;
  } catch (error) {
    console.warn("pyenhance: the last start could not be used again", error);
    await snapshot.forget(HERE).catch(() => {}); // nothing can be kept here
    return null;
  }
}

// The first hops are slow, the browser still compiling: live sound must not wait for them.
/** @param {Python} python @param {string} model @param {string | null} kernel @param {Progress} progress @param {boolean} started_again */
async function warmedUp(python, model, kernel, progress, started_again) {
  progress("model", 0, 1);
  await python.ensure(model);
  return { python, facts: python.call("warm_up", { model, kernel }), started_again };
}

// Pyodide, whose requests are answered by one download of these files; then `more` is done with it.
/**
 * @param {Manifest} manifest
 * @param {string[]} names
 * @param {object} options
 * @param {Progress} progress
 * @param {(pyodide: import("../types/pyodide").Pyodide) => Promise<void>} [more]
 * @returns {Promise<import("../types/pyodide").Pyodide>}
 */
async function start(manifest, names, options, progress, more) {
  const indexURL = new URL("pyodide/", HERE).href;
  return answering(download(manifest, names, progress), async () => {
    const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
    const loaded = await loadPyodide({ indexURL, packageBaseUrl: indexURL, ...options });
    await more?.(loaded);
    return loaded;
  });
}

// Ask for these files at once, checked against the manifest's sums. Returns the replies by address.
/** @param {Manifest} manifest @param {string[]} names @param {Progress} progress */
function download({ files }, names, progress) {
  const total = names.reduce((sum, name) => sum + files[name].bytes, 0);
  let done = 0;
  // With a sum to check, a reply comes when all of it is there.
  const get = async (/** @type {string} */ name) => {
    const reply = checked(await fetch(new URL(name, HERE), { integrity: files[name].integrity }));
    done += files[name].bytes;
    progress(done < total ? "download" : "python", done, total);
    return reply;
  };
  const replies = new Map(names.map((name) => [new URL(name, HERE).href, get(name)]));
  for (const reply of replies.values()) reply.catch(() => {}); // whoever needs it hears of it
  return replies;
}

// Run `work` while Pyodide's requests are answered by replies that are already on their way: nothing is asked for twice.
/**
 * @template T
 * @param {Map<string, Promise<Response>>} replies
 * @param {() => Promise<T>} work
 */
async function answering(replies, work) {
  const network = globalThis.fetch;
  globalThis.fetch = (input, options) => {
    const { href } = new URL(input instanceof Request ? input.url : input, HERE);
    const reply = replies.get(href);
    replies.delete(href);
    return reply ?? network(input, options);
  };
  try {
    return await work();
  } finally {
    globalThis.fetch = network;
  }
}

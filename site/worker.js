// The worker: Pyodide with numpy and pyenhance. Loads itself with byte progress, then enhances live streams and whole recordings.
import { Lab } from "./lab.js";
import { HOP, LATENCY } from "./ring.js";
import * as snapshot from "./snapshot.js";
import { Stream, letMessagesIn } from "./stream.js";

const BASE = new URL("./", import.meta.url);
const FILE_HOPS = 50; // half a second of a recording at once: then live sound has its turn
const WARM_UP_HOPS = 40;
let pyodide;
let lab;
const streams = new Map(); // live ones, by number
const recordings = new Map(); // by number

const report = (message, transfer = []) => self.postMessage(message, transfer);

// Ask for these files at once, checked against the manifest's sums. Returns the replies by address.
function download({ files }, names) {
  const total = names.reduce((sum, name) => sum + files[name].bytes, 0);
  let done = 0;
  // With a sum to check, a reply comes when all of it is there.
  const get = async (name) => {
    const reply = await checked(await fetch(new URL(name, BASE), { integrity: files[name].integrity }));
    done += files[name].bytes;
    report({ type: "progress", stage: done < total ? "download" : "python", done, total });
    return reply;
  };
  const replies = new Map(names.map((name) => [new URL(name, BASE).href, get(name)]));
  for (const reply of replies.values()) reply.catch(() => {}); // whoever needs it hears of it
  return replies;
}

// Run `work` while Pyodide's requests are answered by replies that are already on their way: nothing is asked for twice.
async function answering(replies, work) {
  const network = self.fetch;
  self.fetch = (input, options) => {
    const { href } = new URL(input.url ?? input, BASE);
    const reply = replies.get(href);
    replies.delete(href);
    return reply ?? network(input, options);
  };
  try {
    return await work();
  } finally {
    self.fetch = network;
  }
}

async function checked(reply) {
  if (!reply.ok) throw new Error(`${reply.url}: ${reply.status} ${reply.statusText}`);
  return reply;
}

// Pyodide, whose requests are answered by one download of these files; then `more` is done with it.
async function python(manifest, names, options, more) {
  const indexURL = new URL("pyodide/", BASE).href;
  return answering(download(manifest, names), async () => {
    const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
    const loaded = await loadPyodide({ indexURL, packageBaseUrl: indexURL, ...options });
    await more?.(loaded);
    return loaded;
  });
}

// From nothing. Returns facts of the model.
async function startAnew(manifest, names, model, remember) {
  pyodide = await python(manifest, names, { _makeSnapshot: remember }, async (loading) => {
    report({ type: "progress", stage: "numpy", done: 0, total: 1 });
    const loaded = await loading.loadPackage("pyenhance"); // and what it needs, numpy
    // loadPackage resolves even when a download failed
    if (loaded.length !== 2)
      throw new Error(`of numpy and pyenhance only ${loaded.map(({ name }) => name)} could be loaded`);
  });
  pyodide.runPython("from pyenhance.live import LiveEngine");
  if (remember) keep(manifest.build);
  return warmUp(model);
}

// For the next start; while this one goes on.
async function keep(build) {
  try {
    await snapshot.keep(snapshot.take(pyodide), build, BASE);
  } catch (error) {
    console.warn("pyenhance: the next start will be as long as this one", error);
  }
}

// From what the last visit kept. Returns facts of the model; null where nothing was kept, or it cannot be used.
async function startAgain(manifest, names, model) {
  try {
    const saved = await snapshot.read(manifest.build, BASE);
    if (!saved) return null;
    const { default: createModule } = await import(new URL("pyodide/pyodide.asm.mjs", BASE));
    const core = names.filter((name) => !name.endsWith(".whl"));
    pyodide = await python(manifest, core, snapshot.options(saved, createModule));
    delete pyodide._api.config._loadSnapshot; // Pyodide would hold it for good
    const facts = warmUp(model);
    await snapshot.worked(manifest.build, BASE);
    return { ...facts, started_again: true };
  } catch (error) {
    console.warn("pyenhance: the last start could not be used again", error);
    await snapshot.forget(BASE).catch(() => {}); // nothing can be kept here
    return null;
  }
}

// The first hops are slow, the browser still compiling: live sound must not wait for them. Returns facts of the model.
function warmUp(model) {
  report({ type: "progress", stage: "model", done: 0, total: 1 });
  const text = pyodide.runPython(`
import json
engine = LiveEngine(${JSON.stringify(model)})
for _ in range(${WARM_UP_HOPS}):
    engine.run(1)
facts = engine.enhancer.model
json.dumps({"model": facts.name, "kernel": facts.kernel, "weights": facts.weights})
`);
  return JSON.parse(text);
}

async function load(model, remember) {
  const begin = performance.now();
  const manifest = await (await checked(await fetch(new URL("manifest.json", BASE)))).json();
  const names = Object.keys(manifest.files).filter((name) => name.startsWith("pyodide/"));
  const again = remember ? await startAgain(manifest, names, model) : null;
  const facts = again ?? (await startAnew(manifest, names, model, remember));
  report({ type: "ready", load_ms: performance.now() - begin, numpy_origin: manifest.numpy_origin, ...facts });
}

// A Python LiveEngine and views of its blocks, taken again when WebAssembly's memory has grown.
export class Engine {
  constructor(model, maxHops) {
    this.python = pyodide.globals.get("LiveEngine")(model, maxHops);
    this.maxHops = maxHops;
    this.strength = -1;
    this.views = {};
  }

  block(which) {
    let view = this.views[which];
    if (!view || view.data.length === 0) {
      view?.release();
      const array = this.python[which];
      view = this.views[which] = array.getBuffer("f32");
      array.destroy();
    }
    return view.data;
  }

  // strength: hundredths of a dB, -1 for no limit
  setStrength(strength) {
    if (strength === this.strength) return;
    this.strength = strength;
    const enhancer = this.python.enhancer;
    enhancer.strength_db = strength < 0 ? undefined : strength / 100;
    enhancer.destroy();
  }

  run(hops, lean) {
    this.runner ??= this.python.run;
    this.runner(hops, lean);
  }

  heapBytes() {
    return pyodide._module.HEAPU8.length;
  }

  destroy() {
    for (const view of Object.values(this.views)) view.release();
    this.runner?.destroy();
    this.python.destroy();
  }
}

// A piece of a recording; what is ready goes back. LATENCY samples more than were given come out, and the first of them are dropped.
async function enhancePiece({ id, recording, model, strength, channels, last }) {
  if (!recordings.has(recording)) {
    recordings.set(recording, { engines: channels.map(() => new Engine(model, FILE_HOPS)), skip: LATENCY, owed: 0 });
  }
  const work = recordings.get(recording);
  const { length } = channels[0];
  const hops = Math.ceil((length + (last ? LATENCY : 0)) / HOP);
  const results = channels.map(() => new Float32Array(hops * HOP));
  for (let hop = 0; hop < hops; hop += FILE_HOPS) {
    const count = Math.min(FILE_HOPS, hops - hop);
    const at = hop * HOP;
    channels.forEach((channel, c) => {
      const engine = work.engines[c];
      engine.setStrength(strength);
      const input = engine.block("input");
      input.fill(0);
      input.set(channel.subarray(at, at + count * HOP));
      engine.run(count, false);
      results[c].set(engine.block("output").subarray(0, count * HOP), at);
    });
    await letMessagesIn(); // and live sound
  }
  work.owed += length;
  const from = Math.min(work.skip, hops * HOP);
  const to = Math.min(from + work.owed, hops * HOP);
  work.skip -= from;
  work.owed -= to - from;
  const ready = results.map((result) => result.slice(from, to));
  report(
    { type: "recording", id, channels: ready },
    ready.map(({ buffer }) => buffer),
  );
}

function endRecording({ recording }) {
  for (const engine of recordings.get(recording)?.engines ?? []) engine.destroy();
  recordings.delete(recording);
}

self.onmessage = async ({ data }) => {
  try {
    if (data.type === "load") await load(data.model, data.remember && Boolean(self.caches));
    if (data.type === "attach") {
      const send = (message) => report({ ...message, stream: data.stream });
      streams.set(data.stream, new Stream(new Engine(data.model, 16), data, send));
    }
    if (data.type === "control") streams.get(data.stream)?.control(data.field, data.value);
    if (data.type === "detach") {
      streams.get(data.stream)?.end();
      streams.delete(data.stream);
    }
    if (data.type === "recording") await enhancePiece(data);
    if (data.type === "recording-end") endRecording(data);
    if (data.type === "lab") {
      lab ??= new Lab(pyodide);
      report({ type: "lab", id: data.id, ...lab.answer(data) });
    }
    if (data.type === "bench") {
      const text = pyodide.runPython(
        `import json; from pyenhance.bench import benchmark; json.dumps(benchmark(${JSON.stringify(data.model)}, ${Number(data.k)}, ${Number(data.seconds)}, json.loads(${JSON.stringify(JSON.stringify(data.kernel ?? null))})))`,
      );
      report({ type: "bench", id: data.id, row: JSON.parse(text) });
    }
  } catch (error) {
    report({
      type: "error",
      during: data.type,
      id: data.id,
      stream: data.stream,
      message: String(error?.message ?? error),
    });
  }
};

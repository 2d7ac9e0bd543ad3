// The worker: loads Python, then enhances live streams and whole recordings. Each message of protocol.js has one function here.
import { load } from "./loader.js";
import { Instance } from "./instance.js";
import { Models } from "./models.js";
import { TO_PAGE, TO_WORKER, messageOf, received, send, unreadable } from "./protocol.js";
import { HOP } from "./ring.js";
import { MOST, Stream, letMessagesIn } from "./stream.js";

const FILE_HOPS = 50; // half a second of a recording at once: then live sound has its turn

/** @type {import("./python.js").Python | undefined} */
let loaded;
/** @type {{ model: string, open(): Instance } | undefined} live sound before Python is there */
let early;
/** @type {Map<number, Stream>} */
const streams = new Map(); // live ones, by number
/** @type {Map<number, Promise<void>>} */
const attaching = new Map(); // of those that wait for their model

/** @param {string} type @param {object} [fields] @param {Transferable[]} [transfer] */
const report = (type, fields, transfer) => send(self, TO_PAGE, type, fields, transfer);

function python() {
  if (!loaded) throw new Error("Python is not loaded yet; accepted: load, once, and all else when it is ready");
  return loaded;
}

/** @type {Record<string, (message: any) => void | Promise<void>>} */
const ANSWERS = {
  async load({ manifest, model, remember }) {
    const begin = performance.now();
    const models = new Models(manifest);
    goLive(models, model, begin);
    const { python, facts, started_again } = await load(
      { manifest, model, models, remember: remember && Boolean(self.caches) },
      (stage, done, total) => report("progress", { stage, done, total }),
    );
    loaded = python;
    takeOver(model);
    const { numpy_origin } = manifest;
    const { latency_samples, num_bands } = facts;
    const load_ms = performance.now() - begin;
    if (!early) report("live", { load_ms, model: facts.model, kernel: facts.kernel, latency_samples, num_bands });
    early = undefined;
    report("ready", { load_ms, numpy_origin, started_again, ...facts });
  },

  async attach({ stream, model, buffer }) {
    await attached(stream, model, { buffer });
  },

  async "attach-by-messages"({ stream, model, port }) {
    await attached(stream, model, { port });
  },

  async control({ stream, field, value }) {
    await attaching.get(stream);
    streams.get(stream)?.control(field, value); // none: it has ended
  },

  async detach({ stream }) {
    await attaching.get(stream);
    streams.get(stream)?.end();
    streams.delete(stream);
  },

  // A piece of a recording; what is ready goes back, in all as many samples as were given.
  async piece({ id, recording, model, strength, channels, last }) {
    await python().ensure(model);
    const { length } = channels[0];
    /** @type {Float32Array[][]} */
    const parts = channels.map(() => []);
    const given = { recording, model, strength_db: strength < 0 ? null : strength / 100 };
    for (let at = 0, end = 0; end < length || at === 0; at = end) {
      end = Math.min(length, at + FILE_HOPS * HOP);
      const block = channels.map((/** @type {Float32Array} */ channel) => channel.subarray(at, end));
      const enhanced = python().call("enhance_piece", { ...given, channels: block, last: last && end === length });
      enhanced.forEach((/** @type {Float32Array} */ part, /** @type {number} */ c) => parts[c].push(part));
      await letMessagesIn(); // and live sound
      if (end === length) break;
    }
    const ready = /** @type {Float32Array<ArrayBuffer>[]} */ (parts.map(joined));
    const buffers = ready.map(({ buffer }) => buffer);
    report("piece", { id, channels: ready }, buffers);
  },

  "end-recording"({ recording }) {
    python().call("end_recording", { recording });
  },

  async bench({ id, model, k, seconds, kernel }) {
    await python().ensure(model);
    report("bench", { id, row: python().call("bench", { model, k, seconds, kernel }) });
  },

  picture({ id, sound, columns }) {
    report("picture", { id, ...python().call("picture", { sound, columns }) });
  },

  async "lab-open"({ id, noisy, clean, model }) {
    await python().ensure(model);
    python().call("open_lab", { noisy, clean, model });
    report("lab-open", { id });
  },

  "lab-run"({ id, step, bands, comb }) {
    report("lab-run", { id, ...python().call("run_step", { step, bands, comb }) });
  },

  "lab-source"({ id, name }) {
    report("lab-source", { id, source: python().call("source", { name }) });
  },

  "lab-edit"({ id, name, source }) {
    python().call("edit", { name, source });
    report("lab-edit", { id });
  },
};

// Enhance live sound by compiled code alone, until Python is there. Where that does not work, Python is waited for.
/** @param {Models} models @param {string} model @param {number} begin */
async function goLive(models, model, begin) {
  try {
    if (!models.has(model)) return;
    const { kernel, first, open } = await models.instances(model);
    if (loaded) return; // it was faster
    early = { model, open };
    const { latency, bands } = first;
    report("live", { load_ms: performance.now() - begin, model, kernel, latency_samples: latency, num_bands: bands });
  } catch (error) {
    console.warn("pyenhance: live sound waits for Python", error);
  }
}

// Python has checked its compiled code against numpy: from the next hop on the streams are its own. No sample differs where it has
// chosen the same code; where it has not, it knows why, and its choice is the right one.
/** @param {string} model */
function takeOver(model) {
  for (const stream of streams.values()) {
    const { engine } = stream;
    if (!(engine instanceof Instance)) continue;
    const next = python().liveEngine(model, MOST);
    next.takeOver(engine.state);
    stream.goOnWith(next);
  }
}

// What is said of a stream while it waits for its model must wait too.
/** @param {number} number @param {string} model @param {{ buffer?: SharedArrayBuffer, port?: MessagePort }} way */
async function attached(number, model, way) {
  const done = attach(number, model, way);
  attaching.set(
    number,
    done.catch(() => {}),
  );
  try {
    await done;
  } finally {
    attaching.delete(number);
  }
}

/** @param {number} number @param {string} model @param {{ buffer?: SharedArrayBuffer, port?: MessagePort }} way */
async function attach(number, model, way) {
  await loaded?.ensure(model);
  const engine = early?.model === model ? early.open() : python().liveEngine(model, MOST);
  try {
    streams.set(number, new Stream(engine, way, (type, fields) => report(type, { stream: number, ...fields })));
  } catch (error) {
    engine.destroy();
    throw error;
  }
}

/** @param {Float32Array[]} parts */
function joined(parts) {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

self.onmessageerror = () => report("error", { during: "message", message: unreadable(TO_WORKER) });

self.onmessage = async ({ data }) => {
  try {
    await ANSWERS[received(TO_WORKER, data).type](data);
  } catch (error) {
    // Where the message itself is wrong, so may be these.
    const known = (/** @type {unknown} */ number) => (Number.isInteger(number) ? number : undefined);
    const { type, id, stream } = Object(data);
    report("error", { during: String(type), id: known(id), stream: known(stream), message: messageOf(error) });
  }
};

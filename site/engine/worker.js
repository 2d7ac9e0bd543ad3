// The worker: loads Python, then enhances live streams and whole recordings. Each message of protocol.js has one function here.
import { MOST } from "./hops.js";
import { load } from "./loader.js";
import { Models } from "./models.js";
import { TO_PAGE, TO_WORKER, messageOf, received, send, unreadable } from "./protocol.js";
import { HOP } from "./ring.js";
import { Streams } from "./streams.js";
import { letMessagesIn } from "./turns.js";

const FILE_HOPS = 50; // half a second of a recording at once: then live sound has its turn (a model of whole ones takes half a minute)

/** @type {import("./python.js").Python | undefined} */
let loaded;
/** @param {string} type @param {object} [fields] @param {Transferable[]} [transfer] */
const report = (type, fields, transfer) => send(self, TO_PAGE, type, fields, transfer);
const streams = new Streams(report); // where live.js cannot run, or numpy was asked for
/** @type {Set<number>} models that are being fitted to a user */
const adapting = new Set();
/** @type {string | null} what computes, by name */
let wanted = null;

function python() {
  if (!loaded) throw new Error("Python is not loaded yet; accepted: load, once, and all else when it is ready");
  return loaded;
}

/** @type {Record<string, (message: any) => void | Promise<void>>} */
const ANSWERS = {
  async load({ manifest, model, remember, kernel }) {
    const begin = performance.now();
    wanted = kernel;
    const models = new Models(manifest, { remember });
    models.checkStreams(model);
    const { python, facts, started_again } = await load(
      { manifest, model, models, remember: remember && Boolean(self.caches), kernel },
      (stage, done, total) => report("progress", { stage, done, total }),
    );
    loaded = python;
    const { numpy_origin } = manifest;
    const sha256 = await python.models.sum(model);
    report("ready", { load_ms: performance.now() - begin, numpy_origin, started_again, sha256, ...facts });
  },

  async model({ id, model, files }) {
    if (files) python().add(model, files);
    python().models.checkStreams(model);
    await python().ensure(model);
    const { weights: _, ...facts } = python().call("warm_up", { model, kernel: wanted });
    report("model", { id, sha256: await python().models.sum(model), ...facts });
  },

  image({ id, weights }) {
    report("image", { id, ...read("write_image", { weights }) });
  },

  async update({ id, model, diffs }) {
    const base = await python().models.weights(model);
    report("update", { id, ...read("apply_diffs", { base, diffs }) });
  },

  // Step by step, so that others have their turn, and it can be ended.
  async adapt({ id, adaptation, model, voice, noise }) {
    adapting.add(adaptation);
    try {
      const summary = await python().models.summary(model);
      await python().ensure(model);
      read("begin_adapting", { adaptation, model, voice, noise, summary });
      for (await letMessagesIn(); adapting.has(adaptation); await letMessagesIn()) {
        const { result, done, total } = read("adapt_step", { adaptation });
        if (result) return report("adapt", { id, ...result });
        report("adapt-step", { id, done, total });
      }
    } finally {
      adapting.delete(adaptation);
      loaded?.call("end_adapting", { adaptation });
    }
  },
  "end-adapting": ({ adaptation }) => void adapting.delete(adaptation),

  // What may leave the device, if the user wants it to.
  async share({ id, model, diff, clip, noise_multiplier }) {
    const base = await python().models.weights(model);
    const summary = await python().models.summary(model);
    report("share", { id, ...read("make_update", { base, diff, summary, clip, noise_multiplier }) });
  },

  attach: ({ stream, model, buffer }) => streams.attach(stream, () => open(model), { buffer }),
  "attach-by-messages": ({ stream, model, port }) => streams.attach(stream, () => open(model), { port }),
  change: ({ stream, model }) =>
    streams.change(stream, async () => {
      await python().ensure(model);
      return model;
    }),
  control: ({ stream, field, value }) => streams.control(stream, field, value),
  detach: ({ stream }) => streams.detach(stream),

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

// Files and sounds that came from somewhere: what is wrong with them is said in one line, the last of Python's account.
/** @param {string} name @param {Record<string, unknown>} given */
function read(name, given) {
  try {
    return python().call(name, given);
  } catch (error) {
    throw new Error(
      messageOf(error)
        .trim()
        .replace(/^[^]*\n/, "")
        .replace(/^(ValueError|pyenhance[\w.]+): /, ""),
    );
  }
}

/** @param {string} model */
async function open(model) {
  await python().ensure(model);
  return python().liveEngine(model, MOST, wanted);
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

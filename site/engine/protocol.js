// Every message between page, worker and processor, with its fields. Both ends of a way import it: `send` makes a message and
// `received` takes one; either throws a TypeError that says what is wrong with it and what is accepted.
import { FIELDS, HOP, STATE } from "./ring.js";

/** @typedef {{ name: string, test: (value: unknown) => boolean }} Kind */
/** @typedef {{ to: string, messages: Record<string, Record<string, Kind>> }} Way */

/** @param {string} name @param {(value: unknown) => boolean} test @returns {Kind} */
const kind = (name, test) => ({ name, test });
/** @param {Kind} kind @returns {Kind} */
const optional = ({ name, test }) => ({ name: `${name}, or nothing`, test: (v) => v === undefined || test(v) });
/** @param {Kind} kind @returns {Kind} */
const orNull = ({ name, test }) => ({ name: `${name}, or null`, test: (v) => v === null || test(v) });
/** @param {readonly unknown[]} values @returns {Kind} */
const oneOf = (values) => kind(`one of ${values.join(", ")}`, (v) => values.includes(v));

/** @param {Record<string, any>} value @param {Record<string, Kind>} kinds */
const fits = (value, kinds) => Object.entries(kinds).every(([name, { test }]) => test(value[name]));

const text = kind("text", (v) => typeof v === "string");
const flag = kind("true or false", (v) => typeof v === "boolean");
const number = kind("a finite number", Number.isFinite);
const whole = kind("a whole number", Number.isInteger);
const object = kind("an object", (v) => typeof v === "object" && v !== null && !Array.isArray(v));
const samples = kind("a Float32Array", (v) => v instanceof Float32Array);
const hop = kind(`a Float32Array of ${HOP}`, (v) => v instanceof Float32Array && v.length === HOP);
const channels = kind(
  "Float32Arrays of one length, at least one",
  (v) => Array.isArray(v) && v.length > 0 && v.every((c) => c instanceof Float32Array && c.length === v[0].length),
);
const bytes = kind("a Uint8Array", (v) => v instanceof Uint8Array);
const severalBytes = kind(
  "Uint8Arrays, at least one",
  (v) => Array.isArray(v) && v.length > 0 && v.every((b) => b instanceof Uint8Array),
);
const files = kind(
  "the sum of a weights file, the file and its image",
  (v) => object.test(v) && fits(/** @type {object} */ (v), { sha256: text, weights: bytes, image: bytes }),
);
const integers = kind("an array of whole numbers", (v) => Array.isArray(v) && v.every(Number.isInteger));
const memory = kind("a SharedArrayBuffer", (v) => Object.prototype.toString.call(v) === "[object SharedArrayBuffer]");
const library = kind(
  "a WebAssembly.Module",
  (v) => Object.prototype.toString.call(v) === "[object WebAssembly.Module]",
);
const buffer = kind("an ArrayBuffer", (v) => Object.prototype.toString.call(v) === "[object ArrayBuffer]");
const port = kind("a MessagePort", (v) => typeof (/** @type {MessagePort} */ (v)?.postMessage) === "function");
const state = oneOf(Object.values(STATE));
const carried = { library, header: object, memory: buffer }; // an Instance
const trial = { us_min: whole, us_mean: whole, us_p50: whole, us_p99: whole, us_max: whole }; // what hops took it
const control = { field: oneOf(FIELDS.page), value: whole };
const picture = { data: bytes, shape: integers };

const ofStreams = {
  attach: { stream: whole, model: text, buffer: memory },
  "attach-by-messages": { stream: whole, model: text, port },
  change: { stream: whole, model: text }, // to another model, in the middle of the stream
  control: { stream: whole, ...control },
  detach: { stream: whole },
};

/**
 * The page to its worker of live sound. `page`: another page, which says all of this through the port and hears all answers there; it may
 * be of another origin, which no module reaches.
 */
export const TO_LIVE = way("to the live worker", {
  page: { port },
  load: { model: text, manifest: object, remember: flag },
  model: { id: whole, model: text, files: optional(files) }, // to have at hand
  carry: { id: whole, model: text }, // a stream of it, for the audio thread
  "carry-code": { id: whole, model: text }, // as `carry`, with the library's code
  trial: { id: whole, model: text }, // what a hop takes
  ...ofStreams,
});

/** The page to its worker with Python. `id`: of a question, which the answer carries; `stream`: of a node; `recording`: of a recording. */
export const TO_WORKER = way("to the worker", {
  load: { model: text, remember: flag, manifest: object, kernel: orNull(text) },
  model: { id: whole, model: text, files: optional(files) },
  update: { id: whole, model: text, diffs: severalBytes },
  adapt: { id: whole, adaptation: whole, model: text, voice: samples, noise: samples },
  "end-adapting": { adaptation: whole },
  share: { id: whole, model: text, diff: bytes, clip: number, noise_multiplier: number },
  image: { id: whole, weights: bytes }, // check a weights file, and make what the live worker needs beside it
  ...ofStreams,
  piece: { id: whole, recording: whole, model: text, strength: whole, channels, last: flag },
  "end-recording": { recording: whole },
  bench: { id: whole, model: text, k: whole, seconds: number, kernel: orNull(text) },
  picture: { id: whole, sound: samples, columns: whole },
  "lab-open": { id: whole, noisy: samples, clean: samples, model: text },
  "lab-run": { id: whole, step: text, bands: whole, comb: number },
  "lab-source": { id: whole, name: text },
  "lab-edit": { id: whole, name: text, source: text },
});

// sha256: of the weights file; kernel: what computes the network; signal_kernel: the signal path; why_not: by name, why a faster one does not run
const modelFacts = {
  model: text,
  sha256: text,
  kernel: text,
  signal_kernel: text,
  why_not: object,
  latency_samples: whole,
  num_bands: whole,
};

/** Either worker to its page. An answer has the type of its question. */
export const TO_PAGE = way("from the worker", {
  progress: { stage: oneOf(["download", "python", "numpy", "model"]), done: number, total: number },
  live: { load_ms: number, ...modelFacts }, // of the live worker
  ready: {
    load_ms: number,
    ...modelFacts,
    weights: whole,
    numpy_origin: text,
    started_again: flag,
  },
  error: { during: text, message: text, id: optional(whole), stream: optional(whole) },
  header: { stream: whole, values: integers },
  overload: { stream: whole },
  recovered: { stream: whole },
  model: { id: whole, ...modelFacts },
  carry: { id: whole, ...carried, ...trial },
  "carry-code": { id: whole, code: bytes, header: object, memory: buffer, ...trial },
  trial: { id: whole, ...trial },
  image: { id: whole, model: text, sha256: text, image: bytes },
  update: { id: whole, sha256: text, weights: bytes, image: bytes },
  "adapt-step": { id: whole, done: whole, total: whole },
  adapt: { id: whole, sha256: text, diff: bytes, weights: bytes, figures: object, sounds: object },
  share: { id: whole, update: bytes, facts: object },
  piece: { id: whole, channels },
  bench: { id: whole, row: object },
  picture: { id: whole, ...picture },
  "lab-open": { id: whole },
  "lab-run": { id: whole, si_sdr: number, sound: samples, ...picture },
  "lab-source": { id: whole, source: text },
  "lab-edit": { id: whole },
});

/** The node to its processor. */
export const TO_PROCESSOR = way("to the processor", {
  enhance: carried, // here, on the audio thread
  wait: { samples: whole }, // at least: be late by so many, for what enhances in a worker
  control, // without shared memory
  connect: { port }, // the worker's, without shared memory
  dispose: {},
});

/** The processor to its node. */
export const FROM_PROCESSOR = way("from the processor", {
  header: { values: integers, enhancing: optional(integers) }, // without shared memory; what enhances here writes fields, too
  begun: {}, // to enhance here
  refused: { message: text }, // nothing is enhanced here any more: it does not run, or takes too long
  error: { message: text },
});

/** Without shared memory, the processor to its stream in the worker: a hop that was heard. */
export const TO_STREAM = way("to the stream", { hop: { at: whole, samples: hop } });

/** And the answer. `latency`: of the model, samples. */
export const FROM_STREAM = way("from the stream", {
  hop: { at: whole, samples: hop, state, latency: whole },
  end: { state },
});

/**
 * Post a message. Throws where it is not what the way knows.
 * @param {{ postMessage(message: unknown, options?: { transfer: Transferable[] }): void }} target
 * @param {Way} way
 * @param {string} type
 * @param {object} [fields]
 * @param {Transferable[]} [transfer]
 */
export function send(target, way, type, fields = {}, transfer = []) {
  target.postMessage(received(way, { type, ...fields }), { transfer });
}

/**
 * A message as it came, if it is one that the way knows.
 * @param {Way} way
 * @param {any} data
 */
export function received({ to, messages }, data) {
  const type = data?.type;
  if (typeof type !== "string" || !Object.hasOwn(messages, type))
    throw new TypeError(`message ${shown(type)} ${to} is unknown; accepted: ${Object.keys(messages).join(", ")}`);
  const fields = messages[type];
  for (const [name, { name: accepted, test }] of Object.entries(fields)) {
    if (!test(data[name]))
      throw new TypeError(`message ${shown(type)} ${to}: ${name} is ${shown(data[name])}; accepted: ${accepted}`);
  }
  for (const name of Object.keys(data)) {
    if (name !== "type" && !Object.hasOwn(fields, name))
      throw new TypeError(
        `message ${shown(type)} ${to}: field ${shown(name)} is unknown; accepted: ${Object.keys(fields).join(", ") || "none"}`,
      );
  }
  return data;
}

/** Of a message that did not survive the way, as shared memory to where it is not allowed. @param {Way} way */
export const unreadable = ({ to }) => `a message ${to} could not be read`;

/** What an error says, whatever was thrown. @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @param {string} to @param {Record<string, Record<string, Kind>>} messages @returns {Way} */
function way(to, messages) {
  return { to, messages };
}

/** @param {unknown} value */
function shown(value) {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "object" && value !== null) return Object.prototype.toString.call(value).slice(8, -1);
  return String(value);
}

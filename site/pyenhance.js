// Real-time speech enhancement as an audio node. See the README for a 20-line example.
//
//   import { createDenoiser } from "./pyenhance.js";
//   const node = await createDenoiser(audioContext, { strengthDb: null, onProgress });
//   source.connect(node).connect(destination);
//
// The node passes sound through, untouched, until its engine has loaded ("ready"). Input channels are mixed to one; every output
// channel carries the enhanced sound.
import { conversionDelay } from "./resample.js";
import { BANDS, H, HOP, LATENCY, PROCESSOR_FIELDS, Ring, SAMPLE_RATE, STATE, WORKER_FIELDS } from "./ring.js";

const BASE = new URL("./", import.meta.url);
const TRANSPORT_DELAY = 2 * HOP;
const STATS_MS = 250;
export const PIECE = 1000 * HOP; // of a recording: ten seconds
// Firefox 153 with PulseAudio was seen to wait for its audio thread in outputLatency, now and then for good: the page stood still.
const ASK_DEVICE = !navigator.userAgent.includes("Firefox/");
const MIN_RATE = 8000;

const canShare = () => typeof SharedArrayBuffer === "function" && globalThis.crossOriginIsolated === true;

function strengthToHeader(strengthDb) {
  if (strengthDb === null || strengthDb === undefined) return -1;
  const value = Number(strengthDb);
  if (!(value >= 0)) throw new RangeError(`strengthDb is ${strengthDb}; accepted: null or a number >= 0`);
  return Math.min(2e9, Math.round(100 * value));
}

// The Python engine in its worker. One serves any number of live streams and recordings.
export class Engine extends EventTarget {
  // onProgress({stage, done, total}): stage download (in bytes), python, numpy, model
  // remember: keep some 45 MB on this device, from which the next start takes a third of the time
  constructor({ model = "default", onProgress, remember = true } = {}) {
    super();
    this.model = model;
    this.onProgress = onProgress;
    this.jobs = new Map();
    this.nextJob = 1;
    this.streams = new Map(); // attached denoisers, by number
    this.nextStream = 1;
    this.ready = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.ready.catch(() => {}); // reported by "error" too
    this.worker = new Worker(new URL("worker.js", BASE), { type: "module", name: "pyenhance" });
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) =>
      this.fail({ during: "load", message: event.message || "the worker could not be started" });
    this.worker.postMessage({ type: "load", model, remember });
  }

  receive(data) {
    if (data.type === "progress") this.onProgress?.(data);
    else if (data.type === "ready") {
      this.facts = data;
      this.settle.resolve(data);
      this.dispatchEvent(new Event("ready"));
    } else if (data.type === "error") this.fail(data);
    else if (this.jobs.has(data.id)) this.jobs.get(data.id)(data);
    else this.streams.get(data.stream)?.receive(data);
  }

  fail({ during, message, id, stream }) {
    const error = new Error(message);
    if (this.jobs.has(id)) return this.jobs.get(id)({ type: "error", error });
    if (this.streams.has(stream)) return this.streams.get(stream).receive({ type: "error", error });
    if (during === "load") {
      this.worker.onmessage = null; // what still arrives is of no use
      this.worker.terminate();
      this.settle.reject(error);
    }
    this.dispatchEvent(Object.assign(new Event("error"), { error }));
  }

  job(message) {
    const id = this.nextJob++;
    return new Promise((resolve, reject) => {
      this.jobs.set(id, (data) => {
        this.jobs.delete(id);
        if (data.type === "error") reject(data.error);
        else resolve(data);
      });
      this.worker.postMessage({ ...message, id });
    });
  }

  // A recording in pieces of any number: await process(channels, last) for each, Float32Arrays at 48 kHz, a multiple of 480 samples
  // long but for the last. It resolves to what is ready; in all, as many samples as were given, the delay removed. end() frees it.
  recording({ strengthDb = null } = {}) {
    const recording = this.nextJob++;
    const strength = strengthToHeader(strengthDb);
    return {
      process: async (channels, last) => {
        await this.ready;
        const message = { type: "recording", recording, model: this.model, strength, channels, last };
        return (await this.job(message)).channels;
      },
      end: () => this.worker.postMessage({ type: "recording-end", recording }),
    };
  }

  // Enhance a whole recording: Float32Arrays at 48 kHz, one a channel. Resolves to the enhanced channels, of the same length, the
  // delay removed; to null when cancelled.
  async enhance(channels, { strengthDb = null, onProgress, signal } = {}) {
    const recording = this.recording({ strengthDb });
    const results = channels.map(({ length }) => new Float32Array(length));
    const { length } = channels[0];
    try {
      // A copy of each piece: to post a view would copy all that it is a view of.
      for (let at = 0, to = 0, last = false; !last; at += PIECE) {
        if (signal?.aborted) return null;
        last = at + PIECE >= length;
        const enhanced = await recording.process(
          channels.map((channel) => channel.slice(at, at + PIECE)),
          last,
        );
        results.forEach((result, c) => result.set(enhanced[c], to));
        to += enhanced[0].length;
        onProgress?.(to / length);
      }
    } finally {
      recording.end();
    }
    return results;
  }

  // Microseconds a hop, by stage: a row of bench.json. kernel: "numpy", "simd", "relaxed" or null, the fastest.
  async bench({ model = this.model, k = 1, seconds = 10, kernel = null } = {}) {
    await this.ready;
    return (await this.job({ type: "bench", model, k, seconds, kernel })).row;
  }

  // A spectrogram of Float32 samples: {data, shape}, levels row by row (see pyenhance.lab.picture).
  async picture(sound, columns) {
    return (await this.lab({ call: "picture", sound, columns })).picture;
  }

  // Ask pyenhance.lab (see site/lab.js): what the page "How it works" runs.
  async lab(message) {
    await this.ready;
    return this.job({ type: "lab", ...message });
  }

  dispose() {
    this.disposed = true;
    this.worker.terminate();
    this.settle.reject(new Error("disposed"));
  }
}

class Denoiser extends AudioWorkletNode {
  constructor(context, engine, ownsEngine, ring, shared) {
    super(context, "pyenhance-denoiser", {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      processorOptions: { buffer: shared ? ring.buffer : undefined, delay: TRANSPORT_DELAY },
    });
    this.engine = engine;
    this.ownsEngine = ownsEngine;
    this.ring = ring;
    this.shared = shared;
    this.number = engine.nextStream++;
    if (!shared) this.port.onmessage = ({ data }) => PROCESSOR_FIELDS.forEach((field, i) => ring.set(field, data[i]));
    this.timer = setInterval(() => {
      this.dispatchEvent(Object.assign(new Event("stats"), { stats: this.stats() }));
    }, STATS_MS);
    engine.ready.then(
      () => this.attach(),
      (error) => this.receive({ type: "error", error }),
    );
  }

  // What the worker says of this stream: header (without shared memory), overload, recovered, error.
  receive({ type, values, error }) {
    if (this.disposed) return;
    if (type === "header") WORKER_FIELDS.forEach((field, i) => this.ring.set(field, values[i]));
    else this.dispatchEvent(Object.assign(new Event(type), { error }));
  }

  attach() {
    if (this.disposed) return;
    this.engine.streams.set(this.number, this);
    const message = { type: "attach", stream: this.number, model: this.engine.model };
    if (this.shared) this.engine.worker.postMessage({ ...message, buffer: this.ring.buffer });
    else {
      const { port1, port2 } = new MessageChannel();
      this.engine.worker.postMessage({ ...message, port: port1 }, [port1]);
      this.port.postMessage({ worker: port2 }, [port2]);
      this.control(H.STRENGTH, this.ring.get(H.STRENGTH));
      this.control(H.BYPASS, this.ring.get(H.BYPASS));
    }
    this.dispatchEvent(new Event("ready"));
  }

  control(field, value) {
    this.ring.set(field, value);
    if (this.shared) return;
    this.port.postMessage({ control: [field, value] });
    this.engine.worker.postMessage({ type: "control", stream: this.number, field, value });
  }

  // true: the untouched sound, at the same delay
  get bypass() {
    return this.ring.get(H.BYPASS) === 1;
  }

  set bypass(value) {
    this.control(H.BYPASS, value ? 1 : 0);
  }

  // largest attenuation in dB: 0 = untouched, null = no limit
  get strengthDb() {
    const value = this.ring.get(H.STRENGTH);
    return value < 0 ? null : value / 100;
  }

  set strengthDb(value) {
    this.control(H.STRENGTH, strengthToHeader(value));
  }

  stats() {
    const get = (field) => this.ring.get(field);
    const ms = (samples) => (1000 * samples) / SAMPLE_RATE;
    const transport =
      ms(get(H.DELAY) || TRANSPORT_DELAY) + 1000 * conversionDelay(this.context.sampleRate, SAMPLE_RATE);
    const device = 1000 * ((this.context.baseLatency || 0) + (ASK_DEVICE ? this.context.outputLatency || 0 : 0));
    const names = Object.keys(STATE);
    return {
      state: names[Object.values(STATE).indexOf(get(H.STATE))].toLowerCase(),
      hops: get(H.HOPS),
      lean_hops: get(H.LEAN_HOPS),
      dropped_hops: get(H.DROPPED_HOPS),
      us_mean: get(H.US_MEAN),
      us_p50: get(H.US_P50),
      us_p99: get(H.US_P99),
      us_max: get(H.US_MAX),
      real_time_factor: (get(H.US_MEAN) * SAMPLE_RATE) / HOP / 1e6,
      latency_ms: ms(LATENCY) + transport + device,
      latency_algorithm_ms: ms(LATENCY),
      latency_transport_ms: transport,
      latency_device_ms: device,
      in_fill: Math.max(0, this.ring.distance(H.IN_WRITE, H.IN_READ)),
      out_fill: Math.max(0, this.ring.distance(H.OUT_WRITE, H.OUT_READ)),
      underruns: get(H.UNDERRUNS),
      underrun_samples: get(H.UNDERRUN_SAMPLES),
      overruns: get(H.OVERRUN_SAMPLES),
      peak_in: get(H.PEAK_IN) / 1e6,
      peak_out: get(H.PEAK_OUT) / 1e6,
      heap_bytes: get(H.HEAP_KB) * 1024,
      block_samples: get(H.BLOCK),
      shared_memory: this.shared,
      load_ms: this.engine.facts?.load_ms ?? null,
      model: this.engine.facts?.model ?? this.engine.model,
      kernel: this.engine.facts?.kernel ?? null,
    };
  }

  // Of the last hop: pitch in Hz (0: no voice yet), voice activity in [0, 1], and the 34 band gains in [0, 1].
  analysis() {
    const get = (field) => this.ring.get(field);
    return {
      pitch_hz: get(H.PITCH) ? SAMPLE_RATE / get(H.PITCH) : 0,
      voice: get(H.VOICE) / 1000,
      gains: Float32Array.from({ length: BANDS }, (_, band) => get(H.GAINS + band) / 1000),
    };
  }

  // Stop for good: worker, memory and listeners go.
  dispose() {
    if (this.disposed) return;
    this.disposed = true;
    clearInterval(this.timer);
    this.control(H.QUIT, 1);
    this.port.postMessage({ dispose: true });
    this.disconnect();
    this.port.onmessage = null;
    this.engine.streams.delete(this.number);
    if (this.ownsEngine) this.engine.dispose();
    else this.engine.worker.postMessage({ type: "detach", stream: this.number });
  }
}

const withProcessor = new WeakSet();

// An AudioNode that enhances speech. Resolves when it can be connected; it is "ready" once its engine has loaded.
export async function createDenoiser(
  context,
  { model = "default", strengthDb = null, onProgress, remember = true, engine } = {},
) {
  if (!Number.isInteger(context.sampleRate) || context.sampleRate < MIN_RATE) {
    throw new RangeError(`sampleRate is ${context.sampleRate}; accepted: a whole number of at least ${MIN_RATE} Hz`);
  }
  if (!context.audioWorklet)
    throw new Error("AudioWorklet is missing: the page must come over https or from localhost");
  const strength = strengthToHeader(strengthDb);
  if (!withProcessor.has(context)) {
    await context.audioWorklet.addModule(new URL("processor.js", BASE));
    withProcessor.add(context);
  }
  const shared = canShare();
  const ring = Ring.create(shared);
  ring.set(H.STRENGTH, strength);
  return new Denoiser(context, engine ?? new Engine({ model, onProgress, remember }), !engine, ring, shared);
}

// The audio node: its processor on the audio thread, its stream in the engine's worker, and the ring between them.
import { Engine, event, hundredthsOfDb } from "./engine.js";
import { lasting } from "./lasting.js";
import { FROM_PROCESSOR, TO_PROCESSOR, received, send, unreadable } from "./protocol.js";
import { conversionDelay } from "./resampler.js";
import { H, HOP, Ring, SAMPLE_RATE, STATE } from "./ring.js";

const HERE_DELAY = HOP; // samples, where the audio thread itself enhances: until a hop is complete
const WORKER_DELAY = 2 * HOP; // and until a worker has answered
const FAST_US = 800; // the fastest full hop of a trial: with cold caches one takes up to twice as long, and a render quantum lasts 2700
const THREADS = ["audio", "worker"];
const STATS_MS = 250;
// Firefox 153 with PulseAudio was seen to wait for its audio thread in outputLatency, now and then for good: the page stood still.
const ASK_DEVICE = !navigator.userAgent.includes("Firefox/");
const MIN_RATE = 8000;

const canShare = () => typeof SharedArrayBuffer === "function" && globalThis.crossOriginIsolated === true;

class Denoiser extends lasting(AudioWorkletNode) {
  #settle = /** @type {{ resolve(): void, reject(error: Error): void }} */ ({});

  /**
   * @param {BaseAudioContext} context
   * @param {Engine} engine
   * @param {boolean} ownsEngine
   * @param {Ring} ring
   * @param {boolean} shared
   * @param {string | null} thread of THREADS, or null: by what a hop takes
   */
  constructor(context, engine, ownsEngine, ring, shared, thread) {
    super(context, "pyenhance-denoiser", {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      processorOptions: {
        buffer: shared ? ring.buffer : undefined,
        delay: thread === "worker" ? WORKER_DELAY : HERE_DELAY,
        latency: ring.latency,
      },
    });
    this.engine = engine;
    this.ownsEngine = ownsEngine;
    this.ring = ring;
    this.shared = shared;
    this.thread = thread;
    /** @type {import("./instance.js").Trial | null} what a hop takes: the audio thread has no clock to tell */
    this.trial = null;
    /** @type {"audio" | "worker" | null} where sound is enhanced */
    this.enhances = null;
    this.disposed = false;
    this.isSilent = false; // for good: its processor has failed
    this.number = engine.number();
    this.port.onmessage = ({ data }) => this.receiveFromProcessor(data);
    this.port.onmessageerror = () => this.receive({ type: "error", error: new Error(unreadable(FROM_PROCESSOR)) });
    // Chromium's has the type "error", as ours have: of these it is told by being the browser's.
    this.onprocessorerror = (/** @type {Event} */ event) => {
      if (!event.isTrusted) return;
      event.stopImmediatePropagation();
      this.isSilent = true;
      this.receive({ type: "error", error: new Error("the audio processor has failed") });
    };
    /** @type {Promise<void>} from now on sound is enhanced */
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.ready.catch(() => {}); // reported by "error" too
    // Where the context goes, so does all that was acquired. (One that renders offline is closed when it is done.)
    this.gone = new AbortController();
    const { signal } = this.gone;
    if (context instanceof AudioContext)
      context.addEventListener("statechange", () => context.state === "closed" && this.dispose(), { signal });
    this.timer = setInterval(() => this.dispatchEvent(event("stats", { stats: this.stats() })), STATS_MS);
    engine.beginning = this.ready;
    engine.live.then(() => this.attach()).catch((error) => this.fail(error));
  }

  // What the worker says of this stream: header (without shared memory), overload, recovered, error.
  /** @param {{ type: string, values?: number[], error?: Error }} message */
  receive({ type, values, error }) {
    if (this.disposed) return;
    if (type === "header" && values) this.ring.takeOver("worker", values);
    else this.dispatchEvent(event(type, { error }));
  }

  // It will never be ready.
  /** @param {Error} error */
  fail(error) {
    this.#settle.reject(error);
    if (!this.disposed) this.last(event("error", { error }));
  }

  /** @param {unknown} data */
  receiveFromProcessor(data) {
    try {
      const { type, values, enhancing, message } = received(FROM_PROCESSOR, data);
      if (type === "header") {
        this.ring.takeOver("processor", values);
        if (enhancing) this.ring.takeOver("worker", enhancing);
      } else if (type === "begun") this.begun("audio");
      else if (type === "refused") {
        console.warn("pyenhance: live sound goes to a worker:", message);
        this.toWorker();
      } else throw new Error(message);
    } catch (error) {
      this.receive({ type: "error", error: /** @type {Error} */ (error) });
    }
  }

  async attach() {
    if (this.disposed) return;
    this.engine.streams.set(this.number, this);
    await this.enhanceHere(this.engine.model);
  }

  // On the audio thread, where a hop takes little there: nothing needs to wake then, and sound is a hop less late.
  /** @param {string} model */
  async enhanceHere(model) {
    const carried = this.thread === "worker" ? null : await this.engine.carry(model);
    if (this.disposed || this.enhances === "worker") return;
    if (!carried || (carried.us_min > FAST_US && this.thread !== "audio")) return this.toWorker();
    const { library, header, memory, ...trial } = carried;
    this.trial = trial;
    this.controls();
    send(this.port, TO_PROCESSOR, "enhance", { library, header, memory }, [memory]);
    const again = await this.engine.trial(model).catch(() => trial); // none: the engine is gone
    if (this.trial === trial) this.trial = again;
  }

  /** Sound is enhanced. @param {"audio" | "worker"} where */
  begun(where) {
    if (this.disposed) return;
    this.enhances = where;
    this.#settle.resolve();
    this.last(new Event("ready"));
  }

  /** All streams of this engine go on with another model. @param {string} model */
  change(model) {
    if (this.enhances === "worker") this.engine.sendLive("change", { stream: this.number, model });
    else this.enhanceHere(model).catch((error) => this.receive({ type: "error", error }));
  }

  // What a processor without shared memory was not told yet.
  controls() {
    if (this.shared) return;
    for (const field of /** @type {const} */ (["STRENGTH", "BYPASS"])) this.control(field, this.ring.get(H[field]));
  }

  toWorker() {
    if (this.disposed || this.enhances === "worker") return;
    send(this.port, TO_PROCESSOR, "wait", { samples: WORKER_DELAY });
    if (this.enhances === "audio") {
      this.enhances = null; // it answers that it has stopped: then the ring is free for the worker
      return;
    }
    const about = { stream: this.number, model: this.engine.model };
    if (this.shared) this.engine.sendLive("attach", { ...about, buffer: this.ring.buffer });
    else {
      const { port1, port2 } = new MessageChannel();
      this.engine.sendLive("attach-by-messages", { ...about, port: port1 }, [port1]);
      send(this.port, TO_PROCESSOR, "connect", { port: port2 }, [port2]);
    }
    this.controls();
    this.begun("worker");
  }

  /** @param {"BYPASS" | "STRENGTH" | "QUIT"} field @param {number} value */
  control(field, value) {
    this.ring.set(H[field], value);
    if (this.shared) return;
    send(this.port, TO_PROCESSOR, "control", { field, value });
    this.engine.sendLive("control", { stream: this.number, field, value });
  }

  // true: the untouched sound, at the same delay
  get bypass() {
    return this.ring.get(H.BYPASS) === 1;
  }

  set bypass(value) {
    this.control("BYPASS", value ? 1 : 0);
  }

  // largest attenuation in dB: 0 = untouched, null = no limit
  get strengthDb() {
    const value = this.ring.get(H.STRENGTH);
    return value < 0 ? null : value / 100;
  }

  set strengthDb(value) {
    this.control("STRENGTH", hundredthsOfDb(value));
  }

  /** @returns {import("./pyenhance.d.ts").Stats} */
  stats() {
    const get = (/** @type {number} */ field) => this.ring.get(field);
    const ms = (/** @type {number} */ samples) => (1000 * samples) / SAMPLE_RATE;
    const processing = get(H.DELAY) > 0; // the processor is there
    const algorithm = ms(processing ? get(H.HEARD_LATENCY) : this.ring.latency);
    const transport =
      ms(processing ? get(H.DELAY) : this.thread === "worker" ? WORKER_DELAY : HERE_DELAY) +
      1000 * conversionDelay(this.context.sampleRate, SAMPLE_RATE);
    const { baseLatency = 0, outputLatency = 0 } = /** @type {AudioContext} */ (ASK_DEVICE ? this.context : {});
    const device = 1000 * (baseLatency + outputLatency);
    const state = /** @type {[string, number]} */ (Object.entries(STATE).find(([, value]) => value === get(H.STATE)));
    const here = this.enhances === "audio" ? this.trial : null;
    const us = here
      ? { mean: here.us_mean, p50: here.us_p50, p99: here.us_p99, max: here.us_max }
      : { mean: get(H.US_MEAN), p50: get(H.US_P50), p99: get(H.US_P99), max: get(H.US_MAX) };
    return {
      state: /** @type {import("./pyenhance.d.ts").Stats["state"]} */ (state[0].toLowerCase()),
      hops: get(H.HOPS),
      lean_hops: get(H.LEAN_HOPS),
      hurried_hops: get(H.HURRIED_HOPS),
      dropped_hops: get(H.DROPPED_HOPS),
      full_share: 1 - (get(H.LEAN_HOPS) + get(H.DROPPED_HOPS)) / Math.max(get(H.HOPS), 1),
      us_mean: us.mean,
      us_p50: us.p50,
      us_p99: us.p99,
      us_max: us.max,
      real_time_factor: (us.mean * SAMPLE_RATE) / HOP / 1e6,
      latency_ms: algorithm + transport + device,
      latency_algorithm_ms: algorithm,
      latency_transport_ms: transport,
      latency_device_ms: device,
      in_fill: this.ring.inFill,
      out_fill: this.ring.outFill,
      underruns: get(H.UNDERRUNS),
      underrun_samples: get(H.UNDERRUN_SAMPLES),
      overruns: get(H.OVERRUN_SAMPLES),
      peak_in: get(H.PEAK_IN) / 1e6,
      peak_out: get(H.PEAK_OUT) / 1e6,
      heap_bytes: get(H.HEAP_KB) * 1024,
      block_samples: get(H.BLOCK),
      shared_memory: this.shared,
      thread: this.enhances,
      load_ms: this.engine.liveFacts?.load_ms ?? null,
      model: this.engine.liveFacts?.model ?? this.engine.model,
      kernel: this.engine.liveFacts?.kernel ?? null,
      signal_kernel: this.engine.liveFacts?.signal_kernel ?? null,
      why_not: Object.entries(this.engine.liveFacts?.why_not ?? {})
        .map(([name, reason]) => `${name}: ${reason}`)
        .join("; "),
    };
  }

  // Of the last hop: pitch in Hz (0: no voice yet), voice activity in [0, 1], and the model's band gains in [0, 1].
  analysis() {
    const period = this.ring.get(H.PITCH);
    return {
      pitch_hz: period ? SAMPLE_RATE / period : 0,
      voice: this.ring.get(H.VOICE) / 1000,
      gains: this.ring.gains,
    };
  }

  // Stop for good: worker, memory and listeners go.
  dispose() {
    if (this.disposed) return;
    this.disposed = true;
    clearInterval(this.timer);
    this.gone.abort();
    this.#settle.reject(new Error("disposed"));
    this.control("QUIT", 1);
    send(this.port, TO_PROCESSOR, "dispose");
    this.disconnect();
    this.port.onmessage = null;
    this.engine.streams.delete(this.number);
    if (this.ownsEngine) this.engine.dispose();
    else this.engine.sendLive("detach", { stream: this.number });
  }
}

/** @type {WeakSet<BaseAudioContext>} */
const withProcessor = new WeakSet();

// A context that is closed, or closes meanwhile, may never answer.
/** @param {BaseAudioContext} context @param {URL} folder of the library's files */
async function addProcessor(context, folder) {
  if (withProcessor.has(context)) return;
  const gone = new AbortController();
  const closed = new Promise((_, reject) => {
    const check = () => {
      try {
        mustBeOpen(context);
      } catch (error) {
        reject(error);
      }
    };
    context.addEventListener("statechange", check, { signal: gone.signal });
  });
  try {
    await Promise.race([context.audioWorklet.addModule(new URL("processor.js", folder)), closed]);
  } finally {
    gone.abort();
  }
  withProcessor.add(context);
}

/** @param {BaseAudioContext} context */
function mustBeOpen(context) {
  if (context.state === "closed") throw new Error("the context is closed; accepted: one that is not");
}

// An AudioNode that enhances speech. Resolves when it can be connected; it is "ready" once its engine has loaded.
/**
 * @param {AudioContext | OfflineAudioContext} context
 * @param {{ model?: string, strengthDb?: number | null, onProgress?: (progress: import("./pyenhance.d.ts").Progress) => void, remember?: boolean, kernel?: string | null, thread?: string | null, base?: string | URL, engine?: import("./pyenhance.d.ts").Engine }} [options]
 */
export async function createDenoiser(
  context,
  {
    model = "default",
    strengthDb = null,
    onProgress,
    remember = true,
    kernel = null,
    thread = null,
    base,
    engine,
  } = {},
) {
  if (!Number.isInteger(context.sampleRate) || context.sampleRate < MIN_RATE) {
    throw new RangeError(`sampleRate is ${context.sampleRate}; accepted: a whole number of at least ${MIN_RATE} Hz`);
  }
  if (!context.audioWorklet)
    throw new Error("AudioWorklet is missing: the page must come over https or from localhost");
  mustBeOpen(context);
  const strength = hundredthsOfDb(strengthDb);
  if (thread !== null && !THREADS.includes(thread))
    throw new RangeError(`thread is ${JSON.stringify(thread)}; accepted: null, ${THREADS.join(", ")}`);
  const used = /** @type {Engine} */ (engine) ?? new Engine({ model, onProgress, remember, kernel, base });
  try {
    const latency = used.latency(); // meanwhile
    await addProcessor(context, used.folder).catch(async (error) => {
      throw await used.why(error);
    });
    const shared = canShare() && !used.isRemote;
    const ring = Ring.create({ shared, latency: await latency });
    ring.set(H.STRENGTH, strength);
    mustBeOpen(context);
    return new Denoiser(context, used, !engine, ring, shared, used.byPython ? "worker" : thread);
  } catch (error) {
    if (!engine) used.dispose();
    throw error;
  }
}

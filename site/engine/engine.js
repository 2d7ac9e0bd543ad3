// The engine as the page sees it: a worker of live streams, and one with Python in it for recordings and all else.
import { checked } from "./checked.js";
import { lasting } from "./lasting.js";
import { folder, startWorker } from "./place.js";
import { TO_LIVE, TO_PAGE, TO_WORKER, messageOf, received, send, unreadable } from "./protocol.js";
import { HOP } from "./ring.js";

/** @typedef {import("./pyenhance.d.ts").EngineFacts} EngineFacts */
/** @typedef {import("./pyenhance.d.ts").LiveFacts} LiveFacts */
/** @typedef {import("./pyenhance.d.ts").Profile} Profile */
/** @typedef {import("./pyenhance.d.ts").Progress} Progress */
/** @typedef {import("./pyenhance.d.ts").Spectrogram} Spectrogram */
/** @typedef {import("./pyenhance.d.ts").Update} Update */

const SETTLED_MS = 2000;
const BEGUN_MS = 1000;
export const PIECE_SAMPLES = 1000 * HOP; // of a recording: ten seconds

/**
 * The strength as messages and the ring's header carry it. RangeError where it is none.
 * @param {unknown} strengthDb
 */
export function hundredthsOfDb(strengthDb) {
  if (strengthDb === null || strengthDb === undefined) return -1;
  const value = Number(strengthDb);
  if (!(value >= 0)) throw new RangeError(`strengthDb is ${strengthDb}; accepted: null or a number >= 0`);
  return Math.min(2e9, Math.round(100 * value));
}

// Not needed for the page to be there.
const updates = () => import("./updates.js");
const profiles = () => import("./profiles.js");

/** An event with more to it. @param {string} type @param {object} [more] */
export const event = (type, more) => Object.assign(new Event(type), more);

export class Engine extends lasting(EventTarget) {
  /** @type {Map<number, { resolve(answer: any): void, reject(error: Error): void, heard?: (news: any) => void, ofLive: boolean }>} questions that wait for their answers; ofLive: of the live worker */
  #asked = new Map();
  #numbers = 0;
  #settle = /** @type {{ resolve(facts: EngineFacts): void, reject(error: Error): void }} */ ({});
  #settleLive = /** @type {{ resolve(facts: LiveFacts): void, reject(error: Error): void }} */ ({});
  /** @type {Worker | undefined} of Python */
  #worker;
  /** @type {Worker | null} of live sound; none where numpy was asked for, or compiled code cannot run */
  #live;
  #manifest;
  /** @type {Error | null} why there is no Python */
  #failed = null;
  #remember;
  /** Once, when live sound is there or cannot be: both want the network and all cores. */
  #loadPython = () => {};
  /** @type {Promise<unknown>} the change of the model that is under way */
  #changing = Promise.resolve();

  /**
   * onProgress({stage, done, total}): stage download (in bytes), python, numpy, model
   * remember: keep some 50 MB on this device, from which the next start takes a third of the time
   * kernel: "numpy" has Python compute live sound too, by numpy alone; "simd" and "relaxed" by compiled code of that name
   * base: of the folder that pyenhance-assets has filled, where a bundler takes this code away from the other files
   * @param {{ model?: string, onProgress?: (progress: Progress) => void, remember?: boolean, kernel?: string | null, base?: string | URL }} [options]
   */
  constructor({ model = "default", onProgress, remember = true, kernel = null, base } = {}) {
    super();
    /** The folder of the library's files. */
    this.folder = folder(base);
    this.model = model;
    this.#remember = remember;
    this.onProgress = onProgress;
    /** @type {EngineFacts | undefined} */
    this.facts = undefined;
    /** @type {LiveFacts | undefined} */
    this.liveFacts = undefined;
    this.disposed = false;
    this.isRemote = false; // see remote.js
    /** @type {Promise<void> | undefined} of the newest node: that it enhances */
    this.beginning = undefined;
    /** @type {Profile | null} that the model in use was fitted by */
    this.profile = null;
    /** @type {Map<number, { receive(message: { type: string, values?: number[], error?: Error }): void, change(model: string): void }>} attached nodes */
    this.streams = new Map();
    /** @type {Promise<EngineFacts>} */
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.ready.catch(() => {}); // reported by "error" too
    /** @type {Promise<LiveFacts>} live sound can be enhanced: long before Python is there, where compiled code runs */
    this.live = new Promise((resolve, reject) => {
      this.#settleLive = { resolve, reject };
    });
    this.live.catch(() => {});
    const started = (/** @type {string} */ file, /** @type {(text: string) => void} */ failed) => {
      const worker = startWorker(new URL(file, this.folder));
      worker.onmessage = ({ data }) => this.receive(data, worker);
      worker.onmessageerror = () => this.fail("message", unreadable(TO_PAGE));
      worker.onerror = ({ message }) =>
        this.#manifest.then(() => failed(message || "the worker could not be started")).catch(() => {});
      return worker;
    };
    this.#live = kernel ? null : started("live.js", (text) => this.#withoutLive(text));
    this.#manifest = this.#fetchManifest(base !== undefined);
    this.#manifest.then(
      (manifest) => {
        if (this.#live && !this.disposed) send(this.#live, TO_LIVE, "load", { manifest, model, remember });
        this.#loadPython = () => {
          this.#loadPython = () => {};
          if (this.disposed) return;
          this.#worker = started("worker.js", (text) => this.fail("load", text));
          this.send("load", { manifest, model, remember, kernel });
        };
        if (!this.#live) this.#loadPython();
      },
      (error) => {
        this.#withoutLive(messageOf(error));
        this.fail("load", messageOf(error));
      },
    );
  }

  /** @param {boolean} asFilled by pyenhance-assets; where nothing is, servers of apps often answer with the app's page */
  async #fetchManifest(asFilled) {
    const manifest = new URL("manifest.json", this.folder);
    try {
      return await checked(await fetch(manifest)).json();
    } catch (error) {
      if (!asFilled) throw error;
      const accepted = "accepted: a base that pyenhance-assets of this very build has filled";
      throw new Error(`no manifest at ${manifest} (${messageOf(error)}); ${accepted}`);
    }
  }

  /** What to say where a file could not be loaded: that there are none, if so. @param {unknown} error */
  why(error) {
    return this.#manifest.then(
      () => error,
      (reason) => reason,
    );
  }

  /** Samples of latency that the model has, or is declared to have; 0 where nobody knows yet. @returns {Promise<number>} */
  async latency() {
    if (this.liveFacts) return this.liveFacts.latency_samples;
    const manifest = await this.#manifest.catch(() => null);
    return manifest?.models[this.model]?.latency_samples ?? 0;
  }

  /** Whether Python computes live sound, too. */
  get byPython() {
    return !this.#live;
  }

  /** A number that nothing else of this engine has. */
  number() {
    return ++this.#numbers;
  }

  /** Tell the worker. @param {string} type @param {object} fields @param {Transferable[]} [transfer] */
  send(type, fields, transfer) {
    if (this.#worker && !this.disposed) send(this.#worker, TO_WORKER, type, fields, transfer);
  }

  /** Tell the worker that has the live streams. @param {string} type @param {object} fields @param {Transferable[]} [transfer] */
  sendLive(type, fields, transfer) {
    if (this.disposed) return;
    if (this.#live) send(this.#live, TO_LIVE, type, fields, transfer);
    else this.send(type, fields, transfer);
  }

  // Live sound must wait for Python, which knows more ways to compute it.
  /** @param {string} why */
  #withoutLive(why) {
    if (!this.#live || this.disposed) return;
    console.warn("pyenhance: live sound waits for Python:", why);
    this.#live.terminate();
    this.#live = null;
    this.#loadPython();
    for (const [id, { ofLive, reject }] of this.#asked) {
      if (ofLive && this.#asked.delete(id)) reject(new Error(why));
    }
    if (this.facts) this.#isLive(this.facts);
    else if (this.#failed) this.#settleLive.reject(this.#failed);
  }

  /** @param {LiveFacts} facts */
  #isLive({ load_ms, model, sha256, kernel, signal_kernel, why_not, latency_samples, num_bands }) {
    this.liveFacts = { load_ms, model, sha256, kernel, signal_kernel, why_not, latency_samples, num_bands };
    this.#settleLive.resolve(this.liveFacts);
    this.last(new Event("live"));
    const late = new Promise((resolve) => setTimeout(resolve, BEGUN_MS)); // a suspended context begins nothing
    const load = () => this.#loadPython();
    Promise.race([this.beginning, late]).then(load, load);
  }

  // The newest version, also where an older one is kept. Without a network, it must be another time.
  async #keepUp() {
    if (!this.#remember || !globalThis.caches) return;
    try {
      await this.#inTurn(() => this.#update(false));
    } catch (error) {
      if (!this.disposed && navigator.onLine) this.last(event("update", { error }));
    }
  }

  /** @param {unknown} data @param {Worker} from */
  receive(data, from) {
    let message;
    try {
      message = received(TO_PAGE, data);
    } catch (error) {
      return this.fail("message", messageOf(error), Object(data));
    }
    const { type, id, stream, ...fields } = message;
    if (type === "progress") this.onProgress?.(/** @type {Progress} */ (fields));
    else if (type === "live") this.#isLive(/** @type {LiveFacts} */ (fields));
    else if (type === "ready") {
      this.facts = /** @type {EngineFacts} */ (fields);
      if (!this.#live) this.#isLive(this.facts);
      this.#settle.resolve(this.facts);
      this.last(new Event("ready"));
      this.#keepUp();
    } else if (type === "error" && fields.during === "load" && from === this.#live) this.#withoutLive(fields.message);
    else if (type === "error") this.fail(fields.during, fields.message, message);
    else if (type === "adapt-step") this.#asked.get(id)?.heard?.(fields);
    else if (stream !== undefined) this.streams.get(stream)?.receive({ type, ...fields });
    else {
      this.#asked.get(id)?.resolve(fields);
      this.#asked.delete(id);
    }
  }

  // To whom it belongs: the question, the stream, or the engine.
  /** @param {string} during @param {string} text @param {{ id?: number, stream?: number }} [whose] */
  fail(during, text, { id = -1, stream = -1 } = {}) {
    if (this.disposed) return;
    const error = new Error(text);
    const question = this.#asked.get(id);
    this.#asked.delete(id);
    if (question) return question.reject(error);
    const node = this.streams.get(stream);
    if (node) return node.receive({ type: "error", error });
    if (during === "load") {
      if (this.#worker) this.#worker.onmessage = null; // what still arrives is of no use
      this.#worker?.terminate();
      this.#failed = error;
      this.#settle.reject(error);
      if (!this.#live) this.#settleLive.reject(error);
      this.last(event("error", { error }));
    } else this.dispatchEvent(event("error", { error }));
  }

  /**
   * Go on with another model: live sound in the middle of it, without a click; recordings that begin after.
   * @param {string | Uint8Array} model a name, or the bytes of a weights file
   * @returns {Promise<LiveFacts>} once all of it is there
   */
  setModel(model) {
    return this.#inTurn(() => this.#setModel(model));
  }

  /** @param {string | Uint8Array} model */
  async #setModel(model) {
    if (typeof model === "string") return this.#goOnWith(model);
    if (!(model instanceof Uint8Array))
      throw new TypeError(`model is ${model}; accepted: a name, or the bytes of a weights file as a Uint8Array`);
    const { model: name, sha256, image } = await this.#ask("image", { weights: model });
    return this.#goOnWith(name, { sha256, weights: model, image });
  }

  // The files: where the site has none of this model, or has it in another version.
  /** @param {string} model @param {{ sha256: string, weights: Uint8Array, image: Uint8Array }} [files] @param {Profile | null} [profile] */
  async #goOnWith(model, files, profile = null) {
    const { load_ms } = await this.live;
    /** @type {LiveFacts} */
    let facts = files || !this.#live ? await this.#ask("model", { model, files }) : null;
    if (this.#live) facts = await this.#askLive("model", { model, files });
    this.model = model;
    this.profile = profile;
    this.liveFacts = facts = { ...facts, load_ms };
    for (const node of this.streams.values()) node.change(model);
    return facts;
  }

  /**
   * A stream of a model, to enhance on the audio thread; null where Python must do that.
   * @param {string} model
   * @returns {Promise<import("./instance.js").Carried & import("./instance.js").Trial | null>}
   */
  async carry(model) {
    await this.live;
    try {
      if (this.#live) return await this.#askLive("carry", { model });
    } catch (error) {
      if (this.#live || this.disposed) throw error;
      await this.ready; // the worker has died
    }
    return null;
  }

  /** What a hop of a model takes while nothing else starts. @param {string} model @returns {Promise<import("./instance.js").Trial>} */
  async trial(model) {
    await this.ready.catch(() => {}); // of Python, whose start takes the machine
    await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
    return this.#askLive("trial", { model });
  }

  /**
   * Bring the model in use to the site's newest version: live sound goes on with it. Where diffs lead there from what is kept on this
   * device, they are all that is loaded. An engine that may `remember` does this by itself once it is ready.
   * @returns {Promise<Update>} from, to: sums of the weights files
   */
  update() {
    return this.#inTurn(() => this.#update(true));
  }

  // A version that was undone is not taken again, unless that is asked for.
  /** @param {boolean} asked */
  async #update(asked) {
    const update = await (await updates()).update(await this.#versions(), asked);
    if (update.from !== update.to) this.last(event("update", { update }));
    return update;
  }

  /**
   * Go back to the version before the last update, which is not taken again unless `update` is called.
   * @returns {Promise<Update>}
   */
  undo() {
    return this.#inTurn(async () => (await updates()).undo(await this.#versions()));
  }

  /** The site's models as they are now, by name. @returns {Promise<Record<string, import("./updates.js").Listed>>} */
  async models() {
    return (await updates()).listed(this.folder);
  }

  /**
   * Fit a model to a voice and a room; see pyenhance.d.ts. Nothing leaves this device, and nothing is changed here.
   * @param {import("./pyenhance.d.ts").AdaptOptions} options
   * @returns {Promise<import("./pyenhance.d.ts").Adaptation>}
   */
  async adapt(options) {
    return (await profiles()).adapt(await this.#versions(), options);
  }

  /** Models that were fitted to users, kept on this device. */
  async profiles() {
    const { Profiles } = await profiles();
    return new Profiles(
      this.folder,
      () => this.#versions(),
      (work) => this.#inTurn(work),
    );
  }

  /**
   * What updates.js and profiles.js need of an engine. The model: where it was fitted to a user, the one that it was made of.
   * @returns {Promise<import("./updates.js").Versions>}
   */
  async #versions() {
    const { sha256 } = await this.live.then(() => /** @type {LiveFacts} */ (this.liveFacts));
    const model = this.profile?.model ?? this.model;
    return {
      model,
      sha256: this.profile?.base ?? sha256,
      profile: this.profile,
      manifest: await this.#manifest,
      remember: this.#remember,
      folder: this.folder,
      ask: (type, fields, heard) => this.#ask(type, fields, heard),
      send: (type, fields) => this.send(type, fields),
      number: () => this.number(),
      goOnWith: (files, name = model, profile = null) => this.#goOnWith(name, files, profile),
    };
  }

  // One change after the other.
  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  #inTurn(work) {
    const turn = this.#changing.then(work);
    this.#changing = turn.catch(() => {});
    return turn;
  }

  // Ask the worker once it is ready; resolves to the answer's fields.
  /** @param {string} type @param {object} fields @param {(news: any) => void} [heard] of what is done so far @returns {Promise<any>} */
  async #ask(type, fields, heard) {
    await this.ready;
    return this.#question((id) => this.send(type, { id, ...fields }), heard);
  }

  // Ask the worker of live sound, which fails the question where it dies.
  /** @param {string} type @param {object} fields @returns {Promise<any>} */
  async #askLive(type, fields) {
    return this.#question((id) => this.sendLive(type, { id, ...fields }), undefined, Boolean(this.#live));
  }

  /** @param {(id: number) => void} send @param {(news: any) => void} [heard] @param {boolean} [ofLive] @returns {Promise<any>} */
  #question(send, heard, ofLive = false) {
    if (this.disposed) throw new Error("disposed");
    const id = this.number();
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject, heard, ofLive });
      try {
        send(id);
      } catch (error) {
        this.#asked.delete(id);
        throw error;
      }
    });
  }

  /** @param {{ model?: string, strengthDb?: number | null }} [options] */
  recording({ model = this.model, strengthDb = null } = {}) {
    const recording = this.number();
    const about = { recording, model, strength: hundredthsOfDb(strengthDb) };
    return {
      /** @param {Float32Array[]} channels @param {boolean} last @returns {Promise<Float32Array[]>} */
      process: async (channels, last) => (await this.#ask("piece", { ...about, channels, last })).channels,
      end: () => this.send("end-recording", { recording }),
    };
  }

  /**
   * @param {Float32Array[]} channels
   * @param {{ model?: string, strengthDb?: number | null, onProgress?: (share: number) => void, signal?: AbortSignal }} [options]
   */
  async enhance(channels, { model, strengthDb = null, onProgress, signal } = {}) {
    const recording = this.recording({ model, strengthDb });
    const results = channels.map(({ length }) => new Float32Array(length));
    const { length } = channels[0];
    try {
      // A copy of each piece: to post a view would copy all that it is a view of.
      for (let at = 0, to = 0, last = false; !last; at += PIECE_SAMPLES) {
        if (signal?.aborted) return null;
        last = at + PIECE_SAMPLES >= length;
        const enhanced = await recording.process(
          channels.map((channel) => channel.slice(at, at + PIECE_SAMPLES)),
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
  /** @param {{ model?: string, k?: number, seconds?: number, kernel?: string | null }} [options] */
  async bench({ model = this.model, k = 1, seconds = 10, kernel = null } = {}) {
    return (await this.#ask("bench", { model, k, seconds, kernel })).row;
  }

  // A spectrogram of Float32 samples: {data, shape}, levels row by row (see pyenhance.lab.picture).
  /** @param {Float32Array} sound @param {number} columns @returns {Promise<Spectrogram>} */
  async picture(sound, columns) {
    return this.#ask("picture", { sound, columns });
  }

  // pyenhance.lab, which the page "How it works" runs: the article's steps, on one sound at a time.
  lab = {
    /** @param {{ noisy: Float32Array, clean: Float32Array, model: string }} sounds @returns {Promise<void>} */
    open: (sounds) => this.#ask("lab-open", sounds),
    /** @param {string} step @param {{ bands: number, comb: number }} settings @returns {Promise<Spectrogram & { sound: Float32Array, si_sdr: number }>} */
    run: (step, settings) => this.#ask("lab-run", { step, ...settings }),
    /** @param {string} name @returns {Promise<string>} */
    source: async (name) => (await this.#ask("lab-source", { name })).source,
    /** @param {string} name @param {string} source @returns {Promise<void>} */
    edit: (name, source) => this.#ask("lab-edit", { name, source }),
  };

  dispose() {
    this.disposed = true;
    this.#worker?.terminate();
    this.#live?.terminate();
    const error = new Error("disposed");
    this.#settle.reject(error);
    this.#settleLive.reject(error);
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }
}

// What call software takes: a track for a track, and LiveKit's way of asking for one. What makes them is loaded with the first.
import { Engine } from "./engine.js";

/** @typedef {import("./pyenhance.d.ts").TrackOptions} TrackOptions */
/** @typedef {Awaited<ReturnType<typeof import("./node.js").createDenoiser>>} Denoiser */

/** @param {MediaStreamTrack} microphone @param {TrackOptions} [options] */
export async function denoiseTrack(microphone, options) {
  return (await import("./track.js")).denoiseTrack(microphone, options);
}

// LiveKit's TrackProcessor: `localAudioTrack.setProcessor(new PyenhanceProcessor(options))`. LiveKit stops `processedTrack` where the
// microphone is to go on without it; so that is a clone.
export class PyenhanceProcessor {
  name = "pyenhance";
  /** @type {MediaStreamTrack | undefined} */
  processedTrack;
  /** @type {Denoiser | undefined} */
  node;
  #options;
  /** @type {TrackOptions["engine"]} one for all microphones, each of which would wait for its own */
  #engine;
  /** @type {(() => void) | undefined} */
  #dispose;
  /** @type {Promise<void>} what was asked for before: LiveKit destroys without waiting for it */
  #last = Promise.resolve();

  /** @param {Omit<TrackOptions, "context">} [options] */
  constructor(options = {}) {
    this.#options = options;
  }

  /** @param {{ track: MediaStreamTrack, audioContext: AudioContext }} given */
  init(given) {
    return this.#inTurn(() => this.#begin(given));
  }

  /** @param {{ track: MediaStreamTrack, audioContext: AudioContext }} given another microphone, or another context */
  restart(given) {
    return this.#inTurn(() => this.#begin(given));
  }

  destroy() {
    return this.#inTurn(async () => this.#end());
  }

  /** @param {() => Promise<void>} work */
  #inTurn(work) {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** @param {{ track: MediaStreamTrack, audioContext: AudioContext }} given */
  async #begin({ track, audioContext }) {
    try {
      if (!audioContext)
        throw new Error("audioContext is missing; accepted: a track that LiveKit's setAudioContext has given one");
      this.#engine ??= this.#options.engine ?? /** @type {any} */ (new Engine(this.#options));
      const engine = this.#engine;
      const next = await denoiseTrack(track, { ...this.#options, context: audioContext, engine });
      this.#dispose?.();
      this.#dispose = next.dispose;
      this.node = next.node;
      this.processedTrack = next.track.clone();
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #end() {
    this.#dispose?.();
    if (!this.#options.engine) this.#engine?.dispose();
    this.#dispose = this.#engine = this.node = this.processedTrack = undefined;
  }
}

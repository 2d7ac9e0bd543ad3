// A track in, a track out: the microphone's, enhanced, for whatever takes a MediaStreamTrack.
import { createDenoiser } from "./node.js";
import { SAMPLE_RATE } from "./ring.js";

/** @typedef {Awaited<ReturnType<typeof createDenoiser>>} Denoiser */
/** @typedef {import("./pyenhance.d.ts").TrackOptions} TrackOptions */

const UNTIL_READY = ["untouched", "silence"];
const OPENS_S = 0.01; // from silence to sound
const FOLLOWED = ["ended", "mute", "unmute"];

/** @type {WeakMap<MediaStreamTrack, Session>} */
const sessions = new WeakMap();
/** @param {MediaStreamTrack} track */
const sessionOf = (track) => /** @type {Session} */ (sessions.get(track));

// What the enhanced sound's track, or a clone of it, becomes: in all but the sound it is the microphone's. (A prototype and not
// a subclass: such tracks are made by the browser alone.)
class EnhancedTrack extends MediaStreamTrack {
  /** @returns {string} */
  get label() {
    return sessionOf(this).microphone.label;
  }

  /** @returns {boolean} */
  get muted() {
    return sessionOf(this).microphone.muted;
  }

  /** @returns {MediaStreamTrackState} */
  get readyState() {
    return sessionOf(this).microphone.readyState === "ended" ? "ended" : super.readyState;
  }

  // Both: this one is silent at once, and the microphone may rest where all are.
  /** @returns {boolean} */
  get enabled() {
    return super.enabled && sessionOf(this).microphone.enabled;
  }

  set enabled(value) {
    super.enabled = value;
    sessionOf(this).enable(this);
  }

  getConstraints() {
    return sessionOf(this).microphone.getConstraints();
  }

  getCapabilities() {
    return sessionOf(this).microphone.getCapabilities();
  }

  getSettings() {
    return sessionOf(this).settings();
  }

  /** @param {MediaTrackConstraints} [constraints] */
  applyConstraints(constraints) {
    return sessionOf(this).microphone.applyConstraints(constraints);
  }

  clone() {
    return sessionOf(this).dress(super.clone());
  }

  stop() {
    super.stop();
    sessionOf(this).stopped(this);
  }
}

// What the browser itself says of such a track, and does with it.
const native = {
  /** @param {MediaStreamTrack} track @returns {boolean} */
  isEnabled: (track) => Reflect.get(MediaStreamTrack.prototype, "enabled", track),
  /** @param {MediaStreamTrack} track @returns {boolean} */
  isLive: (track) => Reflect.get(MediaStreamTrack.prototype, "readyState", track) === "live",
  /** @param {MediaStreamTrack} track */
  stop: (track) => MediaStreamTrack.prototype.stop.call(track),
};

// A microphone, its node, and the tracks that they feed.
class Session {
  /** @type {Set<MediaStreamTrack>} those that nobody has stopped */
  #tracks = new Set();
  #gone = new AbortController();
  #ownsContext;
  #source;

  /**
   * @param {MediaStreamTrack} microphone
   * @param {AudioContext} context
   * @param {boolean} ownsContext
   * @param {Denoiser} node
   * @param {string} untilReady of UNTIL_READY
   */
  constructor(microphone, context, ownsContext, node, untilReady) {
    this.microphone = microphone;
    this.context = context;
    this.node = node;
    this.#ownsContext = ownsContext;
    this.#source = new MediaStreamAudioSourceNode(context, { mediaStream: new MediaStream([microphone]) });
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    this.gate = untilReady === "silence" ? new GainNode(context, { gain: 0 }) : null;
    if (this.gate) node.connect(this.gate).connect(out);
    else node.connect(out);
    this.#source.connect(node);
    this.track = this.dress(out.stream.getAudioTracks()[0]);
    const { signal } = this.#gone;
    for (const type of FOLLOWED) microphone.addEventListener(type, () => this.follow(type), { signal });
    context.addEventListener("statechange", () => context.state === "closed" && this.follow("ended"), { signal });
    node.addEventListener("stats", () => this.look(node.stats()), { signal });
  }

  /** @param {MediaStreamTrack} track a new one of the browser's */
  dress(track) {
    sessions.set(track, this);
    if (native.isLive(track)) this.#tracks.add(track);
    return Object.setPrototypeOf(track, EnhancedTrack.prototype);
  }

  // A track that its owner stops ends without an event; so does the microphone's, of which the statistics' beat tells then.
  /** @param {import("./pyenhance.d.ts").Stats} stats */
  look({ state, latency_algorithm_ms, latency_transport_ms }) {
    if (this.microphone.readyState === "ended") return this.follow("ended");
    if (!this.gate || (state !== "running" && state !== "bypassed")) return;
    const { gain } = this.gate;
    // What is heard until then was not enhanced yet.
    const opens = this.context.currentTime + (latency_algorithm_ms + latency_transport_ms) / 1000;
    gain.setValueAtTime(0, opens).linearRampToValueAtTime(1, opens + OPENS_S);
    this.gate = null;
  }

  /** @param {string} type of FOLLOWED */
  follow(type) {
    const told = [...this.#tracks].filter(native.isLive); // of its end the browser may have told already
    if (type === "ended") this.dispose();
    for (const track of told) track.dispatchEvent(new Event(type));
  }

  /** @param {MediaStreamTrack} track one that was enabled, or disabled */
  enable(track) {
    if (this.#tracks.has(track)) this.microphone.enabled = [...this.#tracks].some(native.isEnabled);
  }

  /** @param {MediaStreamTrack} track */
  stopped(track) {
    this.#tracks.delete(track);
    if (this.#tracks.size > 0 || this.#gone.signal.aborted) return;
    this.microphone.stop();
    this.dispose();
  }

  // The microphone's, but for what is another in the sound that comes out.
  settings() {
    const settings = /** @type {MediaTrackSettings & { latency?: number }} */ (this.microphone.getSettings());
    const { latency_algorithm_ms, latency_transport_ms } = this.node.stats();
    return {
      ...settings,
      channelCount: 1,
      sampleRate: this.context.sampleRate,
      latency: (settings.latency ?? 0) + (latency_algorithm_ms + latency_transport_ms) / 1000,
    };
  }

  /** The microphone goes on, for others; all else ends. */
  dispose() {
    if (this.#gone.signal.aborted) return;
    this.#gone.abort();
    this.#tracks.forEach(native.stop);
    this.#tracks.clear();
    this.#source.disconnect();
    this.node.dispose();
    if (this.#ownsContext && this.context.state !== "closed") this.context.close();
  }
}

/** @param {MediaStreamTrack} track */
function mustBeLiveAudio(track) {
  if (!(track instanceof MediaStreamTrack)) throw new TypeError(`the track is ${track}; accepted: a MediaStreamTrack`);
  if (track.kind !== "audio") throw new TypeError(`the track's kind is "${track.kind}"; accepted: "audio"`);
  if (track.readyState !== "live") throw new Error("the track has ended; accepted: one that is live");
}

// The microphone's track, enhanced, as a track; with its node, and what ends both but leaves the microphone alone. To stop the
// track, and its clones, stops the microphone. Without a context it has one of its own.
/**
 * @param {MediaStreamTrack} microphone
 * @param {TrackOptions} [options]
 */
export async function denoiseTrack(microphone, { context, untilReady = "untouched", ...options } = {}) {
  mustBeLiveAudio(microphone);
  if (!UNTIL_READY.includes(untilReady))
    throw new RangeError(`untilReady is ${JSON.stringify(untilReady)}; accepted: ${UNTIL_READY.join(", ")}`);
  const used = context ?? new AudioContext({ sampleRate: SAMPLE_RATE });
  let node;
  try {
    node = await createDenoiser(used, options);
    mustBeLiveAudio(microphone); // still
    const session = new Session(microphone, used, !context, node, untilReady);
    return { track: session.track, node, dispose: () => session.dispose() };
  } catch (error) {
    node?.dispose();
    if (!context) used.close();
    throw error;
  }
}

// What the track of enhanced sound, and any clone of it, becomes: in all but the sound it is the microphone's.

const FOLLOWED = ["ended", "mute", "unmute"];

/** @type {WeakMap<MediaStreamTrack, Guise>} */
const guises = new WeakMap();
/** @param {MediaStreamTrack} track */
const guiseOf = (track) => /** @type {Guise} */ (guises.get(track));

// A prototype and not a subclass: such tracks are made by the browser alone.
class EnhancedTrack extends MediaStreamTrack {
  /** @returns {string} */
  get label() {
    return guiseOf(this).microphone.label;
  }

  /** @returns {boolean} */
  get muted() {
    return guiseOf(this).microphone.muted;
  }

  /** @returns {MediaStreamTrackState} */
  get readyState() {
    return guiseOf(this).microphone.readyState === "ended" ? "ended" : super.readyState;
  }

  // Both: this one is silent at once, and the microphone may rest where all are.
  /** @returns {boolean} */
  get enabled() {
    return super.enabled && guiseOf(this).microphone.enabled;
  }

  set enabled(value) {
    super.enabled = value;
    guiseOf(this).enable(this);
  }

  getConstraints() {
    return guiseOf(this).microphone.getConstraints();
  }

  getCapabilities() {
    return guiseOf(this).microphone.getCapabilities();
  }

  getSettings() {
    return guiseOf(this).settings();
  }

  /** @param {MediaTrackConstraints} [constraints] */
  applyConstraints(constraints) {
    return guiseOf(this).microphone.applyConstraints(constraints);
  }

  clone() {
    return guiseOf(this).dress(super.clone());
  }

  stop() {
    super.stop();
    guiseOf(this).stopped(this);
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

/** A microphone and the tracks that are to look like it. */
export class Guise {
  /** @type {Set<MediaStreamTrack>} those that nobody has stopped */
  #tracks = new Set();
  #gone = new AbortController();
  #sound;

  /**
   * @param {MediaStreamTrack} microphone
   * @param {() => { sampleRate: number, latency: number }} sound what is another in it; latency: in seconds, more than the microphone's
   */
  constructor(microphone, sound) {
    this.microphone = microphone;
    this.#sound = sound;
    this.gone = this.#gone.signal;
    for (const type of FOLLOWED) microphone.addEventListener(type, () => this.follow(type), { signal: this.gone });
  }

  /** @param {MediaStreamTrack} track a new one of the browser's */
  dress(track) {
    guises.set(track, this);
    if (native.isLive(track)) this.#tracks.add(track);
    return Object.setPrototypeOf(track, EnhancedTrack.prototype);
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
    if (this.#tracks.size > 0 || this.gone.aborted) return;
    this.microphone.stop();
    this.dispose();
  }

  // The microphone's, but for the sound.
  settings() {
    const settings = /** @type {MediaTrackSettings & { latency?: number }} */ (this.microphone.getSettings());
    const { sampleRate, latency } = this.#sound();
    return { ...settings, channelCount: 1, sampleRate, latency: (settings.latency ?? 0) + latency };
  }

  /** The microphone goes on, for others; the tracks end. */
  dispose() {
    this.#gone.abort();
    this.#tracks.forEach(native.stop);
    this.#tracks.clear();
  }
}

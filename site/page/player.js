// Sounds of the same length that run in a loop together, one of them heard: changing between them is instant and in step.
import { SAMPLE_RATE } from "./engine/pyenhance.js";

const FADE_S = 0.015;

export class Player {
  constructor() {
    /** @type {Map<string, { buffer: AudioBuffer, source: AudioBufferSourceNode | null, gain: GainNode | null }>} */
    this.tracks = new Map();
    /** @type {string | null} */
    this.heard = null;
    /** @type {AudioContext | null} */
    this.context = null;
    this.begin = 0;
  }

  /** Add a sound, or put another in its place while it plays. @param {string} name @param {Float32Array} samples */
  set(name, samples) {
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: SAMPLE_RATE });
    buffer.copyToChannel(/** @type {Float32Array<ArrayBuffer>} */ (samples), 0);
    const track = this.tracks.get(name) ?? { buffer, source: null, gain: null };
    track.buffer = buffer;
    this.tracks.set(name, track);
    if (this.context) this.run(track, name, this.context);
  }

  clear() {
    this.stop();
    this.tracks.clear();
  }

  /** @param {string} name */
  play(name) {
    if (!this.context) {
      this.context = new AudioContext({ sampleRate: SAMPLE_RATE });
      this.begin = this.context.currentTime;
      for (const [each, track] of this.tracks) this.run(track, each, this.context);
    }
    this.heard = name;
    for (const [each, { gain }] of this.tracks) {
      gain?.gain.setTargetAtTime(each === name ? 1 : 0, this.context.currentTime, FADE_S / 3);
    }
  }

  /** @param {{ buffer: AudioBuffer, source: AudioBufferSourceNode | null, gain: GainNode | null }} track @param {string} name @param {AudioContext} context */
  run(track, name, context) {
    track.source?.stop();
    track.gain ??= new GainNode(context, { gain: name === this.heard ? 1 : 0 });
    track.gain.connect(context.destination);
    track.source = new AudioBufferSourceNode(context, { buffer: track.buffer, loop: true });
    track.source.connect(track.gain);
    track.source.start(0, (context.currentTime - this.begin) % track.buffer.duration);
  }

  // Where playing is, as a share of the sound.
  get place() {
    const [track] = this.tracks.values();
    return this.context && track
      ? ((this.context.currentTime - this.begin) % track.buffer.duration) / track.buffer.duration
      : 0;
  }

  stop() {
    this.context?.close();
    this.context = null;
    this.heard = null;
    for (const track of this.tracks.values()) track.source = track.gain = null;
  }
}

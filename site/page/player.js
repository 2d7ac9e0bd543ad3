// Sounds of the same length that run in a loop together, one of them heard: changing between them is instant and in step.
import { SAMPLE_RATE } from "./engine/pyenhance.js";

const FADE_S = 0.015;

export class Player {
  constructor() {
    this.tracks = new Map(); // name to {buffer, source, gain}
    this.heard = null;
  }

  // Add a sound, or put another in its place while it plays.
  set(name, samples) {
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: SAMPLE_RATE });
    buffer.copyToChannel(samples, 0);
    const track = this.tracks.get(name) ?? {};
    track.buffer = buffer;
    this.tracks.set(name, track);
    if (this.context) this.run(name);
  }

  clear() {
    this.stop();
    this.tracks.clear();
  }

  play(name) {
    if (!this.context) {
      this.context = new AudioContext({ sampleRate: SAMPLE_RATE });
      this.begin = this.context.currentTime;
      for (const each of this.tracks.keys()) this.run(each);
    }
    this.heard = name;
    for (const [each, { gain }] of this.tracks) {
      gain.gain.setTargetAtTime(each === name ? 1 : 0, this.context.currentTime, FADE_S / 3);
    }
  }

  run(name) {
    const track = this.tracks.get(name);
    track.source?.stop();
    track.gain ??= new GainNode(this.context, { gain: name === this.heard ? 1 : 0 });
    track.gain.connect(this.context.destination);
    track.source = new AudioBufferSourceNode(this.context, { buffer: track.buffer, loop: true });
    track.source.connect(track.gain);
    track.source.start(0, (this.context.currentTime - this.begin) % track.buffer.duration);
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

// A recording, decoded by the browser, enhanced in the worker and given back as WAV: piece by piece, so that length costs no memory.
import { HOP, SAMPLE_RATE } from "./engine/pyenhance.js";
import { openRecording } from "./recording.js";
import { TEXT } from "./strings.js";
import { WavWriter } from "./wav.js";

const FRAME = 2 * HOP;
const COLUMNS = 400; // of a picture, at least, once there is so much sound
/** @typedef {import("./engine/pyenhance.js").Engine} Engine */
/** @typedef {import("./results.js").Sound} Sound */

// Frames of a sound at even distances, for its picture: as many as needed, however long it gets.
class Frames {
  constructor() {
    this.every = 1;
    /** @type {Float32Array[]} */
    this.kept = [];
    this.seen = 0;
  }

  /** @param {Float32Array} sound */
  add(sound) {
    for (let at = 0; at + FRAME <= sound.length; at += FRAME, this.seen++) {
      if (this.seen % this.every) continue;
      this.kept.push(sound.slice(at, at + FRAME));
      if (this.kept.length < 2 * COLUMNS) continue;
      this.kept = this.kept.filter((_, i) => i % 2 === 0);
      this.every *= 2;
    }
  }

  /** @param {Engine} engine */
  picture(engine) {
    const sound = new Float32Array(FRAME * this.kept.length);
    this.kept.forEach((frame, i) => sound.set(frame, i * FRAME));
    return engine.picture(sound, this.kept.length + 1); // one for each frame, and the end
  }
}

/**
 * What to show and to keep; null where there is nothing, which `say` explains.
 * @param {File} file
 * @param {{ engine: Engine, model?: string, strengthDb: number | null, signal: AbortSignal, say(text: string): void, bar: HTMLProgressElement }} how
 * @returns {Promise<{ sounds: Sound[], download: { name: string, blob: Blob } } | null>}
 */
export async function enhanceFile(file, how) {
  const { bar } = how;
  bar.removeAttribute("value"); // until something is ready nobody knows how far it is
  try {
    return await pieceByPiece(file, how);
  } finally {
    if (bar.position < 0) bar.value = 0; // it came to nothing
  }
}

/** @type {typeof enhanceFile} */
async function pieceByPiece(file, { engine, model, strengthDb, signal, say, bar }) {
  const nothing = (/** @type {string} */ text) => (say(text), null);
  let recording;
  try {
    recording = await openRecording(file);
  } catch {
    return nothing(TEXT.undecodable(file.name));
  }
  const wav = new WavWriter(recording.count, SAMPLE_RATE);
  const [before, after] = [new Frames(), new Frames()];
  const work = engine.recording({ model, strengthDb });
  const begin = performance.now();
  let [samples, ready] = [0, 0];
  try {
    for await (const { channels, last } of recording.pieces()) {
      if (signal.aborted) return nothing(TEXT.cancelled(file.name));
      if (!samples && !channels[0].length) return nothing(TEXT.empty(file.name));
      if (!samples) say(TEXT.enhancing(file.name));
      samples += channels[0].length;
      before.add(channels[0]);
      const enhanced = await work.process(channels, last);
      after.add(enhanced[0]);
      wav.add(enhanced);
      ready += enhanced[0].length;
      if (ready && recording.seconds) bar.value = Math.min(1, ready / SAMPLE_RATE / recording.seconds);
    }
  } finally {
    work.end();
  }
  const seconds = samples / SAMPLE_RATE;
  bar.value = 1;
  const done = recording.cut() ? TEXT.doneInPart : TEXT.done;
  say(done(file.name, seconds, seconds / ((performance.now() - begin) / 1000)));
  const blob = wav.blob();
  /** @type {Sound[]} */
  const sounds = [
    [TEXT.before, { blob: file, picture: await before.picture(engine) }],
    [TEXT.after, { blob, picture: await after.picture(engine) }],
  ];
  return { sounds, download: { name: `${file.name.replace(/\.[^.]*$/, "")}-enhanced.wav`, blob } };
}

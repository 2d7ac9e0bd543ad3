// WAV files, 16 bit, put together piece by piece: the browser keeps the pieces, on disk where they are large.
import { TEXT } from "./strings.js";

const HEADER = 44;
const MAX_BYTES = 0xffffffff;

export class WavWriter {
  /** @param {number} count of channels @param {number} sampleRate */
  constructor(count, sampleRate) {
    this.count = count;
    this.sampleRate = sampleRate;
    this.bytes = 0;
    /** @type {Blob[]} */
    this.parts = [];
  }

  /** RangeError above 4 GB, which is all that a WAV file can hold. @param {Float32Array[]} channels of one length */
  add(channels) {
    const frames = channels[0].length;
    const samples = new DataView(new ArrayBuffer(2 * frames * this.count));
    if (this.bytes + samples.byteLength > MAX_BYTES - HEADER) throw new RangeError(TEXT.tooLongForWav);
    for (let i = 0, at = 0; i < frames; i++) {
      for (const channel of channels) {
        samples.setInt16(at, Math.round(Math.max(-1, Math.min(1, channel[i])) * 32767), true);
        at += 2;
      }
    }
    this.bytes += samples.byteLength;
    this.parts.push(new Blob([samples]));
  }

  blob() {
    const view = new DataView(new ArrayBuffer(HEADER));
    const text = (/** @type {number} */ at, /** @type {string} */ string) =>
      [...string].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, HEADER - 8 + this.bytes, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, this.count, true);
    view.setUint32(24, this.sampleRate, true);
    view.setUint32(28, 2 * this.sampleRate * this.count, true);
    view.setUint16(32, 2 * this.count, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, this.bytes, true);
    return new Blob([view, ...this.parts], { type: "audio/wav" });
  }
}

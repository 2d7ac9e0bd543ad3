// Recordings read piece by piece, whatever the browser can decode: however long one is, only seconds of it are in memory.
import { PIECE_SAMPLES, Resampler, SAMPLE_RATE } from "./engine/pyenhance.js";
import { decodeSound, loadVerified } from "./page.js";
import { TEXT } from "./strings.js";

/** @typedef {AsyncIterable<Float32Array[]>} Blocks */
/** @typedef {{ count: number, seconds: number | null, blocks: () => Blocks }} Opened count: of channels; seconds: about how long */

/**
 * pieces yields {channels, last}: Float32Arrays at 48 kHz, PIECE_SAMPLES each but for the last. Throws where the browser cannot decode it.
 * @param {Blob} file
 */
export async function openRecording(file) {
  const opened = (await openStream(file)) ?? (await openWhole(file));
  return { ...opened, pieces: () => regrouped(opened.blocks(), opened.count) };
}

/**
 * By Mediabunny, which takes containers apart and has the browser's own decoders (WebCodecs) do the rest; null where they cannot.
 * @param {Blob} file
 * @returns {Promise<Opened | null>}
 */
async function openStream(file) {
  try {
    const { ALL_FORMATS, AudioSampleSink, BlobSource, Input } =
      /** @type {import("../types/mediabunny").Mediabunny} */ (await loadVerified("vendor/mediabunny.js"));
    const input = new Input({ source: new BlobSource(file), formats: ALL_FORMATS });
    const track = await input.getPrimaryAudioTrack();
    if (!track || !(await track.canDecode())) return null;
    const { numberOfChannels: count, sampleRate: rate } = track;
    const seconds = await track.getDurationFromMetadata();
    return { count, seconds, blocks: () => resampled(decoded(new AudioSampleSink(track), count), count, rate) };
  } catch {
    return null; // of no kind that it knows, or it is not there
  }
}

/** All at once, by the browser. @param {Blob} file @returns {Promise<Opened>} */
async function openWhole(file) {
  const channels = await decodeSound(await file.arrayBuffer());
  return {
    count: channels.length,
    seconds: channels[0].length / SAMPLE_RATE,
    blocks: async function* () {
      yield channels;
    },
  };
}

/** @param {{ samples(): AsyncIterable<import("../types/mediabunny").AudioSample> }} sink @param {number} count @returns {Blocks} */
async function* decoded(sink, count) {
  for await (const sample of sink.samples()) {
    if (sample.numberOfChannels !== count) throw new Error(TEXT.channelsChange(count, sample.numberOfChannels));
    // What an encoder puts before the sound has times below zero.
    const skip = Math.min(sample.numberOfFrames, Math.max(0, Math.round(-sample.timestamp * sample.sampleRate)));
    const frames = sample.numberOfFrames - skip;
    const channels = Array.from({ length: count }, (_, planeIndex) => {
      const channel = new Float32Array(frames);
      if (frames) sample.copyTo(channel, { planeIndex, format: "f32-planar", frameOffset: skip });
      return channel;
    });
    sample.close();
    yield channels;
  }
}

/** @param {Blocks} blocks @param {number} count @param {number} rate @returns {Blocks} */
async function* resampled(blocks, count, rate) {
  if (rate === SAMPLE_RATE) return yield* blocks;
  const converters = Array.from({ length: count }, () => new Resampler(rate, SAMPLE_RATE));
  let skip = converters[0].delay;
  let given = 0;
  let returned = 0;
  const convert = (/** @type {Float32Array[]} */ channels, /** @type {number} */ most) => {
    const parts = channels.map((channel, c) => converters[c].process(channel));
    const from = Math.min(skip, parts[0].length);
    const to = Math.min(from + most, parts[0].length);
    skip -= from;
    returned += to - from;
    return parts.map((part) => part.slice(from, to));
  };
  for await (const channels of blocks) {
    given += channels[0].length;
    yield convert(channels, Infinity);
  }
  // What is still inside comes out after silence.
  const rest = Math.max(0, Math.round((given * SAMPLE_RATE) / rate) - returned);
  const silence = new Float32Array(2 * converters[0].half + rate);
  yield convert(Array(count).fill(silence), rest);
}

/** @param {Blocks} blocks @param {number} count */
async function* regrouped(blocks, count) {
  let piece = Array.from({ length: count }, () => new Float32Array(PIECE_SAMPLES));
  let filled = 0;
  for await (const channels of blocks) {
    for (let at = 0; at < channels[0].length;) {
      if (filled === PIECE_SAMPLES) {
        yield { channels: piece, last: false };
        piece = piece.map(() => new Float32Array(PIECE_SAMPLES));
        filled = 0;
      }
      const n = Math.min(PIECE_SAMPLES - filled, channels[0].length - at);
      piece.forEach((channel, c) => channel.set(channels[c].subarray(at, at + n), filled));
      filled += n;
      at += n;
    }
  }
  yield { channels: piece.map((channel) => channel.slice(0, filled)), last: true };
}

// Recordings read piece by piece, whatever the browser can decode: however long one is, only seconds of it are in memory.
import { PIECE_SAMPLES, Resampler, SAMPLE_RATE } from "./engine/pyenhance.js";
import { gaplessMp3, wholeOgg } from "./gapless.js";
import { decodeSound, loadVerified } from "./page.js";
import { TEXT } from "./strings.js";

/** @typedef {AsyncIterable<Float32Array[]>} Blocks */
/** @typedef {import("../types/mediabunny").AudioSample} AudioSample */
/** @typedef {{ count: number, seconds: number | null, cut: () => boolean, blocks: () => Blocks }} Opened count: of channels; seconds: about how long; cut: whether it turned out to end early */

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
    const open = (/** @type {Blob} */ blob) => new Input({ source: new BlobSource(blob), formats: ALL_FORMATS });
    let input = open(file);
    const { name } = await input.getFormat();
    const whole = name === "Ogg" ? await wholeOgg(file) : file;
    let cut = whole.size < file.size;
    if (cut) input = open(whole);
    const track = await input.getPrimaryAudioTrack();
    if (!track || !(await track.canDecode())) return null;
    const { numberOfChannels: count, sampleRate: rate } = track;
    const { from, to } = await bounds(name, track, whole);
    const seconds = Number.isFinite(to) ? to - from : await track.getDurationFromMetadata();
    const samples = new AudioSampleSink(track).samples()[Symbol.asyncIterator]();
    const first = await samples.next(); // fails where it cannot be decoded after all
    const all = untilCut(first, samples, () => (cut = true));
    const blocks = () => resampled(decoded(all, count, from, to), count, rate);
    return { count, seconds, cut: () => cut, blocks };
  } catch {
    return null; // of no kind that it knows, or it is not there
  }
}

/**
 * Where a track's sound lies in what is decoded, seconds. What an encoder puts in front has times below zero, but in an MP3.
 * @param {string} format
 * @param {import("../types/mediabunny").AudioTrack} track
 * @param {Blob} file
 */
async function bounds(format, track, file) {
  const gapless = format === "MP3" ? await gaplessMp3(file) : null;
  if (gapless) {
    const { skip, frames } = gapless;
    return { from: skip / track.sampleRate, to: (skip + frames) / track.sampleRate };
  }
  if (["MP4", "QuickTime File Format", "Ogg"].includes(format)) return { from: 0, to: await track.computeDuration() };
  return { from: 0, to: Infinity };
}

/**
 * What a file that is broken further on has in front.
 * @param {IteratorResult<AudioSample>} first
 * @param {AsyncIterator<AudioSample>} samples
 * @param {() => void} onCut
 */
async function* untilCut(first, samples, onCut) {
  try {
    for (let next = first; !next.done;) {
      yield next.value;
      try {
        next = await samples.next();
      } catch {
        return onCut();
      }
    }
  } finally {
    await samples.return?.();
  }
}

/** All at once, by the browser. @param {Blob} file @returns {Promise<Opened>} */
async function openWhole(file) {
  const channels = await decodeSound(await file.arrayBuffer());
  return {
    count: channels.length,
    seconds: channels[0].length / SAMPLE_RATE,
    cut: () => false,
    blocks: async function* () {
      yield channels;
    },
  };
}

/** @param {AsyncIterable<AudioSample>} samples @param {number} count @param {number} from @param {number} to seconds @returns {Blocks} */
async function* decoded(samples, count, from, to) {
  for await (const sample of samples) {
    if (sample.numberOfChannels !== count) throw new Error(TEXT.channelsChange(count, sample.numberOfChannels));
    const { numberOfFrames, sampleRate, timestamp } = sample;
    const at = (/** @type {number} */ seconds) =>
      Math.min(numberOfFrames, Math.max(0, Math.round((seconds - timestamp) * sampleRate)));
    const skip = at(from);
    const frames = Math.max(0, at(to) - skip);
    const channels = Array.from({ length: count }, (_, planeIndex) => {
      const channel = new Float32Array(frames);
      if (frames) sample.copyTo(channel, { planeIndex, format: "f32-planar", frameOffset: skip, frameCount: frames });
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

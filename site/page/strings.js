// Every English sentence that the pages' code shows; what the pages use is that, or what a table of another language has in its place.
import { table } from "./language.js";

/** @type {import("../types/strings").Text} */
const TEXT_EN = {
  loading: {
    download: (done, total) => `Loading the enhancer: ${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`,
    python: () => "Starting Python",
    numpy: () => "Loading numpy",
    model: () => "Loading the network",
  },
  ready: (ms) => `Ready (loaded in ${(ms / 1000).toFixed(1)} s). Nothing you say leaves this device.`,
  live: "Listening. You hear yourself without the noise.",
  silent: "Listening. Put on headphones and turn on \u201cPlay it to me\u201d, or press Record and listen afterwards.",
  dry: "Listening. You hear the untouched sound.",
  waiting: "Listening. The untouched sound plays until the enhancer has loaded.",
  sample: "Playing the sample, in a loop, through the live path.",
  suspended: "The sound is held up, by a call, a locked screen or another program. It goes on by itself.",
  muted: "The microphone is muted, by its own switch, the system or another program. It goes on by itself.",
  starting: "Starting. Your browser may be asking whether it may use the microphone.",
  cancelStart: "Cancel",
  stopped: "Stopped.",
  start: "Start",
  stop: "Stop",
  enhancementOn: "Enhancement on",
  enhancementOff: "Enhancement off",
  denied:
    "The microphone was not allowed. Allow it in the browser's address bar and press Start again; files and the sample work without it.",
  absent: "No microphone was found. Connect one and press Start again; files and the sample work without it.",
  busy: "The microphone is used by another program. Close that and press Start again.",
  unplugged:
    "The microphone was unplugged or taken away. It goes on when it is back, or choose another and press Start.",
  defaultDevice: "The system's choice",
  feedback:
    "That sounded like feedback, so you no longer hear yourself. Put on headphones before you turn it on again.",
  record: "Record",
  stopRecording: "Stop recording",
  recorded: "What was heard",
  recordedBelow: "Recorded: listen to it or save it under Recordings.",
  insecure:
    "Browsers give the microphone only to pages that come over https or from this machine (localhost). Files still work.",
  unsupported: "This browser has no AudioWorklet, which live sound needs. Files still work.",
  loadFailed: (why) => `The enhancer could not be loaded (${why}).`,
  scriptFailed: (name) => `${name} could not be loaded`,
  overload: "This machine is too slow right now: you hear the untouched sound. We try again in a few seconds.",
  recovered: "Enhancing again.",
  notShared: "This server sends no isolation headers, so sound takes a slightly slower way. All works.",
  decoding: (name) => `Reading ${name}`,
  enhancing: (name) => `Enhancing ${name}`,
  done: (name, seconds, speed) =>
    `${name}: ${seconds.toFixed(1)} s enhanced, ${speed.toFixed(0)} times faster than it plays.`,
  doneInPart: (name, seconds, speed) =>
    `${name} is cut off or damaged: the first ${seconds.toFixed(1)} s could be read and are enhanced, ${speed.toFixed(0)} times faster than they play.`,
  queued: (name) => `${name} waits for its turn.`,
  fileFailed: (name, why) => `${name} could not be enhanced: ${why}`,
  undecodable: (name) => `${name} is no sound that this browser can read.`,
  empty: (name) => `${name} holds no sound.`,
  cancelled: (name) => `${name}: cancelled.`,
  channelsChange: (from, to) => `its channels change from ${from} to ${to}`,
  tooLongForWav: "the result is longer than a WAV file can be, 4 GB",
  tooLargeForZip: (bytes) => `the archive would hold ${bytes} bytes; accepted: 4 GB`,
  noLimit: "no limit",
  db: (value) => `${value} dB`,
  percent: (value) => `${value} %`,
  ms: (value) => `${value.toFixed(0)} ms`,
  pitch: (hz, voice) => `${hz.toFixed(0)} Hz, ${(100 * voice).toFixed(0)} %`,
  model: ({ model, kernel, signal_kernel, why_not }) =>
    kernel === null
      ? `${model}, loading`
      : [
          model,
          kernel === signal_kernel ? kernel : `${kernel}, signal path ${signal_kernel}`,
          why_not && `not ${why_not}`,
        ]
          .filter(Boolean)
          .join(", "),
  models: {
    "": "the best that this machine is fast enough for",
    default: "default, the best sound",
    "low-delay": "low-delay, 10 ms late instead of 30",
    tiny: "tiny, a third of the work",
  },
  modelChanged: (text) => `The sound goes on with another model: ${text}.`,
  version: (model, sha256) => `${model}, version ${sha256.slice(0, 8)}.`,
  fitted: (name, bytes) => `Fitted to you by the profile \u201c${name}\u201d, ${(bytes / 1000).toFixed(1)} kB.`,
  lastUpdate: (bytes) => `The last update weighed ${(bytes / 1000).toFixed(1)} kB.`,
  verdict: (text) =>
    text ? `The release gate: ${text}` : "It is the first of its name, so the release gate had none to compare.",
  newerWaits: "There is a newer version.",
  newest: "It is the newest version.",
  updated: ({ from, to, bytes }) =>
    bytes > 0
      ? `Updated from ${from.slice(0, 8)} to ${to.slice(0, 8)} by ${(bytes / 1000).toFixed(1)} kB, and verified.`
      : `Back from ${from.slice(0, 8)} to ${to.slice(0, 8)}.`,
  notUpdated: (why) => `Not updated: ${why}. The version in use stays.`,
  modelTooSlow: "This machine is too slow for the larger model: the sound goes on with tiny.",
  failed: (why) => `Something went wrong: ${why}`,
  before: "Before",
  after: "After",
  download: (name) => `Download ${name}`,
  picture: (name) => `Spectrogram: ${name}`,
  hz: (value) => (value < 1000 ? `${value} Hz` : `${value / 1000} kHz`),
  ago: (seconds) => (seconds ? `\u2212${seconds} s` : "now"),
  lowered: (db, isMost) => `Noise lowered by ${isMost ? "more than " : ""}${db.toFixed(0)} dB`,
  noPicture: "this browser makes no picture of so many pixels",
  gains: (count) => `The ${count} gains: bright passes, dark is turned down`,
  listen: "Listen",
  stopListening: "Stop",
};

/**
 * Of the page "How it works".
 * @type {import("../types/strings").How}
 */
const HOW_EN = {
  ready: "Press Listen on any step, and change between them while it plays.",
  computing: (name) => `Computing: ${name}`,
  score: (db) => `${db.toFixed(1)} dB of voice over all that is not voice (SI-SDR)`,
  recording: (left) => `Speak now, where it is quiet: ${left} s`,
  silent: "Nothing was heard. Is it the right microphone?",
  applied: (name) => `${name} runs as you wrote it. Listen to the last steps.`,
  atLine: (line, what) => `Line ${line}: ${what}`,
  endless: (seconds) => `Stopped after ${seconds} s without an answer; the engine starts anew.`,
};

/**
 * Of the page "Make it mine".
 * @type {import("../types/strings").Mine}
 */
const MINE_EN = {
  ready: "Ready. Record your voice, then the room; nothing of it leaves this device.",
  record: { voice: "Record my voice", noise: "Record the room" },
  stop: (seconds) => `Stop (${seconds} s)`,
  recording: {
    voice: "Recording. Read the text aloud, as loud as on a call.",
    noise: "Recording. Say nothing, and let the room sound as it does.",
  },
  reading: (name) => `Reading ${name}`,
  recorded: "the recording",
  taken: (seconds) => `${seconds.toFixed(1)} s taken.`,
  unread: (name, why) => `${name} could not be read: ${why}`,
  fitting: "Fitting the model to your voice and room",
  cancelled: "Cancelled. The model stays as it was.",
  refused: (why) => `Nothing was changed: ${why}.`,
  done: "Done. Listen to the difference, then keep it or not.",
  better: (db) => `Next to your voice, all that is not your voice is ${db.toFixed(1)} dB lower than before.`,
  judged: (clips, better, fell) =>
    `That was measured on ${clips} pieces that were held out of your recordings: ${better} are better, ${fell} fall by more than half a dB.`,
  others: (percent) =>
    `Other voices in other rooms: gains are ${Math.abs(percent).toFixed(0)} % ${percent > 0 ? "further from" : "closer to"} the ideal.`,
  weight: (bytes, seconds) => `The change weighs ${(bytes / 1000).toFixed(1)} kB and took ${seconds.toFixed(0)} s.`,
  sounds: { noisy: "Untouched", before: "Before", after: "After" },
  anyMicrophone: "any microphone",
  myRoom: "My room",
  kept: (name, microphone) => `Kept as \u201c${name}\u201d. The first page uses it with ${microphone}.`,
  about: (microphone, model, bytes) => `For ${microphone}; model ${model}; ${(bytes / 1000).toFixed(1)} kB.`,
  otherVersion: "It is for another version of the model, so it is not used. Fit it anew.",
  use: "Use it",
  keepFile: "Export",
  forget: "Forget",
  forgotten: (name) => `\u201c${name}\u201d is forgotten.`,
  imported: (name) => `Taken as \u201c${name}\u201d.`,
  notImported: (name, why) => `${name} was not taken: ${why}. What was kept stays.`,
};

/**
 * Of the call in examples/.
 * @type {import("../types/strings").Call}
 */
const CALL_EN = {
  loading: "Connected. The enhancer is loading; until then the untouched sound is sent.",
  enhanced: "Connected, and enhanced.",
  untouched: "The enhancer is loading; until then the sound is untouched.",
  heard: "Enhanced.",
  notEnhanced: (why) => `Not enhanced: ${why}`,
  failed: (why) => `No call: ${why}`,
  ended: "Not connected.",
};

export const { TEXT, HOW, MINE, CALL } = table ?? { TEXT: TEXT_EN, HOW: HOW_EN, MINE: MINE_EN, CALL: CALL_EN };

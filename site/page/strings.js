// Every English sentence that the first page's code shows (other_strings.js: those of the other pages). What the pages use is that, or
// what a table of another language has in its place.
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
    "": "the best for this machine",
    default: "default, the best sound",
    "low-delay": "low-delay, 10 ms late instead of 30",
    tiny: "tiny, a third of the work",
  },
  modelChanged: (text) => `The sound goes on with another model: ${text}.`,
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
};

export const TEXT = table?.TEXT ?? TEXT_EN;

// What the code of the other pages shows, as strings.js: that one is loaded with the first page.
import { table } from "./language.js";

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

export const { HOW, MINE, CALL } = table ?? { HOW: HOW_EN, MINE: MINE_EN, CALL: CALL_EN };

// What the code of the other pages shows, and of version.js, as strings.js: that one is loaded with the first page.
import { table } from "./language.js";

/**
 * Of the model in use.
 * @type {import("../types/strings").Version}
 */
const VERSION_EN = {
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
};

/**
 * Of the page "How it works".
 * @type {import("../types/strings").How}
 */
const HOW_EN = {
  listen: "Listen",
  stopListening: "Stop",
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
  share: "Share what it learned",
  shareHas: (numbers, bytes) =>
    `${numbers} numbers, by which the last layers would change, and which model they are for: ${(bytes / 1000).toFixed(1)} kB.`,
  shareLacks: "No sound, no text, no name, no time, and nothing of the microphone.",
  shareNoise: (noise) =>
    `Each number is limited and carries noise of its own, ${noise} times as large as all that was learnt may be: only the mean of many files tells something.`,
  shareCosts: (epsilon, delta) =>
    `Of your privacy it costs epsilon ${epsilon.toFixed(1)} (delta ${delta}), and each further file costs as much again. Nothing is sent: you save a file, and give it to whom you trust.`,
  forget: "Forget",
  forgotten: (name) => `\u201c${name}\u201d is forgotten.`,
  imported: (name) => `Taken as \u201c${name}\u201d.`,
  notImported: (name, why) => `${name} was not taken: ${why}. What was kept stays.`,
};

/** @type {Record<string, string>} */
const GROUPS_EN = { F: "women", M: "men", room: "with echo", dry: "without echo" };

/**
 * Of the page "Who is it good for?".
 * @type {import("../types/strings").Trust}
 */
const TRUST_EN = {
  measured: (clips, speakers) => `Measured on ${clips} recordings of ${speakers} people.`,
  failed: (why) => `The figures could not be loaded: ${why}`,
  kinds: {
    sex: "Women and men",
    pitch: "Pitch of the voice",
    language: "Language",
    level: "Level of the voice",
    room: "Rooms",
    bandwidth: "What the microphone lets through, up to",
    snr: "Voice over noise",
  },
  group: (name) => GROUPS_EN[name] ?? name,
  counts: (clips, speakers) => (speakers ? `${clips} clips, ${speakers} people` : `${clips} clips`),
  gain: (mean, low, high) => `${mean.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`,
  small: "too small to judge",
  tooSmall: (names) => `Too small to judge: ${names.map(TRUST_EN.group).join(", ")}.`,
  gap: (gap, best, worst, beyond, chance) =>
    `Between ${TRUST_EN.group(best)} and ${TRUST_EN.group(worst)} lie ${gap.toFixed(2)}: ` +
    (beyond ? "more" : "no more") +
    ` than chance would make of groups of these sizes (up to ${chance.toFixed(2)}).`,
  sensitivity: (ratio, leans, agrees) =>
    `The gains move ${ratio.toFixed(2)} times as much with what tells a woman's voice from a man's as with other features: ` +
    `the model ${leans ? "leans" : "does not lean"} on it, ` +
    (agrees ? "which agrees with the gap." : "which the gap does not show."),
  percent: (share) => `${(100 * share).toFixed(0)} %`,
  rounds: (clients, delta) =>
    `What is kept of the gain of ${clients} devices' learning, at each budget (delta ${delta}):`,
  kept: (epsilon, kept) => `epsilon ${epsilon}: ${(100 * kept).toFixed(0)} % of the gain`,
  members: (plain, noised, epsilon) =>
    `An attacker who asks whether a person took part is right in ${(100 * plain).toFixed(0)} of 100 pairs` +
    (noised === undefined ? "" : `, with epsilon ${epsilon} in ${(100 * noised).toFixed(0)}`) +
    "; by guessing in 50.",
  secrets: (plain, noised, chance) =>
    `Of secrets that were planted, ${plain.toFixed(1)} of 8 bits can be read from the model` +
    (noised === undefined ? "" : `, with noise ${noised.toFixed(1)}`) +
    `; by guessing ${chance.toFixed(1)}.`,
  replaced: (old, name, sum) => `${name} (${sum}) for ${old}`,
  verdict: (passed, share) =>
    `${passed ? "Passed" : "Did not pass"}; worse on ${(100 * share).toFixed(0)} % of the clips.`,
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

export const { VERSION, HOW, MINE, TRUST, CALL } = table ?? {
  VERSION: VERSION_EN,
  HOW: HOW_EN,
  MINE: MINE_EN,
  TRUST: TRUST_EN,
  CALL: CALL_EN,
};

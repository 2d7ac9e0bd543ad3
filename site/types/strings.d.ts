// What strings.js must have: another language is another file of this shape.

export interface Text {
  loading: Record<"download" | "python" | "numpy" | "model", (done: number, total: number) => string>;
  ready: (ms: number) => string;
  live: string;
  silent: string;
  dry: string;
  waiting: string;
  sample: string;
  suspended: string;
  muted: string;
  starting: string;
  cancelStart: string;
  stopped: string;
  start: string;
  stop: string;
  enhancementOn: string;
  enhancementOff: string;
  denied: string;
  absent: string;
  busy: string;
  unplugged: string;
  defaultDevice: string;
  feedback: string;
  record: string;
  stopRecording: string;
  recorded: string;
  recordedBelow: string;
  insecure: string;
  unsupported: string;
  loadFailed: (why: string) => string;
  scriptFailed: (name: string) => string;
  overload: string;
  recovered: string;
  notShared: string;
  decoding: (name: string) => string;
  enhancing: (name: string) => string;
  done: (name: string, seconds: number, speed: number) => string;
  doneInPart: (name: string, seconds: number, speed: number) => string;
  queued: (name: string) => string;
  fileFailed: (name: string, why: string) => string;
  undecodable: (name: string) => string;
  empty: (name: string) => string;
  cancelled: (name: string) => string;
  channelsChange: (from: number, to: number) => string;
  tooLongForWav: string;
  tooLargeForZip: (bytes: number) => string;
  noLimit: string;
  db: (value: number | string) => string;
  percent: (value: number | string) => string;
  ms: (value: number) => string;
  pitch: (hz: number, voice: number) => string;
  model: (
    stats: Pick<import("../engine/pyenhance.d.ts").Stats, "model" | "kernel" | "signal_kernel" | "why_not">,
  ) => string;
  /** The models to choose from, by name; the empty one: by the machine's speed. */
  models: Record<string, string>;
  modelChanged: (text: string) => string;
  modelTooSlow: string;
  failed: (why: string) => string;
  before: string;
  after: string;
  download: (name: string) => string;
  picture: (name: string) => string;
  hz: (value: number) => string;
  ago: (seconds: number) => string;
  lowered: (db: number, isMost: boolean) => string;
  noPicture: string;
  gains: (count: number) => string;
}

export interface Version {
  version: (model: string, sha256: string) => string;
  fitted: (name: string, bytes: number) => string;
  lastUpdate: (bytes: number) => string;
  verdict: (text: string) => string;
  newerWaits: string;
  newest: string;
  updated: (update: Pick<import("../engine/pyenhance.d.ts").Update, "from" | "to" | "bytes">) => string;
  notUpdated: (why: string) => string;
}

export interface How {
  listen: string;
  stopListening: string;
  ready: string;
  computing: (name: string) => string;
  score: (db: number) => string;
  recording: (left: number) => string;
  silent: string;
  applied: (name: string) => string;
  atLine: (line: number, what: string) => string;
  endless: (seconds: number) => string;
}

export interface Mine {
  ready: string;
  record: Record<"voice" | "noise", string>;
  stop: (seconds: number) => string;
  recording: Record<"voice" | "noise", string>;
  reading: (name: string) => string;
  recorded: string;
  taken: (seconds: number) => string;
  unread: (name: string, why: string) => string;
  fitting: string;
  cancelled: string;
  refused: (why: string) => string;
  done: string;
  better: (db: number) => string;
  judged: (clips: number, better: number, fell: number) => string;
  others: (percent: number) => string;
  weight: (bytes: number, seconds: number) => string;
  sounds: Record<"noisy" | "before" | "after", string>;
  anyMicrophone: string;
  myRoom: string;
  kept: (name: string, microphone: string) => string;
  about: (microphone: string, model: string, bytes: number) => string;
  otherVersion: string;
  use: string;
  keepFile: string;
  share: string;
  shareHas: (numbers: number, bytes: number) => string;
  shareLacks: string;
  shareNoise: (noise: number) => string;
  shareCosts: (epsilon: number, delta: number) => string;
  forget: string;
  forgotten: (name: string) => string;
  imported: (name: string) => string;
  notImported: (name: string, why: string) => string;
}

export interface Trust {
  measured: (clips: number, speakers: number) => string;
  failed: (why: string) => string;
  /** Kinds of groups, by their names in the figures. */
  kinds: Record<string, string>;
  group: (name: string) => string;
  counts: (clips: number, speakers: number) => string;
  gain: (mean: number, low: number, high: number) => string;
  small: string;
  tooSmall: (names: string[]) => string;
  gap: (gap: number, best: string, worst: string, beyond: boolean, chance: number) => string;
  sensitivity: (ratio: number, leans: boolean, agrees: boolean) => string;
  percent: (share: number) => string;
  rounds: (clients: number, delta: number) => string;
  kept: (epsilon: number, kept: number) => string;
  members: (plain: number, noised: number | undefined, epsilon: number | undefined) => string;
  secrets: (plain: number, noised: number | undefined, chance: number) => string;
  replaced: (old: string, name: string, sum: string) => string;
  verdict: (passed: boolean, share: number) => string;
}

export interface Call {
  loading: string;
  enhanced: string;
  untouched: string;
  heard: string;
  notEnhanced: (why: string) => string;
  failed: (why: string) => string;
  ended: string;
}

/** Another language. PAGE: by what the pages' HTML says in English, white space aside, what it is to say. */
export interface Table {
  TEXT: Text;
  HOW: How;
  MINE: Mine;
  VERSION: Version;
  TRUST: Trust;
  CALL: Call;
  PAGE: Record<string, string>;
}

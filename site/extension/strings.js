// Every sentence that the extension's code shows.

export const BADGE = { on: "on", enhanced: "pyenhance: the microphone is enhanced here", name: "pyenhance" };

export const TEXT = {
  /** @type {Record<string, string>} */
  models: {
    default: "default, the best sound",
    "low-delay": "low-delay, 10 ms late instead of 30",
    tiny: "tiny, a third of the work",
  },
  noLimit: "no limit",
  db: (/** @type {number} */ value) => `${value} dB`,
  site: (/** @type {string} */ host) => `On ${host}`,
  none: "No page is shown here. Open this from the icon, beside a page.",
  idle: "This page has no microphone of ours. The next that it asks for will be enhanced.",
  off: "Off. Pages get their microphones as they are.",
  offHere: "Off for this site. It gets its microphone as it is.",
  offMeanwhile: "Off: the microphone is passed on untouched.",
  loading: "The enhancer is starting; until then the sound is untouched.",
  failed: "The microphone is passed on untouched: the enhancer has failed.",
  overload: "This machine is too busy: the sound is untouched for some seconds.",
  enhanced: (/** @type {string} */ model, /** @type {number} */ ms) =>
    `Enhanced by ${model}, ${Math.round(ms)} ms late.`,
  several: (/** @type {number} */ count) => `${count} microphones, of which the loudest is shown.`,
  again: (/** @type {string} */ host) => `Enhance on ${host} again`,
};

// To the console, and of what the browser asks us.
export const LOG = {
  asItIs: "pyenhance: the microphone stays as it is:",
  noAnswer: (/** @type {string} */ type, /** @type {number} */ ms) => `no ${type} within ${ms} ms`,
  notYet: "no sound may be heard here before the page is touched",
  why: "Its worker enhances the microphones of all tabs",
};

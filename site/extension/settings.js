// What the user has chosen, for all tabs.

/**
 * on: at all; off: hosts where it is not; strengthDb: largest attenuation, null: no limit; model: its name.
 * @typedef {{ on: boolean, off: string[], strengthDb: number | null, model: string }} Settings
 */

/** @type {Settings} */
const AT_FIRST = { on: true, off: [], strengthDb: null, model: "default" };

/** @returns {Promise<Settings>} */
export const read = () => chrome.storage.local.get(AT_FIRST);

/** @param {Partial<Settings>} changed */
export const write = (changed) => chrome.storage.local.set(changed);

/** Be told of every change. @param {(settings: Promise<Settings>) => void} listener */
export function watch(listener) {
  chrome.storage.local.onChanged.addListener(() => listener(read()));
}

/** Whether microphones are to be enhanced. @param {Settings} settings @param {string} host */
export const isOnAt = ({ on, off }, host) => on && !off.includes(host);

// What the pages and the extension's popup do alike.

/**
 * An element of the page, by its id.
 * @template {keyof import("../types/elements").Elements} Id
 * @param {Id} id
 * @returns {import("../types/elements").Elements[Id]}
 */
export const $ = (id) => /** @type {any} */ (document.getElementById(id));

const FLOOR_DB = -60; // where the meters begin

/** What a meter shows of a peak, dB. @param {number} peak */
export const toDb = (peak) => Math.max(FLOOR_DB, 20 * Math.log10(peak + 1e-9));

// By how much noise is lowered: where the sound is quietest there is noise alone.

const REMEMBERED = 400; // columns of a picture: eight seconds
const QUIET = 0.2; // share of them that are taken for noise
const NEEDED = 50; // before there is an answer
const SILENT = 1e-9; // mean square, -90 dBFS: where there is no noise none can be lowered
const MOST_DB = 40; // no room is so quiet that one would hear a difference beyond

export class Lowered {
  /** @type {[number, number][]} mean squares before and after, the newest last */
  #heard = [];

  /** Of the same moment. @param {number} before mean square @param {number} after */
  add(before, after) {
    this.#heard.push([before, after]);
    if (this.#heard.length > REMEMBERED) this.#heard.shift();
  }

  /** Whether `db` is the most that is told. */
  get isMost() {
    return this.db === MOST_DB;
  }

  /** dB, from 0 to MOST_DB; null where that cannot be told: too little was heard, or there is no noise. @returns {number | null} */
  get db() {
    if (this.#heard.length < NEEDED) return null;
    const quiet = [...this.#heard].sort(([a], [b]) => a - b).slice(0, Math.ceil(QUIET * this.#heard.length));
    const [before, after] = [0, 1].map((i) => quiet.reduce((sum, pair) => sum + pair[i], 0) / quiet.length);
    if (before < SILENT) return null;
    return Math.min(MOST_DB, Math.max(0, 10 * Math.log10(before / (after + SILENT / 1e4))));
  }
}

// The live streams of one worker, by number: those of live.js, which runs compiled code alone, or of worker.js, which has Python.
import { MOST, Stream } from "./stream.js";

/** @typedef {import("./stream.js").Enhancing} Enhancing */

export class Streams {
  /** @type {Map<number, Stream>} */
  #streams = new Map();
  /** @type {Map<number, Promise<void>>} those that wait for their model: what is said of them must wait too */
  #attaching = new Map();
  #report;

  /** @param {(type: string, fields?: object) => void} report posts to the page */
  constructor(report) {
    this.#report = report;
  }

  /**
   * @param {number} number
   * @param {() => Enhancing | Promise<Enhancing>} open
   * @param {{ buffer?: SharedArrayBuffer, port?: MessagePort }} way
   */
  async attach(number, open, way) {
    const done = this.#attach(number, open, way);
    this.#attaching.set(
      number,
      done.catch(() => {}),
    );
    try {
      await done;
    } finally {
      this.#attaching.delete(number);
    }
  }

  /** @param {number} number @param {() => Enhancing | Promise<Enhancing>} open @param {{ buffer?: SharedArrayBuffer, port?: MessagePort }} way */
  async #attach(number, open, way) {
    const engine = await open();
    try {
      const report = (/** @type {string} */ type, /** @type {object} */ fields = {}) =>
        this.#report(type, { stream: number, ...fields });
      this.#streams.set(number, new Stream(engine, way, report));
    } catch (error) {
      engine.destroy();
      throw error;
    }
  }

  /** @param {number} number @param {Parameters<Stream["control"]>[0]} field @param {number} value */
  async control(number, field, value) {
    await this.#attaching.get(number);
    this.#streams.get(number)?.control(field, value); // none: it has ended
  }

  /** @param {number} number */
  async detach(number) {
    await this.#attaching.get(number);
    this.#streams.get(number)?.end();
    this.#streams.delete(number);
  }
}

export { MOST };

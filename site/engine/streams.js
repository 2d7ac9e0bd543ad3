// The live streams of one worker, by number: those of live.js, which runs compiled code alone, or of worker.js, which has Python.
import { Stream } from "./stream.js";

/** @typedef {import("./hops.js").Enhancing} Enhancing */

export class Streams {
  /** @type {Map<number, Stream>} */
  #streams = new Map();
  /** @type {Map<number, Promise<void>>} what is under way for each: to wait for a model takes long, and what is said later must wait too */
  #turns = new Map();
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
  attach(number, open, way) {
    return this.#inTurn(number, async () => {
      const engine = await open();
      try {
        const report = (/** @type {string} */ type, /** @type {object} */ fields = {}) =>
          this.#report(type, { stream: number, ...fields });
        this.#streams.set(number, new Stream(engine, way, report));
      } catch (error) {
        engine.destroy();
        throw error;
      }
    });
  }

  /** Go on with another model. @param {number} number @param {() => unknown} open gives what its engine's `change` takes */
  change(number, open) {
    return this.#inTurn(number, async () => {
      const next = await open();
      this.#streams.get(number)?.engine.change(next); // none: it has ended
    });
  }

  /** @param {number} number @param {Parameters<Stream["control"]>[0]} field @param {number} value */
  control(number, field, value) {
    return this.#inTurn(number, () => this.#streams.get(number)?.control(field, value));
  }

  /** @param {number} number */
  async detach(number) {
    await this.#inTurn(number, () => this.#streams.get(number)?.end());
    this.#streams.delete(number);
    this.#turns.delete(number);
  }

  /** Their page has gone. */
  end() {
    for (const number of this.#turns.keys()) this.detach(number);
  }

  /** @param {number} number @param {() => void | Promise<void>} work @returns {Promise<void>} */
  #inTurn(number, work) {
    const turn = (this.#turns.get(number) ?? Promise.resolve()).then(work);
    this.#turns.set(
      number,
      turn.catch(() => {}),
    );
    return turn;
  }
}

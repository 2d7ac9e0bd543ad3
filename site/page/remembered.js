// What was computed, by all that it was computed from. The ones that were asked for last, so that memory is bounded.

/** @template T */
export class Remembered {
  /** @type {Map<string, T>} the latest last */
  #found = new Map();
  /** How often something had to be computed. */
  computed = 0;

  /** @param {number} most */
  constructor(most) {
    this.most = most;
  }

  /**
   * What is kept under this key, else what `compute` gives; what fails is not kept.
   * @param {string} key names every input
   * @param {() => Promise<T>} compute
   */
  async of(key, compute) {
    let value = this.#found.get(key);
    if (value === undefined) {
      value = await compute();
      this.computed++;
    }
    this.#found.delete(key);
    this.#found.set(key, value);
    for (const oldest of this.#found.keys()) {
      if (this.#found.size <= this.most) break;
      this.#found.delete(oldest);
    }
    return value;
  }
}

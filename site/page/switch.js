// Opening and closing as one queue: whatever is asked for, however fast, at most one thing is open, in the end it is the one that was
// wanted last, and what was acquired for one that failed or is not wanted any more is released.

// What was acquired on the way, to be released in reverse order.
class Held {
  /** @type {(() => unknown)[]} */
  #releases = [];
  #dropped;

  /** @param {AbortSignal} signal that nobody wants it any more */
  constructor(signal) {
    this.#dropped = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    this.#dropped.catch(() => {});
  }

  /** @param {() => unknown} release */
  add(release) {
    this.#releases.push(release);
  }

  /**
   * Wait for what is to be released later. Throws as soon as nobody wants it any more; if it comes then it is released at once.
   * @template T
   * @param {Promise<T>} coming
   * @param {(acquired: T) => unknown} release
   */
  async acquire(coming, release) {
    let acquired;
    try {
      acquired = await Promise.race([coming, this.#dropped]);
    } catch (error) {
      coming.then(release, () => {});
      throw error;
    }
    this.add(() => release(acquired));
    return acquired;
  }

  async release() {
    for (let last = this.#releases.pop(); last; last = this.#releases.pop()) {
      try {
        await last();
      } catch (error) {
        console.warn("pyenhance:", error); // the others are to be released all the same
      }
    }
  }
}

/** @typedef {Held} Holding */

/**
 * @template Aim
 * @template Opened
 */
export class Switch {
  /** @type {Aim | null} what shall be open */
  wanted = null;
  /** @type {Opened | null} what is */
  opened = null;
  /** @type {{ aim: Aim, held: Held } | null} */
  #now = null;
  /** @type {Promise<void> | null} */
  #working = null;
  #opening = new AbortController();
  #open;
  #on;

  /**
   * @param {(aim: Aim, held: Holding) => Promise<Opened>} open
   * @param {{ opened(opened: Opened): void, closed(): void, failed(error: unknown): void }} on closed: also before the next is opened
   */
  constructor(open, on) {
    this.#open = open;
    this.#on = on;
  }

  /** From now on this shall be open, null: nothing. Resolves when so it is, or has failed. @param {Aim | null} aim */
  want(aim) {
    if (aim !== this.wanted) this.#opening.abort(new Error("superseded"));
    this.wanted = aim;
    this.#working ??= this.#work();
    return this.#working;
  }

  async #work() {
    await null; // first, `want` is to have its promise
    while ((this.#now?.aim ?? null) !== this.wanted) {
      if (this.#now) await this.#closeNow(this.#now);
      else if (this.wanted) await this.#openNext(this.wanted);
    }
    this.#working = null;
  }

  /** @param {{ held: Held }} now */
  async #closeNow({ held }) {
    this.#now = this.opened = null;
    await held.release();
    this.#on.closed();
  }

  /** @param {Aim} aim */
  async #openNext(aim) {
    const { signal } = (this.#opening = new AbortController());
    const held = new Held(signal);
    try {
      const opened = await this.#open(aim, held);
      if (signal.aborted) return await held.release();
      this.#now = { aim, held };
      this.opened = opened;
      this.#on.opened(opened);
    } catch (error) {
      this.#now = this.opened = null;
      await held.release();
      if (signal.aborted) return;
      this.wanted = null;
      this.#on.failed(error);
    }
  }
}

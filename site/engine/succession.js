// The instances of one stream, each of another model: the next one goes on where the one before it is.
import { HOP } from "./ring.js";

/** @typedef {import("./instance.js").Instance} Instance */

export const FOLLOWED = 4; // hops of the past that one catches up with, beside each block: its sound must be there in time
const RISE = Float32Array.from({ length: HOP }, (_, i) => i / (HOP - 1));

export class Succession {
  #now;
  /** @type {Instance | null} */
  #next = null;
  #strength = -1;

  /** @param {Instance} first */
  constructor(first) {
    this.#now = first;
  }

  get latency() {
    return this.#now.latency;
  }

  get bands() {
    return this.#now.bands;
  }

  get heapBytes() {
    return this.#now.heapBytes + (this.#next?.heapBytes ?? 0);
  }

  /** @param {"input" | "output" | "facts"} which */
  block(which) {
    return this.#now.block(which);
  }

  /** @param {number} strength hundredths of a dB, -1 for no limit */
  setStrength(strength) {
    this.#strength = strength;
    this.#now.setStrength(strength);
  }

  /**
   * Go on with another model's instance, as soon as it has heard what this one heard of late.
   * @param {Instance} next
   */
  change(next) {
    if (this.#now.heard) this.#next = next;
    else this.#now = next;
  }

  /** Returns how many hops were lean; see `Instance.run`. @param {number} hops @param {boolean} lean @param {number} [waiting] */
  run(hops, lean, waiting = 0) {
    const before = this.#now;
    const next = this.#next?.follow(before, FOLLOWED) ? this.#next : null;
    const leanHops = before.run(hops, lean, waiting);
    if (!next) return leanHops;
    next.setStrength(this.#strength);
    next.block("input").set(before.block("input").subarray(0, hops * HOP));
    next.run(hops, lean, waiting);
    const from = before.block("output");
    const to = next.block("output");
    for (let i = 0; i < HOP; i++) to[i] = from[i] + Math.fround(RISE[i] * Math.fround(to[i] - from[i]));
    this.#now = next;
    this.#next = null;
    return leanHops;
  }

  destroy() {}
}

// What a live stream does wherever it runs: whole hops from the ring to the enhancer and back, and what the ring says of them.
import { H, HOP, MAX_BANDS, STATE } from "./ring.js";

const REST_HOPS = 1000; // of digital silence, ten seconds: then the answer to more of it is known
const TAIL_HOPS = 10; // after these nothing of the sound before comes out any more
export const LEAN_AT = 5; // hops waiting: lean frames alone, or hold the gains, and many at once
export const MOST = 16; // hops at once

/**
 * What enhances a stream. `change`: to another model, which acts with one of the next hops.
 * @typedef {Pick<import("./python.js").LiveEngine, "latency" | "bands" | "block" | "setStrength" | "run" | "heapBytes" | "destroy"> & { change(next: any): void }} Enhancing
 */

export class Hops {
  /**
   * RangeError where the model has more bands than a ring.
   * @param {Enhancing} engine
   * @param {import("./ring.js").Ring} ring
   */
  constructor(engine, ring) {
    this.engine = engine;
    this.ring = ring;
    /** @type {number} hops of it, up to now */
    this.silence = 0;
    this.scratch = new Float32Array(MOST * HOP);
    this.describe();
    ring.begin();
    ring.set(H.STATE, STATE.RUNNING);
  }

  // What the ring says of the model.
  describe() {
    const { latency, bands } = this.engine;
    if (bands > MAX_BANDS) throw new RangeError(`the model has ${bands} bands; accepted: at most ${MAX_BANDS}`);
    this.ring.set(H.LATENCY, latency);
    this.ring.set(H.BANDS, bands);
  }

  // After long silence the enhancer's answer to more of it is silence, and all that it remembers but the level stays as it is: there
  // is nothing to compute until sound comes. So it is where much silence waits: the audio thread, which rests too, is in no hurry.
  passSilence() {
    const { ring, scratch } = this;
    const { waitingHops } = ring;
    if (this.silence < (waitingHops > LEAN_AT ? TAIL_HOPS : REST_HOPS) || waitingHops > ring.mostHops) return;
    for (let k = 0; k < waitingHops; k++) {
      ring.waiting(scratch, HOP);
      if (!silent(scratch, HOP)) return;
      this.deliver(scratch, HOP);
      ring.add(H.HOPS, 1);
      this.silence++;
    }
  }

  /**
   * Enhance the next hops that wait. Returns how many of them were lean.
   * @param {number} hops
   * @param {boolean} lean see `Instance.run`
   * @param {number} waiting hops that wait behind these
   */
  enhance(hops, lean, waiting) {
    const { ring, engine } = this;
    engine.setStrength(ring.get(H.STRENGTH));
    const input = engine.block("input");
    ring.waiting(input, hops * HOP);
    this.notice(input, hops * HOP);
    const leanHops = engine.run(hops, lean, waiting);
    if (leanHops) ring.add(H.LEAN_HOPS, leanHops);
    if (leanHops && (lean || waiting)) ring.add(H.HURRIED_HOPS, leanHops);
    this.describe(); // it may have gone on with another model
    this.deliver(engine.block("output"), hops * HOP);
    ring.add(H.HOPS, hops);
    return leanHops;
  }

  /** How long there has been silence. @param {Float32Array} samples @param {number} n */
  notice(samples, n) {
    this.silence = silent(samples, n) ? this.silence + n / HOP : 0;
  }

  /** The answer to the next hops that wait. @param {Float32Array} samples @param {number} n */
  deliver(samples, n) {
    this.ring.answer(samples, n);
  }

  // Not at every hop: nobody reads them so often, and sixty stores cost as much as a small layer.
  showFacts() {
    const { ring, engine } = this;
    const facts = engine.block("facts"); // pitch period, its correlation, voice activity, gains
    ring.set(H.PITCH, Math.round(facts[0]));
    ring.set(H.VOICE, Math.round(1000 * facts[2]));
    ring.gains = facts.subarray(3);
    ring.set(H.HEAP_KB, engine.heapBytes >> 10);
  }
}

/** @param {Float32Array} samples @param {number} n */
export function silent(samples, n) {
  for (let i = 0; i < n; i++) if (samples[i] !== 0) return false;
  return true;
}

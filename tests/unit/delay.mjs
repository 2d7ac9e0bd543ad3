// After a hiccup the audio thread plays later; what the machine turns out not to need of that, over a minute, comes back in pauses:
// nobody hears it, and the delay that is stated is the delay that is heard, always.
import assert from "node:assert/strict";
import { H, HOP, Ring, STATE } from "../../site/engine/ring.js";

const QUANTUM = 128;
const DELAY = 2 * HOP;
const LATENCY = 960;
const RATE = 48000;
globalThis.sampleRate = RATE;
globalThis.AudioWorkletProcessor = class {
  port = { postMessage: () => {} };
};
let Processor;
globalThis.registerProcessor = (name, made) => (Processor = made);
await import("../../site/engine/processor.js");

// Half a second of voice, 0.3 s of a pause with a little noise in it, from sample 0 on.
let seed = 1;
const noise = Float32Array.from({ length: 65536 }, () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
  return (2e-4 * seed) / 2 ** 31;
});
const PITCH = (2 * Math.PI * 200) / RATE;
const voice = Float32Array.from({ length: 38400 }, (_, t) => {
  const open = t < 24000 ? Math.sin((Math.PI * t) / 24000) ** 2 : 0;
  return 0.3 * open * Math.sin(PITCH * t);
});
const sound = (n) => (n < 0 ? 0 : voice[n % 38400] + noise[n & 65535]);

class Bench {
  constructor({ quiet = false } = {}) {
    this.ring = Ring.create({ shared: true, latency: LATENCY });
    this.processor = new Processor({
      processorOptions: { buffer: this.ring.buffer, delay: DELAY, latency: LATENCY },
    });
    this.ring.set(H.LATENCY, LATENCY);
    this.ring.begin();
    this.ring.set(H.STATE, STATE.RUNNING);
    this.sound = quiet ? (n) => 0.3 * Math.sin(PITCH * n) : sound;
    this.heard = 0;
    this.last = 0;
    this.delays = [DELAY]; // as stated, whenever it changes
    this.hop = new Float32Array(HOP);
  }

  // What comes later than `behind` samples is answered.
  answer(behind) {
    const { ring, hop } = this;
    while (ring.inFill >= HOP + behind) {
      ring.waiting(hop, HOP, LATENCY);
      ring.answer(hop, HOP);
    }
  }

  play(seconds, behind = () => 0) {
    const block = new Float32Array(QUANTUM);
    const out = new Float32Array(QUANTUM);
    for (const end = this.heard + seconds * RATE; this.heard < end; this.heard += QUANTUM) {
      for (let i = 0; i < QUANTUM; i++) block[i] = this.sound(this.heard + i);
      this.processor.process([[block]], [[out]]);
      const delay = this.ring.get(H.DELAY);
      if (delay !== this.delays.at(-1)) this.delays.push(delay);
      else
        for (let i = 0; i < QUANTUM; i++) {
          const expected = this.sound(this.heard + i - LATENCY - delay);
          if (Math.abs(out[i] - expected) > 2e-3) this.wrong ??= { at: this.heard + i, by: out[i] - expected };
        }
      for (let i = 0; i < QUANTUM; i++) {
        // Twice the steepest that a voice of 200 Hz at 0.3 is.
        const click = Math.abs(out[i] - this.last) >= 0.6 * PITCH + 1e-3;
        if (click) assert.fail(`a click of ${out[i] - this.last} at ${this.heard + i}`);
        this.last = out[i];
      }
      this.answer(behind(this.heard));
    }
  }

  get delay() {
    return this.ring.get(H.DELAY);
  }
}

// A hiccup of 60 ms costs up to 60 ms of delay; for a minute it stays, as the machine has shown to need it; then it comes back.
{
  const bench = new Bench();
  bench.play(70);
  assert.equal(bench.delay, DELAY, "never below where it began");
  assert.equal(bench.wrong, undefined);
  bench.play(0.06, () => 1e9);
  bench.play(1);
  const grown = bench.delay;
  assert.ok(grown >= DELAY + 2 * HOP && grown <= DELAY + 8 * HOP, `${grown}`);
  bench.wrong = undefined; // of the hiccup itself
  bench.play(50);
  assert.equal(bench.delay, grown, "for a minute");
  bench.play(20);
  assert.equal(bench.delay, DELAY);
  assert.equal(bench.wrong, undefined, "what is stated is what is heard");
  const steps = bench.delays.slice(bench.delays.indexOf(grown));
  for (let k = 1; k < steps.length; k++) assert.ok(steps[k - 1] - steps[k] > 0 && steps[k - 1] - steps[k] <= HOP);
  assert.equal(bench.ring.get(H.UNDERRUNS), 1);
  bench.play(30);
  assert.equal(bench.delay, DELAY);
  assert.equal(bench.ring.get(H.UNDERRUNS), 1, "and nothing is late");
}

// A machine that is late by 30 ms now and then, at least once a minute, keeps what it needs and gives back the rest, without another underrun.
{
  const bench = new Bench();
  const now = (n) => (n % (40 * RATE) < 12 * QUANTUM ? 3 * HOP : 0);
  bench.play(2);
  bench.play(0.09, () => 1e9); // once, more than it needs
  bench.play(5);
  const grown = bench.delay;
  bench.play(150, now);
  const { delay } = bench;
  assert.ok(delay < grown, `${delay} of ${grown} left`);
  assert.ok(delay >= 3 * HOP + QUANTUM, `${delay}`);
  assert.equal(bench.ring.get(H.UNDERRUNS), 1);
}

// Sound without a pause is left alone: nothing could be left out unheard.
{
  const bench = new Bench({ quiet: true });
  bench.play(2);
  bench.play(0.06, () => 1e9);
  bench.play(1);
  const grown = bench.delay;
  bench.play(65);
  assert.equal(bench.delay, grown);
}

// Bypassed: in pauses of the untouched sound.
{
  const bench = new Bench();
  bench.play(2);
  bench.play(0.06, () => 1e9);
  bench.play(1);
  assert.ok(bench.delay > DELAY);
  bench.ring.set(H.BYPASS, 1);
  bench.play(70);
  assert.equal(bench.delay, DELAY);
}
console.log("ok");

// The audio thread's side, block by block: what it plays, when, and how it takes over a model's latency.
import assert from "node:assert/strict";
import { H, HOP, Ring, STATE } from "../../site/engine/ring.js";

const QUANTUM = 128;
const DELAY = 2 * HOP;
globalThis.sampleRate = 48000;
globalThis.AudioWorkletProcessor = class {
  constructor() {
    this.told = [];
    this.port = { postMessage: (message) => this.told.push(message) };
  }
};
let Processor;
globalThis.registerProcessor = (name, made) => (Processor = made);
await import("../../site/engine/processor.js");

const sine = (n) => (n < 0 ? 0 : 0.5 * Math.sin(n / 40));
const steepest = 0.5 / 40; // change of a sample

// A processor and all it played. enhance(ring): what the worker does after each block.
class Bench {
  constructor(latency, { shared = true } = {}) {
    this.ring = Ring.create({ shared, latency });
    const buffer = shared ? this.ring.buffer : undefined;
    this.processor = new Processor({ processorOptions: { buffer, delay: DELAY, latency } });
    this.heard = 0;
    this.out = [];
  }

  play(blocks, enhance = () => {}) {
    for (let k = 0; k < blocks; k++) {
      const block = Float32Array.from({ length: QUANTUM }, (_, i) => sine(this.heard + i));
      const out = [new Float32Array(QUANTUM), new Float32Array(QUANTUM)];
      assert.equal(this.processor.process([[block]], [out]), true);
      assert.deepEqual(out[0], out[1]);
      this.heard += QUANTUM;
      this.out.push(...out[0]);
      enhance();
    }
  }

  // From sample `from` on all is what went in, `late` samples before, times `gain`.
  plays(from, to, late, gain = 1) {
    for (let n = from; n < to; n++)
      assert.ok(
        Math.abs(this.out[n] - gain * sine(n - late)) < 1e-5,
        `sample ${n} is ${this.out[n]}, not ${gain * sine(n - late)}`,
      );
  }

  get roughest() {
    return this.out.reduce((most, value, n) => Math.max(most, n ? Math.abs(value - this.out[n - 1]) : 0), 0);
  }
}

// Stands for the worker's stream: turns sound down by half, `latency` late.
function halve(ring, latency) {
  const hop = new Float32Array(HOP);
  while (ring.waitingHops > 0) {
    ring.waiting(hop, HOP, latency);
    ring.answer(
      hop.map((value) => value / 2),
      HOP,
    );
  }
}

for (const latency of [480, 960, 1440]) {
  const bench = new Bench(latency);
  const { ring } = bench;
  bench.play(50);
  bench.plays(0, bench.out.length, latency + DELAY);
  assert.equal(ring.get(H.HEARD_LATENCY), latency);

  // The model is there, as it was declared: enhanced sound comes in where it begins, without a gap.
  ring.set(H.LATENCY, latency);
  ring.begin();
  ring.set(H.STATE, STATE.RUNNING);
  const begun = bench.out.length;
  bench.play(100, () => halve(ring, latency));
  bench.plays(0, begun, latency + DELAY);
  bench.plays(begun + latency + DELAY + 3 * HOP, bench.out.length, latency + DELAY, 0.5);
  for (let n = begun; n < bench.out.length; n++) {
    const dry = sine(n - latency - DELAY);
    assert.ok(Math.abs(bench.out[n]) >= Math.abs(dry) / 2 - 1e-6, `a gap at ${n}`);
    assert.ok(Math.abs(bench.out[n]) <= Math.abs(dry) + 1e-6);
  }
  assert.ok(bench.roughest < 1.2 * steepest, `a click of ${bench.roughest}`);

  // Bypassed it is the untouched sound, as late; and back.
  ring.set(H.BYPASS, 1);
  bench.play(10, () => halve(ring, latency));
  bench.plays(bench.out.length - 5 * QUANTUM, bench.out.length, latency + DELAY);

  // The worker falls silent: the untouched sound of the same moment.
  ring.set(H.BYPASS, 0);
  bench.play(10, () => halve(ring, latency));
  bench.play(30);
  bench.plays(bench.out.length - 10 * QUANTUM, bench.out.length, latency + DELAY);
  assert.equal(ring.get(H.UNDERRUNS), 1);
  assert.ok(bench.roughest < 1.5 * steepest, `a click of ${bench.roughest}`);

  // And is back: sound is played later by as much as it was late, at most four hops at once.
  bench.play(100, () => halve(ring, latency));
  assert.equal(ring.get(H.DELAY), DELAY + 4 * HOP);
  bench.plays(bench.out.length - 10 * QUANTUM, bench.out.length, latency + DELAY + 4 * HOP, 0.5);
  assert.ok(bench.roughest < 3 * steepest, `a click of ${bench.roughest}`);
}

// The model has another latency than it was declared to have: one passes over into the other, without a click, and what is stated is heard.
for (const [declared, latency] of [
  [0, 1440],
  [1440, 480],
  [480, 960],
]) {
  const bench = new Bench(declared);
  const { ring } = bench;
  bench.play(50);
  bench.plays(0, bench.out.length, declared + DELAY);
  ring.set(H.LATENCY, latency);
  ring.begin();
  ring.set(H.STATE, STATE.RUNNING);
  bench.play(1, () => halve(ring, latency));
  assert.equal(ring.get(H.HEARD_LATENCY), declared);
  bench.play(100, () => halve(ring, latency));
  assert.equal(ring.get(H.HEARD_LATENCY), latency);
  bench.plays(bench.out.length - 20 * QUANTUM, bench.out.length, latency + DELAY, 0.5);
  assert.ok(bench.roughest < 1.5 * steepest, `a click of ${bench.roughest}`);
  assert.equal(ring.get(H.UNDERRUNS), 0);

  // While enhanced sound is heard, too.
  const before = bench.out.length;
  ring.set(H.LATENCY, declared || 960);
  bench.play(100, () => halve(ring, declared || 960));
  bench.plays(bench.out.length - 20 * QUANTUM, bench.out.length, (declared || 960) + DELAY, 0.5);
  assert.ok(before > 0 && ring.get(H.HEARD_LATENCY) === (declared || 960));
}

// Another model takes over where enhanced sound alone is heard: it goes on, and no untouched sound is heard beside it.
{
  const bench = new Bench(1440);
  const { ring } = bench;
  ring.set(H.LATENCY, 1440);
  ring.begin();
  ring.set(H.STATE, STATE.RUNNING);
  const quiet = () => {
    while (ring.waitingHops > 0) ring.answer(new Float32Array(HOP), HOP);
  };
  bench.play(100, quiet);
  for (const latency of [480, 1440, 960]) {
    const before = bench.out.length;
    ring.set(H.LATENCY, latency);
    bench.play(1, quiet);
    assert.equal(ring.get(H.HEARD_LATENCY), latency);
    bench.play(30, quiet);
    assert.ok(bench.out.slice(before).every((value) => Math.abs(value) < 1e-6));
  }
  // And bypassed, one delay passes over into the other, without a gap or a click.
  ring.set(H.BYPASS, 1);
  bench.play(20, quiet);
  const before = bench.out.length;
  ring.set(H.LATENCY, 1440);
  bench.play(20, quiet);
  const after = bench.out.slice(before);
  bench.plays(bench.out.length - 5 * QUANTUM, bench.out.length, 1440 + DELAY);
  assert.ok(after.every((value, n) => n === 0 || Math.abs(value - after[n - 1]) < 1.5 * steepest + 1 / 480));
}

// Without shared memory: hops go out as messages, from the next whole one on, and come back.
const bench = new Bench(960, { shared: false });
bench.play(20);
const hops = [];
const answers = {};
const port = { postMessage: ({ type, at, samples }, { transfer }) => hops.push({ type, at, samples, transfer }) };
bench.processor.port.onmessage({ data: { type: "connect", port } });
bench.play(30);
assert.ok(hops.length >= 8 && hops.every(({ at, type }) => type === "hop" && at % HOP === 0));
assert.deepEqual(hops[0].transfer, [hops[0].samples.buffer]);
for (const { at, samples } of hops)
  for (let i = 0; i < HOP; i += 53) assert.equal(samples[i], Math.fround(sine(at + i)));
const later = hops.at(-1).at;
port.onmessage({ data: { type: "hop", at: later, samples: hops[0].samples, state: STATE.RUNNING, latency: 960 } });
bench.play(1);
bench.play(30);
const headers = bench.processor.told.filter(({ type }) => type === "header");
assert.ok(headers.length >= 2);
const page = Ring.create();
page.takeOver("processor", headers.at(-1).values);
assert.equal(page.get(H.HEARD_LATENCY), 960);
assert.equal(page.get(H.BLOCK), QUANTUM);

// Of a model that takes turns, only full frames are too slow for the audio thread: too slow it is.
for (const [fullMs, refused] of [
  [2, false],
  [4, true],
]) {
  const turning = new Bench(960);
  const { now } = Date;
  let clock = 0;
  let hops = 0;
  Date.now = () => clock;
  turning.processor.here = {
    engine: { destroy() {} },
    passSilence() {},
    showFacts() {},
    enhance(count, lean, waiting) {
      assert.deepEqual([count, lean, waiting], [1, false, 0]);
      const isFull = hops++ % 3 === 0;
      clock += isFull ? fullMs : 1;
      halve(turning.ring, 960);
      return isFull ? 0 : 1;
    },
  };
  turning.play(800); // 200 hops, a third of them full
  Date.now = now;
  const said = turning.processor.told.filter(({ type }) => type === "refused").map(({ message }) => message);
  assert.deepEqual(said, refused ? ["67 of 67 hops took too long"] : []);
}

// A message that nobody knows is told, and the sound goes on.
bench.processor.told.length = 0;
bench.processor.port.onmessage({ data: { type: "dance" } });
bench.processor.port.onmessage({ data: { type: "control", field: "IN_WRITE", value: 3 } });
port.onmessage({ data: { type: "hop", at: 0.5 } });
const errors = bench.processor.told.filter(({ type }) => type === "error").map(({ message }) => message);
assert.match(errors[0], /"dance" to the processor is unknown; accepted: enhance, wait, control, connect, dispose/);
assert.match(errors[1], /field is "IN_WRITE"; accepted: one of BYPASS, STRENGTH, QUIT/);
assert.match(errors[2], /"hop" from the stream: at is 0.5; accepted: a whole number/);
bench.play(1);

// A ring of another version is refused, by name.
const { buffer } = Ring.create({ shared: true });
new Int32Array(buffer)[H.VERSION] = 1;
assert.throws(
  () => new Processor({ processorOptions: { buffer, delay: DELAY, latency: 0 } }),
  /VERSION is 1; accepted: 3/,
);

bench.processor.port.onmessage({ data: { type: "dispose" } });
assert.equal(bench.processor.process([[]], [[new Float32Array(QUANTUM)]]), false);
assert.equal(Object.keys(answers).length, 0);
console.log("ok");

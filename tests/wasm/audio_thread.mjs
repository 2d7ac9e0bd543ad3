// Sound enhanced on the audio thread: processor and compiled code of the built site, with shared memory and without.
//   node audio_thread.mjs SITE      prints JSON
import assert from "node:assert/strict";
import { openSite } from "./site.mjs";

const { load, models } = await openSite(process.argv[2]);
const { FROM_PROCESSOR, TO_PROCESSOR, received } = await load("protocol.js");
const { H, HOP, Ring, STATE } = await load("ring.js");

const QUANTUM = 128;
globalThis.sampleRate = 48000;
globalThis.AudioWorkletProcessor = class {
  told = [];
  port = { postMessage: (message) => this.told.push(received(FROM_PROCESSOR, message)) };
};
let Processor;
globalThis.registerProcessor = (_, made) => (Processor = made);
await load("processor.js");

let seed = 1;
const noise = () => ((seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5) * 0.1;
const sound = Float32Array.from(
  { length: 480000 },
  (_, n) => noise() + (Math.sin(n / 7000) > -0.4 ? 0.1 * Math.sin(0.03 * n + Math.sin(n / 9000)) : 0),
);

class Bench {
  constructor(latency, shared) {
    this.ring = Ring.create({ shared, latency });
    const buffer = shared ? this.ring.buffer : undefined;
    this.processor = new Processor({ processorOptions: { buffer, delay: HOP, latency } });
    this.out = [];
    this.heard = 0;
  }

  tell(type, fields) {
    this.processor.port.onmessage({ data: received(TO_PROCESSOR, { type, ...fields }) });
  }

  give(instance) {
    this.tell("enhance", instance.carried());
  }

  play(quanta) {
    for (let q = 0; q < quanta; q++, this.heard += QUANTUM) {
      const out = new Float32Array(QUANTUM);
      this.processor.process([[sound.subarray(this.heard, this.heard + QUANTUM)]], [[out]]);
      this.out.push(...out);
    }
  }

  // What it wrote down, as the node sees it.
  get(field) {
    for (const { type, values, enhancing } of this.processor.told.splice(0))
      if (type === "header") {
        this.ring.takeOver("processor", values);
        if (enhancing) this.ring.takeOver("worker", enhancing);
      }
    return this.ring.get(H[field]);
  }
}

const facts = {};
for (const shared of [true, false]) {
  const { open, latency } = await models.instances("tiny");
  const bench = new Bench(latency, shared);
  const ready = () => bench.processor.told.some(({ type }) => type === "begun");
  bench.play(10);
  bench.give(await open());
  let quanta = 10;
  for (; !ready(); quanta++) {
    assert.ok(quanta < 200);
    bench.play(1);
  }
  const first = Math.floor(bench.heard / HOP) * HOP; // the hop that was being heard
  bench.play(1000);
  // The same bits as the instance alone gives, so much later.
  const alone = await open(); // which has heard all of it
  assert.ok(first >= 2 * HOP && first <= 64 * HOP);
  for (let at = 0; at < first; at += HOP) {
    alone.block("input").set(sound.subarray(at, at + HOP));
    alone.run(1, false);
  }
  const late = latency + HOP;
  const expected = [];
  for (let at = first; at + HOP <= bench.heard; at += HOP) {
    alone.block("input").set(sound.subarray(at, at + HOP));
    alone.run(1, false);
    expected.push(...alone.block("output").subarray(0, HOP));
  }
  let same = 0;
  for (let n = first + 10 * HOP; n + late < bench.heard && n - first + latency < expected.length; n++) {
    if (!Object.is(bench.out[n + late], expected[n - first + latency])) break;
    same++;
  }
  assert.ok(same > 100_000, `${same} samples are the same`);
  assert.equal(bench.get("STATE"), STATE.RUNNING);
  assert.equal(bench.get("DELAY"), HOP);
  assert.ok(bench.get("HOPS") > 250 && bench.get("HEAP_KB") > 100);
  assert.equal(bench.get("UNDERRUNS"), 0);
  assert.ok(Math.max(...bench.ring.gains) > 0.1);

  // Another model in the middle of it, without a gap or a click: it must not jump by more than the sound itself does.
  const { open: openDefault } = await models.instances("default");
  let from = bench.out.length;
  bench.give(await openDefault());
  bench.play(600);
  const jumps = (samples, begin, end) => {
    let most = 0;
    for (let n = begin + 1; n < end; n++) most = Math.max(most, Math.abs(samples[n] - samples[n - 1]));
    return most;
  };
  assert.ok(jumps(bench.out, from, bench.heard) < 1.5 * jumps(bench.out, from - 60_000, from));
  assert.equal(bench.get("STATE"), STATE.RUNNING);

  // Too slow here: it says so, plays what it hears, and leaves more time to what follows.
  const { now } = Date;
  let clock = 0;
  Date.now = () => (clock += 4);
  from = bench.out.length;
  bench.play(800);
  Date.now = now;
  const refused = bench.processor.told.filter(({ type }) => type === "refused");
  const [, slow, full] = refused[0].message.match(/^(\d+) of (\d+) hops took too long/).map(Number);
  assert.ok(slow > full / 2 && full >= 60 && full <= 200, refused[0].message); // of a model with lean frames a third are full
  assert.equal(refused.length, 1);
  bench.tell("wait", { samples: 2 * HOP });
  bench.play(100);
  assert.equal(bench.get("DELAY"), 2 * HOP);
  const back = latency + 2 * HOP;
  for (let n = bench.heard - 50 * QUANTUM; n < bench.heard; n++)
    assert.ok(Math.abs(bench.out[n] - sound[n - back]) < 1e-6, `sample ${n}`);
  assert.ok(jumps(bench.out, from, bench.heard) < 1.5 * jumps(sound, 0, bench.heard));

  // What does not run here, or stops to run: the same.
  const broken = await open();
  for (const carried of [
    { ...broken.carried(), memory: new ArrayBuffer(8) },
    { ...broken.carried(), header: { ...broken.header, layout: 7 } },
    { ...broken.carried(), memory: new ArrayBuffer(broken.memory.byteLength) }, // nothing is in it
  ]) {
    const other = new Bench(latency, shared);
    other.play(20); // more than it hears of at once
    other.tell("enhance", carried);
    other.play(200);
    const said = other.processor.told.filter(({ type }) => type === "refused").map(({ message }) => message);
    assert.equal(said.length, 1, said.join());
    for (let n = 5000; n < other.heard; n++) assert.ok(Math.abs(other.out[n] - sound[n - latency - HOP]) < 1e-6);
    (facts.refused ??= []).push(said[0]);
  }
  facts[shared ? "shared" : "messages"] = same;
}
console.log(JSON.stringify(facts));
process.exit(); // the channel of turns.js would keep it

// What the worker's stream does when it falls behind: says so, holds the gains, then passes sound on, then rests. Nothing is lost.
// For models of any number of bands and any latency.
import assert from "node:assert/strict";
import { H, HOP, MAX_BANDS, Ring, STATE } from "../../site/engine/ring.js";
import { Stream } from "../../site/engine/stream.js";
import { Streams } from "../../site/engine/streams.js";

let now = 0;
performance.now = () => now;

// Stands for the Python engine: halves what it hears, takes as long as it is told to.
const calls = [];
const waits = []; // what it was told of hops behind those of the call
function halving(bands, latency) {
  const input = new Float32Array(16 * HOP);
  const output = new Float32Array(16 * HOP);
  const facts = new Float32Array(3 + bands).fill(0.5);
  return {
    bands,
    latency,
    block: (which) => ({ input, output, facts })[which],
    setStrength: () => {},
    run(hops, lean, waiting) {
      assert.ok(hops >= 1 && hops <= 16);
      calls.push([hops, lean]);
      waits.push(waiting);
      for (let i = 0; i < hops * HOP; i++) output[i] = input[i] / 2;
      now += 3 * hops;
      return lean ? hops : 0;
    },
    heapBytes: 1 << 20,
    destroy: () => calls.push("destroyed"),
  };
}

for (const [bands, latency] of [
  [34, 1440],
  [24, 480],
  [50, 960],
]) {
  const start = (Math.floor(2 ** 31 / HOP) - 20) * HOP; // counters wrap while this runs
  const ring = Ring.create({ shared: true, latency, at: start });
  ring.playAfter(0);
  const reports = [];
  const sample = (n) => (((n + start) % 7919) + 1) / 7920; // the nth that is heard
  let heard = 0;
  let answers = 0;
  const stream = new Stream(halving(bands, latency), { buffer: ring.buffer }, (type) => reports.push(type));
  assert.deepEqual([ring.latency, ring.get(H.BANDS), ring.gains.length], [latency, bands, bands]);
  const hop = new Float32Array(HOP);

  function hear(hops) {
    for (let k = 0; k < hops; k++, heard += HOP) {
      for (let i = 0; i < HOP; i++) hop[i] = sample(heard + i);
      ring.hear(hop, HOP);
    }
  }

  // After a drain every sample has been answered: enhanced, or untouched and aligned. Looks at the last ones.
  function answered(hops) {
    assert.equal(ring.inFill, 0);
    assert.equal(ring.outFill, heard - answers);
    const skipped = heard - answers - hops * HOP;
    ring.played(skipped);
    answers += skipped;
    let enhanced = 0;
    for (; answers < heard; answers += HOP) {
      assert.equal(ring.ready(HOP), HOP);
      ring.wet(hop, HOP);
      for (let i = 0; i < HOP; i++) {
        const wet = Math.fround(Math.fround(sample(answers + i)) / 2);
        if (hop[i] === wet) enhanced++;
        else assert.equal(hop[i], Math.fround(sample(answers + i - latency)), `sample ${answers + i}`);
      }
      ring.played(HOP);
    }
    return Math.round(enhanced / HOP);
  }

  hear(latency / HOP);
  stream.drain();
  hear(1);
  calls.length = 0;
  stream.drain();
  assert.deepEqual(calls, [[1, false]]);
  assert.equal(answered(1), 1);

  hear(4); // a little behind: the engine hears of it, which may have lean layers
  waits.length = 0;
  stream.drain();
  assert.deepEqual(waits, [2, 0]);
  assert.equal(answered(4), 4);

  hear(9); // behind: the gains are held, in larger blocks, until five or fewer wait
  calls.length = 0;
  stream.drain();
  assert.deepEqual(calls[0], [9, true]);
  assert.equal(answered(9), 9);
  assert.deepEqual([ring.get(H.LEAN_HOPS), ring.get(H.HURRIED_HOPS)], [9, 9]);

  hear(40); // far behind: all but the last two hops pass untouched
  calls.length = 0;
  stream.drain();
  assert.deepEqual(calls, [[2, false]]);
  assert.equal(answered(40), 2);
  assert.equal(ring.get(H.DROPPED_HOPS), 38);
  assert.equal(ring.get(H.STATE), STATE.RUNNING);
  assert.deepEqual(reports, []);

  function keepUp(hops) {
    for (let k = 0; k < hops; k++) {
      hear(1);
      stream.drain();
      assert.equal(answered(1), 1);
    }
  }

  keepUp(150);
  hear(ring.mostHops); // the machine has paused: a smaller model would not help
  stream.drain();
  answered(ring.mostHops);
  keepUp(150);
  assert.deepEqual([ring.get(H.STATE), reports], [STATE.RUNNING, []]);

  let rounds = 0;
  while (ring.get(H.STATE) === STATE.RUNNING && rounds++ < 50) {
    hear(30);
    stream.drain();
    answered(30);
  }
  assert.equal(ring.get(H.STATE), STATE.BYPASSED, "lasting overload ends in bypass");
  assert.deepEqual(reports, ["overload"]);
  calls.length = 0;
  hear(3);
  stream.drain();
  assert.equal(answered(3), 0, "bypassed: untouched");
  assert.equal(calls.length, 0, "the engine rests");

  now += 5001;
  hear(1);
  stream.drain();
  assert.equal(ring.get(H.STATE), STATE.RUNNING);
  assert.deepEqual(reports, ["overload", "recovered"]);
  assert.equal(answered(1), 1);

  keepUp(100);
  assert.equal(ring.get(H.STATE), STATE.RUNNING, "a machine that keeps up again stays enhanced");

  const hopsBefore = ring.get(H.HOPS);
  const all = ring.mostHops + 1;
  hear(all); // the ring is full: what may have been overwritten is counted, the rest is answered
  stream.drain();
  assert.equal(ring.get(H.OVERRUN_SAMPLES), (all - 2) * HOP);
  assert.equal(ring.get(H.HOPS) - hopsBefore, all);
  assert.equal(ring.inFill, 0);

  stream.snapshot();
  assert.ok(ring.get(H.US_P50) >= 3000 && ring.get(H.US_P50) <= 3020);
  assert.equal(ring.get(H.VOICE), 500);
  assert.deepEqual(ring.gains, new Float32Array(bands).fill(0.5));
  calls.length = 0;
  stream.end();
  stream.end();
  assert.deepEqual(calls, ["destroyed"]);
  assert.equal(ring.get(H.STATE), STATE.ENDED);
}

// A model with lean layers, one frame in three full while nothing waits. That is no overload, nor is it where hops wait and lean frames
// are enough; where many wait all the time it is.
{
  const ring = Ring.create({ shared: true, latency: 1440 });
  const reports = [];
  let turn = 0;
  let full = 0;
  const engine = {
    ...halving(34, 1440),
    run(hops, lean, waiting) {
      const before = full;
      for (let k = 0; k < hops; k++) {
        const isFull = turn === 0 || (!lean && waiting < 1 && turn >= 3);
        full += Number(isFull);
        turn = isFull ? 1 : Math.min(turn + 1, 3);
      }
      return hops - (full - before);
    },
  };
  const stream = new Stream(engine, { buffer: ring.buffer }, (type) => reports.push(type));
  const counted = () => [H.HOPS, H.LEAN_HOPS, H.HURRIED_HOPS, H.DROPPED_HOPS].map((field) => ring.get(field));
  const hear = (rounds, hops) => {
    for (let round = 0; round < rounds; round++) {
      for (let k = 0; k < hops; k++) ring.hear(new Float32Array(HOP).fill(0.5), HOP);
      stream.drain();
    }
  };
  hear(600, 1);
  assert.deepEqual([counted(), reports], [[600, 400, 0, 0], []]);
  hear(150, 4); // two and two: the first two are lean while the others wait, then it is a full one's turn
  assert.deepEqual([counted(), reports], [[1200, 850, 300, 0], []]);
  hear(3, 12); // many: lean ones alone
  assert.deepEqual([counted(), reports], [[1236, 886, 336, 0], []]);
  hear(20, 12);
  assert.deepEqual([ring.get(H.STATE), reports], [STATE.BYPASSED, ["overload"]]);
}

// While one hop is enhanced the next one comes, for ever: what is said to the stream is heard all the same.
{
  const ring = Ring.create({ shared: true, latency: 1440 });
  const hear = () => ring.hear(new Float32Array(HOP).fill(0.5), HOP);
  const engine = { ...halving(34, 1440), run: (hops) => (hear(), 0 * hops) };
  const stream = new Stream(engine, { buffer: ring.buffer }, () => {});
  hear();
  ring.knock();
  for (let waits = 0; waits < 200 && ring.get(H.HOPS) <= 20; waits++)
    await new Promise((resolve) => setTimeout(resolve, 50)); // of a busy machine, too
  assert.ok(ring.get(H.HOPS) > 20);
  stream.end();
}

// An engine that fails ends its stream, once, and says why.
const failing = {
  ...halving(34, 1440),
  run: () => {
    throw new Error("broken");
  },
};
const other = Ring.create({ shared: true });
const told = [];
const doomed = new Stream(failing, { buffer: other.buffer }, (type, fields) => told.push({ type, ...fields }));
other.hear(new Float32Array(3 * HOP), 3 * HOP);
doomed.drain();
doomed.drain();
assert.equal(other.get(H.STATE), STATE.FAILED);
assert.deepEqual(told, [{ type: "error", during: "live", message: "broken" }]);

// An engine that goes on with another model: the ring says so from the hop on that is of it.
{
  const ring = Ring.create({ shared: true, latency: 1440 });
  const engine = halving(34, 1440);
  const changing = { ...engine, run: (...given) => (engine.run(...given), Object.assign(changing, next)) };
  let next = {};
  const stream = new Stream(changing, { buffer: ring.buffer }, () => {});
  const hears = (latency, bands) => {
    ring.hear(new Float32Array(HOP).fill(0.5), HOP);
    stream.drain();
    assert.deepEqual([ring.latency, ring.get(H.BANDS), ring.get(H.STATE)], [latency, bands, STATE.RUNNING]);
  };
  hears(1440, 34);
  next = { latency: 480, bands: 24 };
  hears(480, 24);
  next = { latency: 480, bands: MAX_BANDS + 1 };
  ring.hear(new Float32Array(HOP).fill(0.5), HOP);
  stream.drain();
  assert.equal(ring.get(H.STATE), STATE.FAILED);
}

// What is said of a stream is done in its turn, also where its model takes long to come.
{
  const done = [];
  const streams = new Streams(() => {});
  const ring = Ring.create({ shared: true });
  const later = (ms, value) => new Promise((resolve) => setTimeout(() => resolve(value), ms));
  const engine = { ...halving(34, 1440), change: (to) => done.push(to), destroy: () => done.push("destroyed") };
  const all = [
    streams.attach(1, () => later(20, engine), { buffer: ring.buffer }),
    streams.change(1, () => later(10, "slow")),
    streams.change(1, () => later(0, "quick")),
    streams.change(1, async () => {
      throw new Error("no such model");
    }),
    streams.control(1, "BYPASS", 1),
    streams.detach(1),
    streams.change(1, () => later(0, "too late")),
  ];
  const [, , , failed] = await Promise.allSettled(all);
  assert.match(failed.reason.message, /no such model/);
  assert.deepEqual([done, ring.get(H.BYPASS)], [["slow", "quick", "destroyed"], 1]);
}

// More bands than a ring has room for are refused.
const { buffer } = Ring.create({ shared: true });
assert.throws(() => new Stream(halving(MAX_BANDS + 1, 480), { buffer }, () => {}), /65 bands; accepted: at most 64/);

// Without shared memory: a hop in, its answer out; a message that is none of them is told, and the stream goes on.
const { port1, port2 } = new MessageChannel();
const back = [];
const messages = [];
port2.onmessage = ({ data }) => back.push(data);
const plain = new Stream(halving(24, 480), { port: port1 }, (type, fields) => messages.push({ type, ...fields }));
const at = (2 ** 31 - HOP) | 0;
for (const data of [
  { type: "hop", at, samples: new Float32Array(HOP).fill(0.5) },
  { type: "hop", at, samples: new Float32Array(7) },
  { type: "dance" },
  { type: "hop", at: Ring.after(at, HOP), samples: new Float32Array(HOP).fill(0.25) },
])
  port2.postMessage(data);
while (back.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
assert.deepEqual(
  back.map(({ type, at, samples, state, latency }) => [type, at, samples[9], state, latency]),
  [
    ["hop", at, 0.25, STATE.RUNNING, 480],
    ["hop", (at + HOP) | 0, 0.125, STATE.RUNNING, 480],
  ],
);
const errors = messages.filter(({ type }) => type === "error").map(({ message }) => message);
assert.match(errors[0], /"hop" to the stream: samples is Float32Array; accepted: a Float32Array of 480/);
assert.match(errors[1], /"dance" to the stream is unknown; accepted: hop/);

// A backlog of messages is seen as one: the gains are held.
calls.length = 0;
for (let k = 2; k < 11; k++)
  port2.postMessage({ type: "hop", at: Ring.after(at, k * HOP), samples: new Float32Array(HOP) });
while (back.length < 11) await new Promise((resolve) => setTimeout(resolve, 5));
assert.deepEqual(calls, [[9, true]]);
back.splice(2, 9);
plain.end();
while (back.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
assert.deepEqual(back[2], { type: "end", state: STATE.ENDED });
const header = Ring.create();
header.takeOver("worker", messages.findLast(({ type }) => type === "header").values);
assert.deepEqual([header.latency, header.gains.length, header.get(H.HOPS)], [480, 24, 11]);
port2.close();
console.log("ok");
process.exit(); // the worker's own channel is open for good

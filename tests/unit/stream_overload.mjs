// What the worker's stream does when it falls behind: holds the gains, then passes sound on, then rests. Nothing is lost.
import assert from "node:assert/strict";
import { CAPACITY, H, HOP, LATENCY, Ring, STATE, put } from "../../site/ring.js";
import { Stream } from "../../site/stream.js";

let now = 0;
performance.now = () => now;

// Stands for the Python engine: halves what it hears, takes as long as it is told to.
const calls = [];
const input = new Float32Array(16 * HOP);
const output = new Float32Array(16 * HOP);
const facts = new Float32Array(36).fill(0.5);
const engine = {
  block: (which) => ({ input, output, facts })[which],
  setStrength: () => {},
  run(hops, lean) {
    assert.ok(hops >= 1 && hops <= 16);
    calls.push([hops, lean]);
    for (let i = 0; i < hops * HOP; i++) output[i] = input[i] / 2;
    now += 3 * hops;
  },
  heapBytes: () => 1 << 20,
  destroy: () => calls.push("destroyed"),
};

const ring = Ring.create(true);
const reports = [];
ring.set(H.IN_WRITE, 2 ** 31 - 5 * HOP); // counters wrap while this runs
const sample = (n) => (((n >>> 0) % 7919) + 1) / 7920;
const stream = new Stream(engine, { buffer: ring.buffer }, ({ type }) => reports.push(type));
const hop = new Float32Array(HOP);

function hear(hops) {
  for (let k = 0; k < hops; k++) {
    const at = ring.get(H.IN_WRITE);
    for (let i = 0; i < HOP; i++) hop[i] = sample((at + i) | 0);
    put(ring.input, at, hop, 0, HOP);
    ring.set(H.IN_WRITE, (at + HOP) | 0);
  }
}

// After a drain every sample has been answered: enhanced, or untouched and aligned.
function answered(hops) {
  assert.equal(ring.get(H.IN_READ), ring.get(H.OUT_WRITE));
  assert.ok(ring.distance(H.IN_WRITE, H.IN_READ) < HOP);
  const end = ring.get(H.OUT_WRITE);
  let enhanced = 0;
  for (let n = end - hops * HOP; n !== end; n++) {
    const y = ring.output[(n >>> 0) & (CAPACITY - 1)];
    const wet = Math.fround(sample(n | 0)) / 2;
    if (y === wet) enhanced++;
    else assert.equal(y, Math.fround(sample((n - LATENCY) | 0)), `sample ${n}`);
  }
  return Math.round(enhanced / HOP);
}

hear(LATENCY / HOP);
stream.drain();
hear(1);
calls.length = 0;
stream.drain();
assert.deepEqual(calls, [[1, false]]);
assert.equal(answered(1), 1);

hear(9); // behind: the gains are held, in larger blocks, until five or fewer wait
calls.length = 0;
stream.drain();
assert.deepEqual(calls[0], [9, true]);
assert.equal(answered(9), 9);
assert.equal(ring.get(H.LEAN_HOPS), 9);

hear(40); // far behind: all but the last two hops pass untouched
calls.length = 0;
stream.drain();
assert.deepEqual(calls, [[2, false]]);
assert.equal(answered(40), 2);
assert.equal(ring.get(H.DROPPED_HOPS), 38);
assert.equal(ring.get(H.STATE), STATE.RUNNING);
assert.deepEqual(reports, []);

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

for (let k = 0; k < 200; k++) {
  hear(1);
  stream.drain();
}
assert.equal(answered(100), 100);
assert.equal(ring.get(H.STATE), STATE.RUNNING, "a machine that keeps up again stays enhanced");

const hopsBefore = ring.get(H.HOPS);
hear(Math.floor(CAPACITY / HOP)); // the ring is full: what was overwritten is counted, the rest is answered
stream.drain();
assert.ok(ring.get(H.OVERRUN_SAMPLES) > 0);
assert.equal(ring.get(H.HOPS) - hopsBefore, Math.floor(CAPACITY / HOP));
assert.equal(ring.get(H.IN_READ), ring.get(H.OUT_WRITE));

stream.snapshot();
assert.ok(ring.get(H.US_P50) >= 3000 && ring.get(H.US_P50) <= 3020);
assert.equal(ring.get(H.VOICE), 500);
assert.equal(ring.get(H.GAINS + 33), 500);
stream.end();
stream.end();
assert.equal(calls.filter((call) => call === "destroyed").length, 1);
assert.equal(ring.get(H.STATE), STATE.ENDED);

// An engine that fails ends its stream, once, and says why.
const failing = {
  ...engine,
  run: () => {
    throw new Error("broken");
  },
};
const other = Ring.create(true);
const told = [];
const doomed = new Stream(failing, { buffer: other.buffer }, (message) => told.push(message));
other.set(H.IN_WRITE, 3 * HOP);
doomed.drain();
doomed.drain();
assert.equal(other.get(H.STATE), STATE.FAILED);
assert.deepEqual(told, [{ type: "error", during: "live", message: "broken" }]);
console.log("ok");

// What a ring agrees on, and what it refuses.
import assert from "node:assert/strict";
import { FIELDS, H, LAYOUT, MAX_BANDS, Ring } from "../../site/engine/ring.js";

const ring = Ring.create({ shared: true, latency: 960, at: 7 });
assert.ok(ring.buffer instanceof SharedArrayBuffer);
assert.equal(new Ring(ring.buffer).latency, 960, "what it was declared to have");
ring.set(H.LATENCY, 480);
assert.equal(ring.latency, 480, "what it has");
assert.equal(ring.get(H.STRENGTH), -1);

// Another version, other sizes, something else.
for (const [field, value] of [
  ["VERSION", 1],
  ["HEADER_INTS", 64],
  ["CAPACITY", 32768],
  ["MAX_BANDS", 34],
]) {
  const { buffer } = Ring.create();
  new Int32Array(buffer)[H[field]] = value;
  assert.throws(() => new Ring(buffer), new RegExp(`^RangeError: ring: ${field} is ${value}; accepted: \\d+\\. Page,`));
}
assert.throws(() => new Ring(new ArrayBuffer(100)), /the buffer has 100 bytes; accepted: \d+/);
assert.throws(() => new Ring(new ArrayBuffer(LAYOUT.bytes)), /VERSION is 0/);

// Every field has a place of its own, and each writer's are on cache lines of their own.
const names = Object.values(FIELDS).flat();
assert.equal(new Set(names).size, names.length);
assert.equal(new Set(names.map((name) => H[name])).size, names.length);
const lines = Object.values(LAYOUT.groups).map(({ from, to }) => [from >> 4, (to - 1) >> 4]);
for (let i = 1; i < lines.length; i++) assert.ok(lines[i][0] > lines[i - 1][1]);

// One side's fields travel as one array.
ring.set(H.BANDS, MAX_BANDS);
ring.gains = Float32Array.from({ length: MAX_BANDS }, (_, band) => band / MAX_BANDS);
ring.set(H.DELAY, 5);
const copy = Ring.create();
copy.takeOver("worker", ring.written("worker"));
assert.deepEqual(copy.gains, ring.gains);
assert.ok(Math.abs(copy.gains[63] - 63 / 64) < 1e-3);
assert.equal(copy.get(H.DELAY), 0, "the processor's are another's");
assert.throws(() => copy.takeOver("processor", [1, 2]), /2 fields of the processor; accepted: 10/);
console.log("ok");

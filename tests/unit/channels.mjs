// What the audio thread hears of several channels: those that carry sound, at their own level.
import assert from "node:assert/strict";
import { H, HOP, Ring } from "../../site/engine/ring.js";

const QUANTUM = 128;
const RATE = 48000;
globalThis.sampleRate = RATE;
globalThis.AudioWorkletProcessor = class {
  port = { postMessage: () => {} };
};
let Processor;
globalThis.registerProcessor = (name, made) => (Processor = made);
await import("../../site/engine/processor.js");

// What comes out of a node without a worker, from the block on in which sound is heard: the mixed input, as late as stated.
function mixed(channels, heard = (block) => block) {
  const ring = Ring.create({ shared: true, latency: 480 });
  const processor = new Processor({ processorOptions: { buffer: ring.buffer, delay: 2 * HOP, latency: 480 } });
  const { length } = channels[0];
  const out = new Float32Array(length + 1440);
  for (let at = 0; at + QUANTUM <= out.length; at += QUANTUM) {
    const block = channels.map((channel) => {
      const part = new Float32Array(QUANTUM);
      part.set(channel.subarray(at, at + QUANTUM));
      return part;
    });
    processor.process([heard(block, at)], [[out.subarray(at, at + QUANTUM)]]);
  }
  assert.equal(ring.get(H.DELAY), 2 * HOP);
  return out.subarray(1440);
}

const n = 40 * QUANTUM;
const tone = (gain, from = 0) =>
  Float32Array.from({ length: n }, (_, i) => (i < from ? 0 : gain * Math.sin((2 * Math.PI * 300 * i) / RATE)));
const same = (found, expected, from = 0, upTo = n - 1600) => {
  for (let i = from; i < upTo; i++)
    assert.ok(Math.abs(found[i] - expected[i]) < 1e-6, `sample ${i} is ${found[i]}, not ${expected[i]}`);
};

same(mixed([tone(0.5)]), tone(0.5));
same(mixed([tone(0.5), tone(0.5)]), tone(0.5));
for (const pair of [
  [tone(0.5), tone(0)],
  [tone(0), tone(0.5)],
  [tone(0.5), tone(0.005), tone(0)], // a faint neighbour is not mixed in
])
  same(
    mixed(pair),
    pair.reduce((a, b) => (a[100] ** 2 > b[100] ** 2 ? a : b)),
  );
same(mixed([tone(0.4), tone(0.2)]), tone(0.3)); // both carry sound
same(mixed([tone(0, n), tone(0.5, 10 * QUANTUM)]), tone(0.5, 10 * QUANTUM)); // after silence, from the first sample on

// A channel that begins to carry sound later comes in without a jump.
const late = mixed([tone(0.5), tone(0.5, 10 * QUANTUM + 80)]);
for (let i = 1; i < n - 1600; i++) assert.ok(Math.abs(late[i] - late[i - 1]) < 0.04);
same(late, tone(0.5), 10 * QUANTUM + 80 + 1100);

// What alone carried sound has gone: what is left is heard from there on, as it is, and nothing that is no number.
for (const left of [1, 2]) {
  const at = 10 * QUANTUM;
  const channels = [tone(0.005), tone(0.005), tone(0.5)].slice(2 - left);
  const gone = mixed(channels, (block, from) => (from < at ? block : block.slice(0, left)));
  assert.ok(gone.every(Number.isFinite));
  same(gone, tone(0.005), at);
}
console.log("ok");

// Ten seconds of digital silence and more cost next to nothing, and sound that comes then is enhanced from its first sample on, in
// its place: audio thread and worker's stream together, with shared memory and without.
import assert from "node:assert/strict";
import { H, HOP, Ring } from "../../site/engine/ring.js";
import { Stream } from "../../site/engine/stream.js";
import { letMessagesIn } from "../../site/engine/turns.js";

const QUANTUM = 128;
const RATE = 48000;
const LATENCY = 1440;
const DELAY = 2 * HOP;
globalThis.sampleRate = RATE;
globalThis.AudioWorkletProcessor = class {
  port = { postMessage: (message) => assert.equal(message.type, "header", message.message) };
};
let Processor;
globalThis.registerProcessor = (name, made) => (Processor = made);
await import("../../site/engine/processor.js");

// Halves what it heard LATENCY samples before.
function halving() {
  const input = new Float32Array(16 * HOP);
  const output = new Float32Array(16 * HOP);
  const facts = new Float32Array(3 + 34);
  let past = new Float32Array(LATENCY);
  const engine = {
    hops: 0,
    bands: 34,
    latency: LATENCY,
    block: (which) => ({ input, output, facts })[which],
    setStrength: () => {},
    run(hops) {
      engine.hops += hops;
      const all = Float32Array.of(...past, ...input.subarray(0, hops * HOP));
      for (let i = 0; i < hops * HOP; i++) output[i] = all[i] / 2;
      past = all.slice(hops * HOP);
    },
    heapBytes: 1 << 20,
    destroy: () => {},
  };
  return engine;
}

for (const shared of [true, false]) {
  const ring = Ring.create({ shared: true, latency: LATENCY });
  const processor = new Processor({
    processorOptions: { buffer: shared ? ring.buffer : undefined, delay: DELAY, latency: LATENCY },
  });
  const engine = halving();
  let wakes = 0;
  let heard = 0;
  const out = [];
  let stream;
  const inner = processor.ring;
  inner.knock = () => {
    wakes++;
    stream.drain();
  };
  if (shared)
    stream = new Stream(engine, { buffer: ring.buffer }, (type, fields) =>
      assert.equal(type, "header", fields?.message),
    );
  else {
    const toStream = { postMessage: (data) => stream.receive((wakes++, data)), close: () => {} };
    const toProcessor = { postMessage: (data) => toStream.onmessage({ data }), close: () => {} };
    stream = new Stream(engine, { port: toProcessor }, (type, fields) => assert.equal(type, "header", fields?.message));
    processor.port.onmessage({ data: { type: "connect", port: toStream } });
  }
  const sample = (n) => 0.4 * Math.sin(n / 9);
  const play = async (seconds, sound) => {
    const block = new Float32Array(QUANTUM);
    const played = new Float32Array(QUANTUM);
    for (const end = heard + seconds * RATE; heard < end; heard += QUANTUM) {
      for (let i = 0; i < QUANTUM; i++) block[i] = sound(heard + i);
      processor.process([[block]], [[played]]);
      out.push(...played);
      if (!shared) await letMessagesIn();
    }
  };
  await play(1, sample);
  await play(11, () => 0);
  const { hops } = engine;
  wakes = 0;
  await play(20, () => 0);
  assert.ok(engine.hops - hops <= 1, `${engine.hops - hops} hops computed in 20 s of silence`);
  assert.ok(wakes <= (shared ? 45 : 1), `${wakes} wake-ups in 20 s`);
  assert.equal(out.findLastIndex((value) => value !== 0) < 2 * RATE, true);

  // Sound in the middle of a hop.
  const from = heard + 100;
  await play(1, (n) => (n < from ? 0 : sample(n)));
  assert.ok(engine.hops - hops >= 95);
  for (let n = from - RATE; n < heard; n++) {
    const expected = n - LATENCY - DELAY < from ? 0 : sample(n - LATENCY - DELAY) / 2;
    assert.ok(Math.abs(out[n] - expected) < 1e-6, `sample ${n - from} is ${out[n]}, not ${expected}`);
  }
  for (const field of ["UNDERRUNS", "DROPPED_HOPS", "LEAN_HOPS", "HURRIED_HOPS", "OVERRUN_SAMPLES"])
    assert.equal(inner.get(H[field]) + stream.ring.get(H[field]), 0, field);
  if (shared) assert.ok(Math.abs(ring.get(H.HOPS) - heard / HOP) <= 1, "silent hops are done, too");

  // And silence again, and sound again.
  await play(12, () => 0);
  const before = engine.hops;
  await play(5, () => 0);
  assert.ok(engine.hops - before <= 1);
  stream.end();
}
console.log("ok");
process.exit(); // the stream's own channel would keep it

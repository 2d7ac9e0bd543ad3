// Both sides of the rings on real threads: one writes numbered samples in random portions, the other takes whole hops and writes
// them back; the first checks every sample that returns. Exit status 0: all as it must be.
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { fileURLToPath, pathToFileURL } from "node:url";

const [, , ringPath, seedText, totalText] = process.argv;
const { H, HOP, CAPACITY, Ring, put, take } = await import(
  pathToFileURL(isMainThread ? ringPath : workerData.ringPath).href
);
const CANARY = 0x5afe5afe;

// The canaries are the header's unused fields, which a wrong index or field would touch.
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

if (isMainThread) {
  const seed = Number(seedText);
  const total = Number(totalText);
  const ring = Ring.create(true);
  for (let i = 27; i < 32; i++) ring.head[i] = CANARY;
  // Near the end of 32 bits, so that every counter wraps on the way.
  const start = (2 ** 32 - 100 * HOP) | 0;
  for (const field of [H.IN_WRITE, H.IN_READ, H.OUT_WRITE, H.OUT_READ]) ring.set(field, start);
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: { buffer: ring.buffer, seed: seed + 1, ringPath },
  });
  const next = random(seed);
  const value = (n) => (n * 7919) % 8388593; // exact in float32, no two neighbours alike
  const block = new Float32Array(4096);
  let written = 0;
  let read = 0;
  let fullest = 0;
  const deadline = Date.now() + 120000;
  while (read < total) {
    if (Date.now() > deadline) throw new Error(`stuck: ${written} written, ${read} read`);
    const room = CAPACITY - ring.distance(H.IN_WRITE, H.OUT_READ);
    const n = Math.min(1 + Math.floor(next() * 4000), room, total + HOP - written);
    if (n > 0) {
      for (let i = 0; i < n; i++) block[i] = value(written + i);
      put(ring.input, ring.get(H.IN_WRITE), block, 0, n);
      ring.add(H.IN_WRITE, n);
      written += n;
      ring.add(H.DOORBELL, 1);
      Atomics.notify(ring.head, H.DOORBELL);
    }
    const ready = ring.distance(H.OUT_WRITE, H.OUT_READ);
    fullest = Math.max(fullest, ready);
    const m = Math.min(ready, 1 + Math.floor(next() * 4000));
    if (m > 0) {
      take(ring.output, ring.get(H.OUT_READ), block, 0, m);
      for (let i = 0; i < m; i++) {
        if (block[i] !== Math.fround(-value(read + i))) throw new Error(`sample ${read + i} is ${block[i]}`);
      }
      ring.add(H.OUT_READ, m);
      read += m;
    } else Atomics.wait(ring.head, H.HOPS, ring.get(H.HOPS), 1);
  }
  for (let i = 27; i < 32; i++) if (ring.head[i] !== CANARY) throw new Error(`header field ${i} was overwritten`);
  ring.set(H.QUIT, 1);
  ring.add(H.DOORBELL, 1);
  Atomics.notify(ring.head, H.DOORBELL);
  await new Promise((resolve) => worker.once("exit", resolve));
  console.log(JSON.stringify({ read, written, fullest, hops: ring.get(H.HOPS) }));
} else {
  const ring = new Ring(workerData.buffer);
  const next = random(workerData.seed);
  const block = new Float32Array(16 * HOP);
  while (ring.get(H.QUIT) === 0) {
    const rung = ring.get(H.DOORBELL);
    const waiting = Math.floor(ring.distance(H.IN_WRITE, H.IN_READ) / HOP);
    const hops = Math.min(waiting, 1 + Math.floor(next() * 16));
    if (hops === 0) {
      Atomics.wait(ring.head, H.DOORBELL, rung, 5);
      continue;
    }
    const at = ring.get(H.IN_READ);
    take(ring.input, at, block, 0, hops * HOP);
    for (let i = 0; i < hops * HOP; i++) block[i] = -block[i];
    put(ring.output, at, block, 0, hops * HOP);
    ring.set(H.IN_READ, (at + hops * HOP) | 0);
    ring.set(H.OUT_WRITE, (at + hops * HOP) | 0);
    ring.add(H.HOPS, hops);
    Atomics.notify(ring.head, H.HOPS);
  }
  parentPort?.close();
}

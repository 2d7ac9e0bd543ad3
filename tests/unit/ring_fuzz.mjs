// Both sides of the rings on real threads: one writes numbered samples in random portions, the other takes whole hops and writes
// them back; the first checks every sample that returns, and that nothing lies where nobody may write. Exit status 0: all as it must be.
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { fileURLToPath } from "node:url";
import { H, HOP, LAYOUT, Ring } from "../../site/engine/ring.js";

const CANARY = 0x5afe5afe;
const MOST = 60000; // samples on their way: fewer than a ring has

function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

// Places of the buffer, as ints, that belong to no field and to no ring.
function between() {
  const used = [
    ...Object.values(LAYOUT.groups).map(({ from, to }) => [from, to]),
    ...[LAYOUT.input, LAYOUT.output].map(([from, to]) => [from / 4, to / 4]),
  ];
  const all = Array.from({ length: LAYOUT.bytes / 4 }, (_, at) => at);
  return all.filter((at) => !used.some(([from, to]) => from <= at && at < to));
}

if (isMainThread) {
  const [, , seedText, totalText] = process.argv;
  const seed = Number(seedText);
  const total = Number(totalText);
  // Near the end of 32 bits, so that every counter wraps on the way.
  const ring = Ring.create({ shared: true, at: (2 ** 32 - 100 * HOP) | 0 });
  const ints = new Int32Array(ring.buffer);
  const canaries = between();
  if (canaries.length < 64) throw new Error(`only ${canaries.length} canaries`);
  for (const at of canaries) ints[at] = CANARY;
  ring.playAfter(0);
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { buffer: ring.buffer, seed: seed + 1 } });
  const next = random(seed);
  const value = (n) => (n * 7919) % 8388593; // exact in float32, no two neighbours alike
  const block = new Float32Array(4096);
  let written = 0;
  let read = 0;
  let fullest = 0;
  const deadline = Date.now() + 120000;
  while (read < total) {
    if (Date.now() > deadline) throw new Error(`stuck: ${written} written, ${read} read`);
    const n = Math.min(1 + Math.floor(next() * 4000), MOST - (written - read), total + HOP - written);
    if (n > 0) {
      for (let i = 0; i < n; i++) block[i] = value(written + i);
      ring.hear(block, n);
      written += n;
      ring.knock();
    }
    const ready = ring.outFill;
    fullest = Math.max(fullest, ready);
    const m = Math.min(ready, 1 + Math.floor(next() * 4000));
    if (m > 0) {
      if (ring.ready(m) !== m) throw new Error(`${ring.ready(m)} of ${m} are ready`);
      ring.wet(block, m);
      for (let i = 0; i < m; i++) {
        if (block[i] !== Math.fround(-value(read + i))) throw new Error(`sample ${read + i} is ${block[i]}`);
      }
      ring.dry(block, m, 0);
      for (let i = 0; i < m; i++) {
        if (block[i] !== Math.fround(value(read + i))) throw new Error(`heard sample ${read + i} is ${block[i]}`);
      }
      ring.played(m);
      read += m;
    } else await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (const at of canaries) if (ints[at] !== CANARY) throw new Error(`the word ${at} was overwritten: ${ints[at]}`);
  ring.set(H.QUIT, 1);
  ring.knock();
  await new Promise((resolve) => worker.once("exit", resolve));
  console.log(JSON.stringify({ read, written, fullest, hops: ring.get(H.HOPS) }));
} else {
  const ring = new Ring(workerData.buffer);
  const next = random(workerData.seed);
  const block = new Float32Array(16 * HOP);
  const awake = setInterval(() => {}, 1000); // Node would end a thread that only sleeps
  while (ring.get(H.QUIT) === 0) {
    const { knocks } = ring;
    const hops = Math.min(ring.waitingHops, 1 + Math.floor(next() * 16));
    if (hops === 0) {
      await ring.sleep(knocks);
      continue;
    }
    ring.waiting(block, hops * HOP);
    for (let i = 0; i < hops * HOP; i++) block[i] = -block[i];
    ring.answer(block, hops * HOP);
    ring.add(H.HOPS, hops);
    ring.gains = block.subarray(0, 64);
  }
  clearInterval(awake);
  parentPort?.close();
}

// Hours of live sound in minutes: audio thread, ring, worker's stream and compiled code of the built site, driven as fast as they go.
//   node --expose-gc tests/perf/soak.mjs SITE [MODEL] [HOURS] [THREAD] [SEED]      prints JSON; THREAD: audio or worker
//
// One stream lasts for all the hours (its sample clocks wrap on the way); beside it others start and stop. There is voice, noise,
// pauses, digital silence, bypass, and a worker that stands still now and then. Told are:
//   lost      samples that the microphone gave and nobody played in their place
//   late      samples that were played untouched because enhanced sound was not there; only where the worker stood still
//   moved     samples of stretches without attenuation (0 dB) that were not the microphone's, as late as the stream says: drift
//   memory    what JavaScript, WebAssembly and the process hold, after the first tenth and at the end
//   state     how far the stream's sound is, at the end, from that of a new stream that heard the last minute alone
import process from "node:process";
import { openSite } from "../wasm/site.mjs";

const [site, model = "default", hours = "8", thread = "audio", seed = "1"] = process.argv.slice(2);
const { load, models } = await openSite(site);
const { H, HOP, Ring, STATE } = await load("ring.js");
const { Stream } = await load("stream.js");
const { Succession } = await load("succession.js");

const RATE = 48000;
const QUANTUM = 128;
const DELAY = thread === "audio" ? HOP : 2 * HOP;
const PIECE_S = 10; // what happens is drawn for so long at once
const OTHERS_EVERY = 3; // pieces: a stream beside this one begins, and ends after one piece
const TOLERANCE = 2e-6; // of float32's sums in the transform there and back

globalThis.sampleRate = RATE;
globalThis.AudioWorkletProcessor = class {
  port = {
    postMessage: ({ type, message }) => {
      if (type !== "header" && type !== "begun") throw new Error(message);
    },
  };
};
let Processor;
globalThis.registerProcessor = (_, made) => (Processor = made);
await load("processor.js");

let state = Number(seed) >>> 0;
function random() {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

// A minute of each, walked through again and again: computing sound must not cost more than enhancing it.
const noise = Float32Array.from({ length: 1 << 20 }, () => 2 * random() - 1);
const voice = Float32Array.from({ length: 60 * RATE }, (_, n) => {
  const t = n / RATE;
  const phase = 2 * Math.PI * (140 * t - (30 / 5) * Math.cos(0.8 * 2 * Math.PI * t));
  const open = Math.max(0, Math.sin(2 * Math.PI * 0.37 * t)) * Math.max(0, Math.sin(2 * Math.PI * 2.9 * t)) ** 0.5;
  let sum = 0;
  for (let k = 1; k < 16; k++) sum += Math.sin(k * phase) / k;
  return 0.1 * open * sum;
});

const { open } = await models.instances(model);
const report = (type, fields) => {
  if (type === "error") throw new Error(fields.message);
};

class Live {
  /** @param {any} engine an Instance @param {number} at where the sample clocks begin */
  constructor(engine, at) {
    this.engine = engine;
    this.ring = Ring.create({ shared: true, latency: engine.latency, at });
    this.processor = new Processor({
      processorOptions: { buffer: this.ring.buffer, delay: DELAY, latency: engine.latency },
    });
    this.standsStill = 0; // quanta, from now on
    this.block = new Float32Array(QUANTUM);
    this.out = new Float32Array(QUANTUM);
    if (thread === "audio") {
      const carried = { type: "enhance", ...engine.carried() };
      this.processor.port.onmessage({ data: carried });
      return;
    }
    const { ring } = this.processor;
    const knock = ring.knock.bind(ring);
    ring.knock = () => {
      knock();
      if (this.standsStill <= 0) this.stream?.drain();
    };
    this.stream = new Stream(new Succession(engine), { buffer: this.ring.buffer }, report);
  }

  /** @param {(i: number) => number} sound sample i of this quantum */
  quantum(sound) {
    for (let i = 0; i < QUANTUM; i++) this.block[i] = sound(i);
    if (this.standsStill > 0 && --this.standsStill === 0) this.stream?.drain();
    this.processor.process([[this.block]], [[this.out]]);
  }

  end() {
    this.ring.set(H.QUIT, 1);
    this.stream?.end();
  }
}

const breath = () => new Promise((done) => setTimeout(done, 0)); // timers, and what was let go
async function memory() {
  for (let k = 0; k < 3; k++) {
    globalThis.gc?.();
    await breath();
  }
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { rss, heapUsed, arrayBuffers };
}

const WINDOW = 1 << 17; // samples that are remembered to compare with: more than any delay
const heard = new Float32Array(WINDOW);
const begin = performance.now();
const live = new Live(await open(), (2 ** 31 - 60 * RATE) | 0); // a minute before the sign changes
const last = []; // the last minute, as it was heard, and the last seconds as they were played
const found = {
  lost: 0,
  late: 0,
  moved: 0,
  compared: 0,
  furthest: 0,
  starts: 0,
  stops: 0,
  stood_still: 0,
  silent_s: 0,
};
const memories = [];
const delays = new Set();
const pieces = Math.max(12, Math.round((Number(hours) * 3600) / PIECE_S));
let now = 0; // samples
Date.now = () => Math.floor(now / 48); // hours pass in minutes, and on a busy machine
let settled = 0; // quanta since anything was out of the ordinary
for (let piece = 0; piece < pieces; piece++) {
  const ending = piece >= pieces - 7; // a minute of ordinary sound
  const kind = ending ? "voice" : ["voice", "voice", "voice", "noise", "pause", "silence"][Math.floor(6 * random())];
  const plain = !ending && random() < 0.25; // nothing is taken away: what is played is what was heard
  const level = 10 ** (-3 + 2 * random());
  const bypass = !ending && random() < 0.05;
  const long = kind === "silence" && random() < 0.2 ? 12 : 1; // two minutes
  live.ring.set(H.STRENGTH, plain ? 0 : -1);
  live.ring.set(H.BYPASS, bypass ? 1 : 0);
  settled = 0;
  let other;
  if (piece % OTHERS_EVERY === 0) {
    other = new Live(await open(), 0);
    found.starts++;
  }
  const from = Math.floor(random() * voice.length);
  for (let q = 0; q < (long * PIECE_S * RATE) / QUANTUM; q++) {
    if (thread === "worker" && !ending && kind !== "silence" && random() < 2e-4) {
      live.standsStill = Math.ceil((random() * 0.12 * RATE) / QUANTUM);
      found.stood_still++;
      settled = 0;
    }
    const sound = (i) => {
      if (kind === "silence") return 0;
      const n = now + i;
      const hiss = level * noise[n & (noise.length - 1)];
      return kind === "voice" ? hiss + voice[(from + n) % voice.length] : kind === "noise" ? 3 * hiss : 0.05 * hiss;
    };
    const before = live.ring.get(H.DELAY);
    live.quantum(sound);
    other?.quantum(sound);
    for (let i = 0; i < QUANTUM; i++) heard[(now + i) & (WINDOW - 1)] = live.block[i];
    const delay = live.ring.get(H.DELAY);
    settled = delay === before && live.standsStill <= 0 ? settled + 1 : 0;
    if (settled > RATE / QUANTUM && (plain || bypass)) {
      // A second after anything that may cross over from one to the other.
      const back = delay + live.engine.latency;
      for (let i = 0; i < QUANTUM; i++) {
        const by = Math.abs(live.out[i] - heard[(now + i - back) & (WINDOW - 1)]);
        found.compared++;
        if (by > found.furthest) found.furthest = by;
        if (by > TOLERANCE) found.moved++;
      }
    }
    if (ending) last.push({ heard: live.block.slice(), played: live.out.slice(), delay });
    now += QUANTUM;
  }
  if (kind === "silence") found.silent_s += long * PIECE_S;
  delays.add(live.ring.get(H.DELAY));
  if (other) {
    other.end();
    found.stops++;
  }
  await breath();
  // Not of the last minute, which is kept.
  if (!ending && piece % Math.ceil(pieces / 40) === 0) memories.push({ hour: now / RATE / 3600, ...(await memory()) });
}

// A new stream that hears the last minute alone.
const fresh = new Live(await open(), 0);
const parts = { signal: 0, difference: 0, most: 0 };
last.forEach(({ heard, played, delay }, q) => {
  fresh.quantum((i) => heard[i]);
  if (q < last.length / 2 || delay !== fresh.ring.get(H.DELAY)) return;
  for (let i = 0; i < QUANTUM; i++) {
    const by = fresh.out[i] - played[i];
    parts.signal += played[i] ** 2;
    parts.difference += by ** 2;
    parts.most = Math.max(parts.most, Math.abs(by));
  }
});
fresh.end();
const { ring } = live;
const done = ring.get(H.HOPS);
const [early, end] = [memories[Math.ceil(memories.length / 10)], memories.at(-1)];
const facts = {
  model,
  thread,
  hours: now / RATE / 3600,
  wall_s: (performance.now() - begin) / 1000,
  ...found,
  lost: ring.get(H.OVERRUN_SAMPLES) + HOP * ring.get(H.DROPPED_HOPS),
  late: ring.get(H.UNDERRUN_SAMPLES),
  underruns: ring.get(H.UNDERRUNS),
  hurried_hops: ring.get(H.HURRIED_HOPS),
  hops: done,
  hops_missing: Math.floor(now / HOP) - done, // what has just been heard may wait, no more
  delay_ms: { end: ring.get(H.DELAY) / 48, most: Math.max(...delays) / 48 },
  running: ring.get(H.STATE) === STATE.RUNNING,
  state: {
    relative_db: 10 * Math.log10(parts.difference / parts.signal || 1e-30),
    most: parts.most,
  },
  memory_mb: Object.fromEntries(
    ["rss", "heapUsed", "arrayBuffers"].map((key) => [key, { early: early[key] / 1e6, end: end[key] / 1e6 }]),
  ),
};
live.end();
console.log(JSON.stringify(facts));
process.exit(); // the streams' own channel would keep it

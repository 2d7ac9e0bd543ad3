// A model's stream by an instance of its own and by Python in Pyodide: the same bits, and either goes on where the other stopped.
//   node instance.mjs SITE MODEL [WEIGHTS IMAGE]      of a model that the site has not, its files; prints JSON
import { readFileSync } from "node:fs";
import { open as openEngine } from "./engine_in_node.mjs";

const [site, model, ...files] = process.argv.slice(2);
const { load, models, python } = await openEngine(site);
const { Succession } = await load("succession.js");
if (files.length) {
  const [weights, image] = files.map((path) => Uint8Array.from(readFileSync(path)));
  python.add(model, { sha256: "", weights, image });
}
await python.ensure(model);
const { kernel, open } = await models.instances(model);

const HOP = 480;
const HOPS = 240;
let seed = 1;
const noise = () => ((seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5) * 0.1;
const sound = Float32Array.from(
  { length: HOPS * HOP },
  (_, n) => noise() + (Math.sin(n / 7000) > -0.4 ? 0.1 * Math.sin(0.03 * n + Math.sin(n / 9000)) : 0),
);

// Hops `from` to `to` through an engine, `k` at a time.
function run(engine, from, to, k) {
  const out = [];
  for (let hop = from; hop < to; hop += k) {
    const count = Math.min(k, to - hop);
    engine.block("input").set(sound.subarray(hop * HOP, (hop + count) * HOP));
    engine.run(count, false);
    out.push(...engine.block("output").subarray(0, count * HOP));
  }
  return out;
}

const same = (a, b) => a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
const alone = await open();
const expected = run(alone, 0, HOPS, 1);
const facts = [...alone.block("facts")];
const through = python.liveEngine(model, 16, kernel);
const past = python.liveEngine(model, 16, kernel);
through.entry = null; // every hop through the interpreter
const interpreted = run(through, 0, HOPS, 2);
const direct = run(past, 0, HOPS, 3);

// Now and then hops wait, or many do: the same bits and counts on all ways. Python's memory grows meanwhile.
const hasLean = alone.header.lean !== null;
const leanHops = [];
function runLate(engine, grow = () => {}) {
  const out = [];
  leanHops.push(0);
  for (let hop = 0; hop < HOPS; hop++) {
    engine.block("input").set(sound.subarray(hop * HOP, (hop + 1) * HOP));
    leanHops[leanHops.length - 1] += engine.run(1, hasLean && hop % 31 < 5, hop % 7 < 3 ? hop % 7 : 0);
    out.push(...engine.block("output").subarray(0, HOP));
    if (hop === 100) grow();
  }
  return out;
}
const byPython = python.liveEngine(model, 16, kernel);
byPython.entry = null;
const { _module } = python.pyodide;
const heap = _module.HEAPU8.buffer;
const late_ways = [
  runLate(await open()),
  runLate(python.liveEngine(model, 16, kernel), () => _module.growMemory(heap.byteLength + 2 ** 20)),
  runLate(byPython),
];
const late_bits = late_ways.every((way) => same(way, late_ways[0])) && _module.HEAPU8.buffer !== heap;

// From the instance to Python, and back.
const first = await open();
const begun = run(first, 0, 50, 1);
const next = python.liveEngine(model, 16, kernel);
next.takeOver(first.state);
const middle = run(next, 50, 80, 1);
const last = await open();
for (const [name, part] of Object.entries(next.state())) last.state[name].set(part);
const handed = [...begun, ...middle, ...run(last, 80, HOPS, 1)];

const limited = await open();
limited.setStrength(600);
const limitedPython = python.liveEngine(model, 16, kernel);
limitedPython.setStrength(600);
const strength = [run(limited, 0, 20, 1), run(limitedPython, 0, 20, 1)];
const odd = await open();
odd.block("input").set(sound.subarray(0, HOP));
odd.block("input")[7] = NaN;
odd.block("input")[8] = -1e30;
odd.run(1, false);
let refused = "";
try {
  odd.run(65, false);
} catch (error) {
  refused = error.message;
}

// Another model in the middle of a stream. An instance that has followed at once is where Python's switch is, bit by bit.
const other = model === "tiny" ? "default" : "low-delay";
const another = await models.instances(other);
await python.ensure(other);
const AT = 100;
const old = await open();
run(old, 0, AT, 2);
const python_changed = python.liveEngine(model, 16, kernel);
run(python_changed, 0, AT, 2);
python_changed.change(other);
const followed = await another.open();
const arrived = followed.follow(old, 64);
const parts = python_changed.state();
const followed_bits = arrived && Object.entries(followed.state).every(([name, part]) => same(part, parts[name]));

// In a stream it takes some blocks, while the old one is heard; then the sound is that of the new one.
const stream = new Succession(await open());
stream.setStrength(2000);
const heard = run(stream, 0, AT, 1);
const before = stream.block("input");
stream.change(await another.open());
let changed_at = 0;
for (let hop = AT; hop < HOPS; hop++) {
  heard.push(...run(stream, hop, hop + 1, 1));
  if (!changed_at && stream.block("input") !== before) changed_at = hop;
}
const alike = (engine) => {
  engine.setStrength(2000);
  return run(engine, 0, HOPS, 1);
};
const [of_old, of_new] = [alike(await open()), alike(await another.open())];
const step = (sound, from, to) => {
  let most = 0;
  for (let n = from * HOP + 1; n < to * HOP; n++) most = Math.max(most, Math.abs(sound[n] - sound[n - 1]));
  return most;
};
const rms = (sound) => Math.sqrt(sound.reduce((sum, value) => sum + value * value, 0) / sound.length);
const apart = (sound, from, to) =>
  rms(sound.slice(from * HOP, to * HOP).map((value, n) => value - of_new[from * HOP + n])) / rms(of_new);
const of_cold = await another.open();
of_cold.setStrength(2000);
const cold = [...heard.slice(0, changed_at * HOP), ...run(of_cold, changed_at, HOPS, 1)];

// Before any sound it is as if begun with it; and of two changes the last one counts.
const unheard = new Succession(await open());
unheard.change(await another.open());
const hasty = new Succession(await open());
run(hasty, 0, AT, 1);
hasty.change(await open());
run(hasty, AT, AT + 3, 1);
hasty.change(await another.open());
run(hasty, AT + 3, HOPS, 1);

// Python's goes over within the first hop, and so past the interpreter.
const over = run(python_changed, AT, HOPS, 1);
const on = run(followed, AT, HOPS, 1);
const of_python = [same(over.slice(HOP), on.slice(HOP)), same(over.slice(0, HOP), on.slice(0, HOP))];
console.log(
  JSON.stringify({
    change: {
      followed_bits,
      after: changed_at - AT,
      latencies: [stream.latency, another.latency],
      steps: [step(heard, AT - 1, HOPS), step(of_old, AT - 1, HOPS), step(of_new, AT - 1, HOPS)],
      old_until: same(heard.slice(0, AT * HOP), of_old.slice(0, AT * HOP)),
      apart: [heard, cold].map((sound) => apart(sound, changed_at + 4, changed_at + 34)),
      late: apart(heard, HOPS - 40, HOPS),
      unheard: same(run(unheard, 0, 20, 1), run(await another.open(), 0, 20, 1)),
      hasty: [hasty.latency, hasty.block("facts").length],
      of_python,
    },
    kernel,
    lean: { has: hasLean, hops: leanHops, bits: late_bits, trial: alone.trial() },
    bits: same(expected, direct) && same(expected, interpreted),
    handed_over: same(expected, handed),
    strength: same(...strength),
    facts: facts.slice(0, 3),
    gains: facts.length - 3,
    rms: Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0) / expected.length),
    finite: odd.block("output").every(Number.isFinite),
    refused,
  }),
);
process.exit(); // the channel of letMessagesIn is open for good

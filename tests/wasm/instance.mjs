// A model's stream by an instance of its own and by Python in Pyodide: the same bits, and either goes on where the other stopped.
//   node instance.mjs SITE MODEL      prints JSON
import { openSite } from "./site.mjs";

const [site, model] = process.argv.slice(2);
const { engine, load, models } = await openSite(site);
const { Python } = await load("python.js");
const { loadPyodide } = await load("pyodide/pyodide.mjs");
const pyodide = await loadPyodide({ indexURL: `${engine}/pyodide/`, packageBaseUrl: `${engine}/pyodide/` });
await pyodide.loadPackage("pyenhance", { messageCallback: () => {} });
const python = new Python(pyodide, models);
await python.ensure(model);
const { kernel, open } = await models.instances(model);

const HOP = 480;
const HOPS = 120;
let seed = 1;
const noise = () => ((seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5) * 0.1;
const sound = Float32Array.from(
  { length: HOPS * HOP },
  (_, n) => noise() + (Math.sin(n / 7000) > -0.4 ? 0.1 * Math.sin(0.03 * n + Math.sin(n / 9000)) : 0),
);

// Hops `from` to `to` through an engine, `k` at a time.
function run(engine, from, to, k, lean = false) {
  const out = [];
  for (let hop = from; hop < to; hop += k) {
    const count = Math.min(k, to - hop);
    engine.block("input").set(sound.subarray(hop * HOP, (hop + count) * HOP));
    engine.run(count, lean);
    out.push(...engine.block("output").subarray(0, count * HOP));
  }
  return out;
}

const same = (a, b) => a.length === b.length && a.every((value, i) => Object.is(value, b[i]));
const alone = open();
const expected = run(alone, 0, HOPS, 1);
const facts = [...alone.block("facts")];
const through = python.liveEngine(model, 16, kernel);
const past = python.liveEngine(model, 16, kernel);
through.entry = null; // every hop through the interpreter
const interpreted = run(through, 0, HOPS, 2);
const direct = run(past, 0, HOPS, 3);

// From the instance to Python, and back.
const first = open();
const begun = run(first, 0, 50, 1);
const next = python.liveEngine(model, 16, kernel);
next.takeOver(first.state);
const middle = run(next, 50, 80, 1);
const last = open();
for (const [name, part] of Object.entries(next.state())) last.state[name].set(part);
const handed = [...begun, ...middle, ...run(last, 80, HOPS, 1)];

const limited = open();
limited.setStrength(600);
const limitedPython = python.liveEngine(model, 16, kernel);
limitedPython.setStrength(600);
const strength = [run(limited, 0, 20, 1), run(limitedPython, 0, 20, 1)];
const odd = open();
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
console.log(
  JSON.stringify({
    kernel,
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

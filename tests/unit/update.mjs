// How an engine brings its model forward: which diffs it loads, what it keeps, what it refuses; and back.
import assert from "node:assert/strict";
import { caches } from "./cache_storage.mjs";
import { createHash } from "node:crypto";
import { TO_LIVE, TO_WORKER, received } from "../../site/engine/protocol.js";

const sum = (bytes) => createHash("sha256").update(bytes).digest("hex");
const versions = [1, 2, 3].map((n) => Uint8Array.of(n, n, n));
const [A, B, C] = versions.map(sum);
const code = "c0de";
const manifest = {
  models: { default: { latency_samples: 1440, num_bands: 34 } },
  libraries: { simd: "simd.wasm" },
  files: { "simd.wasm": { sha256: code } },
};

// The network: what lies there, and what was asked for.
const files = {};
let asked = [];
globalThis.fetch = async (url) => {
  const name = url.pathname.split("/engine/")[1];
  asked.push(name);
  if (!(name in files)) return { ok: false, url: name, status: 404, statusText: "gone" };
  return { ok: true, json: async () => files[name], arrayBuffer: async () => files[name].slice().buffer };
};
const kept = await import("../../site/engine/kept.js");
const base = new URL("../../site/engine/", import.meta.url);

// Two workers that know versions by their bytes: a diff of one byte n leads to the nth version.
const refused = [];
class Fake {
  constructor({ pathname }) {
    this.live = pathname.endsWith("live.js");
  }
  postMessage(message) {
    const { type, id, model, diffs, weights, files } = received(this.live ? TO_LIVE : TO_WORKER, message);
    const tell = (data) => queueMicrotask(() => this.onmessage?.({ data }));
    const facts = { model: "default", sha256: A, kernel: "simd", signal_kernel: "simd", why_not: {} };
    const size = { latency_samples: 1440, num_bands: 34 };
    if (type === "load" && this.live) tell({ type: "live", load_ms: 1, ...facts, ...size });
    if (type === "load" && !this.live)
      tell({ type: "ready", load_ms: 2, weights: 3, numpy_origin: "x", started_again: false, ...facts, ...size });
    if (type === "model" && refused.length) tell({ type: "error", during: type, id, message: refused[0] });
    else if (type === "model") tell({ type, id, ...facts, ...size, model, sha256: files.sha256 });
    if (type === "image") tell({ type, id, model: "weights", sha256: sum(weights), image: Uint8Array.of(9) });
    if (type === "update" && diffs.some(([n]) => n > 3))
      tell({ type: "error", during: type, id, message: "changed or cut" });
    else if (type === "update") {
      const made = versions[diffs.at(-1)[0] - 1];
      tell({ type, id, sha256: sum(made), weights: made, image: Uint8Array.of(8) });
    }
  }
  terminate() {}
}
globalThis.Worker = Fake;
Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true });
const { Engine } = await import("../../site/engine/engine.js");

const entry = (sha256, ...diffs) => ({ sha256, bytes: 3, weights: "whole", verdict: "", diffs });
const diff = (file, from, to) => ({ file, from, to, bytes: 1 });
Object.assign(files, { "manifest.json": manifest, ab: Uint8Array.of(2), bc: Uint8Array.of(3), bad: Uint8Array.of(7) });
files.whole = versions[2];
const offer = (listed) => (files["models/models.json"] = { default: listed });
const read = () => kept.read("default", code, base);

// An engine whose device holds version A, and what its own update came to.
async function started(options) {
  await kept.write(
    "default",
    { sha256: A, weights: versions[0], image: Uint8Array.of(7), before: null, declined: null, code },
    base,
  );
  return again(options);
}

async function again(options) {
  asked = [];
  const engine = new Engine(options);
  const own = new Promise((resolve) =>
    engine.addEventListener("update", ({ update, error }) => resolve(update ?? error)),
  );
  await engine.ready;
  return { engine, own };
}

// By itself, along the chain; kept whole, with the version before it.
{
  offer(entry(C, diff("bc", B, C), diff("ab", A, B)));
  const { engine, own } = await started();
  assert.deepEqual(await own, { from: A, to: C, bytes: 2, verified: true });
  assert.deepEqual(asked, ["manifest.json", "models/models.json", "ab", "bc"]);
  assert.equal(engine.liveFacts.sha256, C);
  const held = await read();
  assert.deepEqual([held.sha256, held.weights, held.image, held.before.sha256], [C, versions[2], Uint8Array.of(8), A]);
  assert.deepEqual(held.before.weights, versions[0]);
  assert.deepEqual(await engine.update(), { from: C, to: C, bytes: 0, verified: true });

  // Back; there is no further back; and not forward again unless asked.
  assert.deepEqual(await engine.undo(), { from: C, to: A, bytes: 0, verified: true });
  assert.deepEqual([engine.liveFacts.sha256, (await read()).sha256, (await read()).declined], [A, A, C]);
  await assert.rejects(engine.undo(), /model default: there is no update to undo/);
  engine.dispose();
  const { engine: next } = await again();
  assert.deepEqual(await next.models(), files["models/models.json"]);
  assert.deepEqual(asked, ["manifest.json", "models/models.json", "models/models.json"]);
  assert.deepEqual([(await read()).sha256, (await next.update()).to, (await read()).sha256], [A, C, C]);
  next.dispose();
}

// Nothing leads there from what is kept: all of it is loaded.
{
  offer(entry(C, diff("bc", B, C)));
  const { engine, own } = await started();
  assert.deepEqual(await own, { from: A, to: C, bytes: 3, verified: true });
  assert.ok(asked.includes("whole"));
  engine.dispose();
}

// What is refused leaves everything as it was.
const ring = [diff("ab", A, B), diff("ab", B, A)];
for (const [listed, told] of [
  [
    entry(C, diff("ab", A, B)),
    new RegExp(`no diff leads on from ${B.slice(0, 8)}, but ${C.slice(0, 8)} is the newest`),
  ],
  [entry(C, ...ring), /no diff leads on from/],
  [entry(C, diff("none", A, C)), /none: 404 gone/],
  [entry(C, { ...diff("ab", A, C), bytes: 2 }), /ab has 1 bytes; accepted: 2/],
  [entry(C, diff("bad", A, C)), /changed or cut/],
  [entry(C, diff("ab", A, C)), new RegExp(`the sum is ${B}; accepted: ${C}`)],
]) {
  offer(listed);
  const { engine, own } = await started();
  assert.match((await own).message, told);
  await assert.rejects(engine.update(), told);
  assert.deepEqual([engine.liveFacts.sha256, (await read()).sha256], [A, A]);
  engine.dispose();
}
{
  offer(entry(B, diff("ab", A, B)));
  refused.push("does not run here");
  const { engine, own } = await started();
  assert.match((await own).message, /does not run here/);
  assert.equal((await read()).sha256, A);
  refused.pop();
  files["models/models.json"] = { tiny: entry(A) };
  await assert.rejects(engine.update(), /model default; accepted: tiny/);
  engine.dispose();
}

// What may not be remembered is not kept, and no update is made by itself.
{
  offer(entry(B, diff("ab", A, B)));
  const { engine } = await started({ remember: false });
  await engine.setModel("default").catch(() => {});
  assert.deepEqual(asked, ["manifest.json"]);
  engine.dispose();
}

// What was kept and has changed since, or was made for other compiled code, is of no use.
{
  const cache = caches.get(`models-of-pyenhance ${base.pathname}`);
  const whole = cache.get("/default");
  assert.equal(await kept.read("default", "other", base), null);
  assert.equal(await kept.read("tiny", code, base), null);
  const bytes = new Uint8Array(await whole.clone().arrayBuffer());
  bytes[1] ^= 1;
  for (const spoilt of [bytes, bytes.slice(0, -1)]) {
    cache.set("/default", new Response(spoilt, { headers: whole.headers }));
    assert.equal(await read(), null);
    assert.equal(cache.has("/default"), false);
  }
}
console.log("ok");

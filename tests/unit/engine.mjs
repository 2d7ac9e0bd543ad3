// The page's end of the protocol: every message finds whom it is for, and one that nobody knows is an error that says so.
import assert from "node:assert/strict";
import { TO_LIVE, TO_WORKER, received } from "../../site/engine/protocol.js";

const manifest = { models: { default: { latency_samples: 1440, num_bands: 34 } }, files: {} };
globalThis.fetch = async () => ({ ok: true, json: async () => manifest });
globalThis.Worker = class {
  sent = [];
  constructor({ pathname }) {
    this.way = pathname.endsWith("live.js") ? TO_LIVE : TO_WORKER;
  }
  postMessage(message) {
    this.sent.push(received(this.way, message));
  }
  terminate() {
    this.terminated = true;
  }
};
const made = [];
const Original = Worker;
globalThis.Worker = function (...given) {
  made.push(new Original(...given));
  return made.at(-1);
};
const { Engine } = await import("../../site/engine/engine.js");
const turn = () => new Promise((resolve) => setTimeout(resolve));
const facts = {
  ...{
    load_ms: 5,
    model: "default",
    sha256: "0a",
    kernel: "simd",
    signal_kernel: "simd",
    why_not: {},
    weights: 9,
    latency_samples: 480,
    num_bands: 24,
  },
  ...{ numpy_origin: "source", started_again: false },
};

// own: the worker of live sound; python(): the other one, once there is one. `tell`: the newest of them says so.
function started(options) {
  const first = made.length;
  const engine = new Engine(options);
  const errors = [];
  engine.addEventListener("error", ({ error }) => errors.push(error.message));
  const tell = (data) => made.at(-1).onmessage({ data });
  return { engine, errors, own: made[first], python: () => made[first + 1], tell };
}

{
  const seen = [];
  const { engine, errors, own, python, tell } = started({ onProgress: (progress) => seen.push(progress) });
  assert.equal(await engine.latency(), 1440, "as the manifest declares it");
  assert.equal(python(), undefined, "first what is heard");
  tell({ type: "progress", stage: "download", done: 1, total: 2 });
  assert.deepEqual(seen, [{ stage: "download", done: 1, total: 2 }]);

  tell({ type: "dance" });
  tell({ type: "progress", stage: "lunch", done: 1, total: 2 });
  assert.match(errors[0], /^message "dance" from the worker is unknown; accepted: progress, live, ready, /);
  assert.match(errors[1], /stage is "lunch"; accepted: one of download, python, numpy, model$/);

  const live = {
    load_ms: 2,
    model: "default",
    sha256: "0a",
    kernel: "simd",
    signal_kernel: "simd",
    why_not: {},
    latency_samples: 480,
    num_bands: 24,
  };
  tell({ type: "live", ...live });
  assert.deepEqual(await engine.live, live);
  assert.equal(await engine.latency(), 480, "as it is");
  await turn();
  const worker = python();
  assert.deepEqual(worker.sent, [{ type: "load", manifest, model: "default", remember: true, kernel: null }]);
  tell({ type: "ready", ...facts });
  assert.deepEqual(await engine.ready, facts);

  // Questions and answers; a malformed answer is an error of that question.
  const asked = [engine.lab.source("mix"), engine.bench({ seconds: 1 }), engine.picture(new Float32Array(3), 2)];
  await turn();
  const [source, bench, picture] = worker.sent.slice(1).map(({ id }) => id);
  tell({ type: "lab-source", id: source, source: "def mix" });
  assert.equal(await asked[0], "def mix");
  tell({ type: "error", during: "bench", id: bench, message: "too slow" });
  await assert.rejects(asked[1], /too slow/);
  tell({ type: "picture", id: picture, data: [1], shape: [1, 1] });
  await assert.rejects(asked[2], /"picture" from the worker: data is Array; accepted: a Uint8Array/);
  await assert.rejects(engine.bench({ k: 1.5 }), /k is 1.5; accepted: a whole number/);
  assert.equal(errors.length, 2);

  // Of a stream.
  const heard = [];
  const changed = [];
  engine.streams.set(77, { receive: (message) => heard.push(message), change: (model) => changed.push(model) });
  tell({ type: "overload", stream: 77 });
  tell({ type: "error", during: "live", stream: 77, message: "broken" });
  tell({ type: "recovered", stream: 78 }); // it has ended
  assert.deepEqual(heard, [{ type: "overload" }, { type: "error", error: heard[1].error }]);
  assert.equal(heard[1].error.message, "broken");

  // Another model: first it must be there, then every stream is told; one change after the other.
  const { load_ms: _, ...tiny } = { ...live, model: "tiny", latency_samples: 1440 };
  const changes = [engine.setModel("tiny"), engine.setModel("no-such")];
  await turn();
  const [question, ...no] = own.sent.slice(1);
  assert.deepEqual([question.type, question.model, no.length, engine.model], ["model", "tiny", 0, "default"]);
  own.onmessage({ data: { type: "model", id: question.id, ...tiny } });
  assert.deepEqual([await changes[0], engine.model], [{ ...tiny, load_ms: 2 }, "tiny"]);
  assert.equal(await engine.latency(), 1440);
  assert.deepEqual(changed, ["tiny"]);
  await turn();
  own.onmessage({ data: { type: "error", during: "model", id: own.sent[2].id, message: "no such model" } });
  await assert.rejects(changes[1], /no such model/);
  assert.deepEqual([engine.model, engine.liveFacts.model, own.sent.length], ["tiny", "tiny", 3]);
  await assert.rejects(engine.setModel(5), /model is 5; accepted: a name, or the bytes/);

  // By the bytes of a file: Python reads it and makes the image; both workers are given it.
  const asks = worker.sent.length;
  const mine = engine.setModel(Uint8Array.of(1, 2));
  await turn();
  const image = worker.sent[asks];
  assert.deepEqual(image, { type: "image", id: image.id, weights: Uint8Array.of(1, 2) });
  const files = { sha256: "1b", weights: Uint8Array.of(1, 2), image: Uint8Array.of(3) };
  tell({ type: "image", id: image.id, model: "weights-1", sha256: files.sha256, image: files.image });
  await turn();
  assert.deepEqual([worker.sent[asks + 1].type, worker.sent[asks + 1].model], ["model", "weights-1"]);
  tell({ type: "model", id: worker.sent[asks + 1].id, ...tiny, model: "weights-1" });
  await turn();
  const given = own.sent[3];
  assert.deepEqual([given.model, given.files], ["weights-1", files]);
  own.onmessage({ data: { type: "model", id: given.id, ...tiny, model: "weights-1" } });
  assert.equal((await mine).model, "weights-1");

  const late = engine.bench();
  await turn();
  engine.dispose();
  await assert.rejects(engine.setModel("tiny"), /disposed/);
  await assert.rejects(late, /disposed/);
  assert.ok(worker.terminated);
}

// A worker of live sound that dies fails what it was asked; live sound waits for Python.
{
  const { engine, own, tell } = started();
  await turn();
  const { weights: _, numpy_origin: __, started_again: ___, ...live } = facts;
  own.onmessage({ data: { type: "live", ...live } });
  const carried = engine.carry("default");
  const tried = engine.setModel("tiny");
  await turn();
  assert.deepEqual(
    own.sent.slice(1).map(({ type }) => type),
    ["carry", "model"],
  );
  own.onerror({ message: "out of memory" });
  await assert.rejects(tried, /out of memory/);
  assert.ok(own.terminated && engine.byPython);
  tell({ type: "ready", ...facts });
  assert.equal(await carried, null, "Python is asked, once it is there");
  engine.dispose();
}

// Where live sound cannot start, Python is loaded all the same, once.
{
  const { engine, own, python } = started();
  await turn();
  assert.equal(python(), undefined);
  own.onerror({ message: "no such file" });
  await turn();
  assert.deepEqual(
    python().sent.map(({ type }) => type),
    ["load"],
  );
  engine.dispose();
}

// Where a node is to begin, Python, whose start takes the machine, waits until it has; but not for long.
for (const begins of [true, false]) {
  const { engine, own, python } = started();
  let begun;
  engine.beginning = new Promise((resolve, reject) => (begun = begins ? resolve : reject));
  await turn();
  const { weights: _, numpy_origin: __, started_again: ___, ...live } = facts;
  own.onmessage({ data: { type: "live", ...live } });
  await engine.live;
  await turn();
  assert.equal(python(), undefined);
  begun(new Error("it does not"));
  await turn();
  assert.equal(python().sent[0].type, "load");
  engine.dispose();
}
{
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (done, ms = 0) => setTimeout(done, ms / 100);
  const { engine, own, python } = started();
  engine.beginning = new Promise(() => {}); // its context is suspended
  await turn();
  const { weights: _, numpy_origin: __, started_again: ___, ...live } = facts;
  own.onmessage({ data: { type: "live", ...live } });
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(python().sent[0].type, "load");
  engine.dispose();
  globalThis.setTimeout = setTimeout;
}

// A load that fails ends the engine.
{
  const { engine, errors, own, python, tell } = started();
  await turn();
  own.onerror({ message: "no such worker" });
  await turn();
  tell({ type: "error", during: "load", message: "no such file" });
  await assert.rejects(engine.ready, /no such file/);
  assert.deepEqual([errors, python().terminated, python().onmessage], [["no such file"], true, null]);
}
{
  globalThis.fetch = async () => ({ ok: false, url: "manifest.json", status: 404, statusText: "gone" });
  const { engine, errors } = started({ model: "mine" });
  await assert.rejects(engine.ready, /manifest.json: 404 gone/);
  assert.equal(await engine.latency(), 0, "nobody knows");
  assert.equal(errors.length, 1);
}
console.log("ok");

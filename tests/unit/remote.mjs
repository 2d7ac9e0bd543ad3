// An engine in another page: the worker serves each page through its port, a node plays by it as by its own, and it may go at any time.
import assert from "node:assert/strict";
import { TO_LIVE, TO_PAGE, TO_PROCESSOR, received } from "../../site/engine/protocol.js";

const manifest = { models: { default: { latency_samples: 1440, num_bands: 34 } }, files: {} };
globalThis.fetch = async () => ({ ok: true, json: async () => manifest });
globalThis.AudioContext = class extends EventTarget {
  sampleRate = 48000;
  state = "running";
  audioWorklet = { addModule: async () => {} };
};
globalThis.navigator ??= { userAgent: "" };
globalThis.AudioWorkletNode = class extends EventTarget {
  constructor(context, _, options) {
    super();
    this.context = context;
    this.given = options.processorOptions;
    this.told = [];
    this.port = { postMessage: (message) => this.told.push(received(TO_PROCESSOR, message)) };
  }
  disconnect() {}
};
globalThis.crossOriginIsolated = true; // and yet no memory is shared
const { createDenoiser } = await import("../../site/engine/node.js");
const { RemoteEngine } = await import("../../site/engine/remote.js");

const facts = (model) => ({ model, sha256: "0a", kernel: "simd", signal_kernel: "simd", why_not: {} });
const live = (model) => ({ ...facts(model), latency_samples: 1440, num_bands: 34 });
const trial = { us_min: 100, us_mean: 104, us_p50: 101, us_p99: 102, us_max: 103 };
const code = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
const ANSWERS = {
  load: ({ model }) => ({ type: "live", load_ms: 5, ...live(model) }),
  model: ({ id, model }) =>
    model === "none" ? { type: "error", during: "model", id, message: "no such model" } : { id, ...live(model) },
  "carry-code": ({ id }) => ({ id, code, header: {}, memory: new ArrayBuffer(8), ...trial }),
  trial: ({ id }) => ({ id, ...trial }),
};

/** An engine, and what its worker was told. */
function open() {
  const { port1, port2 } = new MessageChannel();
  const heard = [];
  port2.onmessage = ({ data }) => {
    heard.push(received(TO_LIVE, data));
    const answer = ANSWERS[data.type]?.(data);
    if (answer) port2.postMessage(received(TO_PAGE, { type: data.type, ...answer }));
  };
  return { engine: new RemoteEngine(port1), worker: port2, heard, types: () => heard.map(({ type }) => type) };
}
const PATIENCE_MS = 20000;

/** Messages take as long as the machine needs. @param {() => unknown} condition */
async function until(condition) {
  for (const end = Date.now() + PATIENCE_MS; !condition() && Date.now() < end;)
    await new Promise((resolve) => setTimeout(resolve, 5));
}

// Where compiled code may run it comes as code, for no module passes between origins.
{
  const { engine, types, heard } = open();
  const node = await createDenoiser(new AudioContext(), { engine, strengthDb: 6 });
  assert.deepEqual([node.given.buffer, node.stats().shared_memory, node.ring.latency], [undefined, false, 1440]);
  await until(() => heard.length >= 4);
  assert.deepEqual(types(), ["load", "carry-code", "control", "control"]);
  assert.equal(heard[0].remember, false);
  const { library } = node.told.find(({ type }) => type === "enhance");
  assert.ok(library instanceof WebAssembly.Module);
  await assert.rejects(engine.setModel("none"), /no such model/);
  assert.equal(engine.model, "default");
  await Promise.all([engine.setModel("tiny"), engine.setModel("low-delay")]);
  assert.deepEqual([engine.model, node.stats().model], ["low-delay", "low-delay"]);
  node.dispose();
  engine.dispose();
}

// Where the page's policy keeps it away, the worker gets the sound.
{
  const { compile } = WebAssembly;
  WebAssembly.compile = async () => {
    throw new WebAssembly.CompileError("refused by the policy");
  };
  const { engine, heard, worker } = open();
  const node = await createDenoiser(new AudioContext(), { engine });
  await node.ready;
  assert.equal(node.stats().thread, "worker");
  await until(() => heard.some(({ type }) => type === "attach-by-messages"));
  const { stream } = heard.find(({ type }) => type === "attach-by-messages");
  const overloaded = new Promise((resolve) => node.addEventListener("overload", resolve));
  worker.postMessage({ type: "overload", stream });
  await overloaded;
  const failed = new Promise((resolve) => node.addEventListener("error", ({ error }) => resolve(error.message)));
  worker.postMessage({ type: "error", during: "live", stream, message: "torn" });
  assert.equal(await failed, "torn");
  node.dispose();
  await until(() => heard.at(-1).type === "detach");
  assert.equal(heard.at(-1).type, "detach");
  engine.dispose();
  WebAssembly.compile = compile;
}

// It goes: what waits for it fails, and says so.
{
  const { engine, worker } = open();
  await engine.live;
  const asked = new Promise((resolve) => (worker.onmessage = resolve)); // and not answered
  const waits = assert.rejects(engine.setModel("tiny"), /the engine has gone/);
  await asked;
  worker.close();
  await waits;
  assert.equal(engine.disposed, true);

  const early = open();
  early.worker.close();
  const node = await createDenoiser(new AudioContext(), { engine: early.engine });
  await assert.rejects(node.ready, /the engine has gone/);
  node.dispose();
}

// The worker's side: pages that come through ports have streams of their own, which end when their page does.
{
  const sent = [];
  globalThis.self = { postMessage: (message) => sent.push(message) };
  await import("../../site/engine/live.js");
  const { port1, port2 } = new MessageChannel();
  const answers = [];
  port1.onmessage = ({ data }) => answers.push(received(TO_PAGE, data));
  await self.onmessage({ data: { type: "page", port: port2 } });
  port1.postMessage({ type: "model", id: 4, model: "default" });
  await until(() => answers.length);
  assert.deepEqual([answers.length, answers[0].during, answers[0].id], [1, "model", 4]);
  assert.match(answers[0].message, /no models yet/);
  assert.deepEqual(sent, []);
  port1.close();

  const { Streams } = await import("../../site/engine/streams.js");
  const streams = new Streams(() => {});
  let ended = 0;
  const enhancing = () => ({ latency: 1440, bands: 34, destroy: () => ended++ });
  for (const number of [1, 2]) await streams.attach(number, enhancing, { port: new MessageChannel().port1 });
  streams.end();
  await until(() => ended === 2);
  assert.equal(ended, 2);
}
console.log("ok");

// The node: it says once, to whoever listens and whenever, that it is ready or never will be; and what fails leaves nothing behind.
import assert from "node:assert/strict";
import { TO_LIVE, TO_PROCESSOR, TO_WORKER, received } from "../../site/engine/protocol.js";

const manifest = { models: { default: { latency_samples: 1440, num_bands: 34 } }, files: {} };
globalThis.fetch = async () => ({ ok: true, json: async () => manifest });
const library = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
let takes = 100; // microseconds a hop
let answers = () => ({ type: "begun" }); // of a processor that is to enhance
const workers = [];
globalThis.Worker = class {
  constructor({ pathname }) {
    workers.push(this);
    this.sent = [];
    this.way = pathname.endsWith("live.js") ? TO_LIVE : TO_WORKER;
  }
  postMessage(message) {
    this.sent.push(received(this.way, message));
    if (message.type !== "carry") return;
    const trial = { us_min: takes, us_mean: takes + 4, us_p50: takes + 1, us_p99: takes + 2, us_max: takes + 3 };
    const carried = { library, header: { of: message.model }, memory: new ArrayBuffer(8) };
    queueMicrotask(() => this.onmessage({ data: { type: "carry", id: message.id, ...carried, ...trial } }));
  }
  terminate() {
    this.terminated = true;
  }
};
globalThis.AudioContext = class extends EventTarget {
  sampleRate = 48000;
  state = "running";
  audioWorklet = { addModule: async () => {} };
  close() {
    this.state = "closed";
    this.dispatchEvent(new Event("statechange"));
  }
};
globalThis.navigator ??= { userAgent: "" };
let refuse = null;
globalThis.AudioWorkletNode = class extends EventTarget {
  constructor(context, _, options) {
    super();
    if (refuse) throw refuse;
    this.context = context;
    this.given = options.processorOptions;
    this.told = [];
    this.port = {
      postMessage: (message) => {
        this.told.push(received(TO_PROCESSOR, message));
        if (message.type === "enhance") queueMicrotask(() => this.port.onmessage?.({ data: answers() }));
      },
    };
  }
  disconnect() {}
};
const { Engine } = await import("../../site/engine/engine.js");
const { createDenoiser } = await import("../../site/engine/node.js");
const turn = () => new Promise((resolve) => setTimeout(resolve));
const live = {
  load_ms: 5,
  model: "default",
  sha256: "0a",
  kernel: "simd",
  signal_kernel: "simd",
  why_not: {},
  latency_samples: 1440,
  num_bands: 34,
};
const newest = (wanted) => workers.filter(({ way }) => way === wanted).at(-1);
const tell = (data) => newest(TO_WORKER).onmessage({ data }); // of the worker with Python
const tellLive = (data) => newest(TO_LIVE).onmessage({ data });
const running = () => workers.filter(({ terminated }) => !terminated).length;

// On an engine that is ready: early and late listeners hear it once, the promise says the same.
{
  const engine = new Engine();
  const context = new AudioContext();
  const early = await createDenoiser(context, { engine });
  const heard = [];
  const listener = (event) => heard.push([event.type, event.target === early]);
  early.addEventListener("ready", listener);
  await turn();
  assert.deepEqual(heard, []);
  tellLive({ type: "live", ...live });
  await early.ready;
  await turn();
  assert.deepEqual(heard, [["ready", true]]);
  early.addEventListener("ready", listener);
  await turn();
  assert.equal(heard.length, 1, "it has heard it");

  const node = await createDenoiser(context, { engine });
  await turn();
  const calls = [];
  node.addEventListener("ready", () => calls.push("one"), { once: true });
  node.addEventListener("ready", { handleEvent: ({ target }) => calls.push(target === node) });
  const fickle = () => calls.push("never");
  node.addEventListener("ready", fickle);
  node.removeEventListener("ready", fickle);
  node.addEventListener("ready", fickle, { signal: AbortSignal.abort() });
  assert.deepEqual(calls, [], "not while it is being added");
  await turn();
  assert.deepEqual(calls, ["one", true]);
  await node.ready;
  node.dispose();
  early.dispose();
  const heardOfEngine = [];
  engine.addEventListener("live", () => heardOfEngine.push("live"));
  await turn();
  assert.deepEqual(heardOfEngine, ["live"]);
  engine.dispose();
}

// On one that has failed: so with "error".
{
  const engine = new Engine();
  await turn();
  console.warn = () => {}; // of live sound that waits for Python
  tellLive({ type: "error", during: "load", message: "no image" });
  tell({ type: "error", during: "load", message: "no such file" });
  await assert.rejects(engine.live, /no such file/);
  const node = await createDenoiser(new AudioContext(), { engine });
  await turn();
  const heard = [];
  node.addEventListener("error", ({ error }) => heard.push(error.message));
  engine.addEventListener("error", ({ error }) => heard.push(error.message));
  await turn();
  assert.deepEqual(heard, ["no such file", "no such file"]);
  await assert.rejects(node.ready, /no such file/);
  node.dispose();
}

// Where sound is enhanced: on the audio thread, where a hop takes little and it runs there; else in the worker, a hop later.
{
  console.warn = () => {};
  const engine = new Engine();
  await turn();
  tellLive({ type: "live", ...live });
  const worker = newest(TO_LIVE);
  const nodes = [];
  const place = async (options = {}) => {
    worker.sent.length = 0;
    const node = await createDenoiser(new AudioContext(), { engine, ...options });
    nodes.push(node);
    await node.ready;
    const waits = node.told.filter(({ type }) => type === "wait").map(({ samples }) => samples);
    const found = { delay: node.given.delay, waits, thread: node.stats().thread };
    return { node, told: node.told, ...found, asked: worker.sent.map(({ type }) => type) };
  };
  const here = { delay: 480, waits: [], thread: "audio" };
  const there = { delay: 480, waits: [960], thread: "worker" };
  const as = ({ delay, waits, thread }) => ({ delay, waits, thread });

  const first = await place({ strengthDb: 6 });
  assert.deepEqual(as(first), here);
  assert.deepEqual(first.asked, ["carry", "control", "control"]); // and the processor, which has no shared memory here
  assert.deepEqual(
    first.told.map(({ type, value }) => value ?? type),
    [600, 0, "enhance"],
  );
  assert.equal(first.node.stats().latency_transport_ms, 10);
  assert.deepEqual([first.node.stats().us_mean, first.node.stats().us_max], [104, 103]);
  first.node.change("tiny");
  await turn();
  assert.deepEqual([first.told.at(-1).type, first.told.at(-1).header], ["enhance", { of: "tiny" }]);

  // It takes longer and longer: it goes over, once the processor has let go.
  takes = 2000;
  worker.sent.length = 0;
  first.node.change("default");
  await turn();
  assert.equal(first.told.at(-1).type, "wait");
  assert.ok(!worker.sent.some(({ type }) => type.startsWith("attach")));
  first.node.port.onmessage({ data: { type: "refused", message: "too slow" } });
  assert.ok(worker.sent.some(({ type }) => type === "attach-by-messages"));
  assert.equal(first.node.stats().thread, "worker");
  worker.sent.length = 0;
  first.node.change("tiny");
  assert.deepEqual(worker.sent, [{ type: "change", stream: first.node.number, model: "tiny" }]);

  assert.deepEqual(as(await place()), there);
  assert.deepEqual(as(await place({ thread: "audio" })), here);
  takes = 100;
  const wanted = await place({ thread: "worker" });
  assert.deepEqual(as(wanted), { ...there, delay: 960 });
  assert.deepEqual(wanted.asked, ["attach-by-messages", "control", "control"]);
  answers = () => ({ type: "refused", message: "no such SIMD" });
  assert.deepEqual(as(await place()), there);
  answers = () => ({ type: "begun" });
  await assert.rejects(place({ thread: "gpu" }), /thread is "gpu"; accepted: null, audio, worker/);
  for (const node of nodes) node.dispose();
  engine.dispose();
}

// Disposed before it was ready.
{
  const node = await createDenoiser(new AudioContext());
  node.dispose();
  await assert.rejects(node.ready, /disposed/);
  assert.equal(running(), 0);
}

// What fails leaves no worker: a context that is closed, closes meanwhile, has no processor, or takes no node.
{
  const closed = new AudioContext();
  closed.close();
  await assert.rejects(createDenoiser(closed), /the context is closed/);
  assert.equal(running(), 0);

  const closing = new AudioContext();
  closing.audioWorklet.addModule = () => new Promise(() => {}); // Chromium never answers
  const waits = createDenoiser(closing);
  closing.close();
  await assert.rejects(waits, /the context is closed/);
  assert.equal(running(), 0);

  const bare = new AudioContext();
  bare.audioWorklet.addModule = async () => {
    throw new Error("processor.js: 404");
  };
  await assert.rejects(createDenoiser(bare), /404/);
  await assert.rejects(createDenoiser(bare), /404/);
  assert.equal(running(), 0);

  refuse = new Error("no node");
  await assert.rejects(createDenoiser(new AudioContext()), /no node/);
  assert.equal(running(), 0);
  refuse = null;

  const context = new AudioContext();
  await createDenoiser(context);
  assert.equal(running(), 1);
  context.close(); // and so does a context that goes without a word to the node
  assert.equal(running(), 0);
}
console.log("ok");

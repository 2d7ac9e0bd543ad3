// A track in, a track out: the enhanced one is the microphone's in all but its sound; what ends, or fails, leaves nothing behind.
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";

globalThis.MediaStreamTrack = class extends EventTarget {
  #enabled = true;
  #state = "live";
  stops = 0;
  constructor(kind = "audio") {
    super();
    this.kind = kind;
  }
  get enabled() {
    return this.#enabled;
  }
  set enabled(value) {
    this.#enabled = value;
  }
  get readyState() {
    return this.#state;
  }
  get muted() {
    return false;
  }
  get label() {
    return "MediaStreamAudioDestinationNode";
  }
  getSettings() {
    return { deviceId: "destination" };
  }
  clone() {
    const clone = new MediaStreamTrack(this.kind);
    if (this.#state === "ended") clone.stop();
    return clone;
  }
  stop() {
    this.stops++;
    this.#state = "ended";
  }
};
class Microphone extends MediaStreamTrack {
  silent = false;
  get muted() {
    return this.silent;
  }
  get label() {
    return "Desk";
  }
  getSettings() {
    return { deviceId: "desk", echoCancellation: true, channelCount: 2, sampleRate: 44100, latency: 0.01 };
  }
  getConstraints() {
    return { deviceId: "desk" };
  }
  getCapabilities() {
    return { channelCount: { max: 2 } };
  }
  async applyConstraints(constraints) {
    this.applied = constraints;
  }
  tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
globalThis.MediaStream = class {
  constructor(tracks) {
    this.getAudioTracks = () => tracks;
  }
};

const manifest = { models: { default: { latency_samples: 1440, num_bands: 34 } }, files: {} };
globalThis.fetch = async () => ({ ok: true, json: async () => manifest });
const workers = [];
globalThis.Worker = class {
  constructor() {
    workers.push(this);
  }
  postMessage() {}
  terminate() {
    this.terminated = true;
  }
};
const contexts = [];
globalThis.AudioContext = class extends EventTarget {
  sampleRate = 48000;
  state = "running";
  currentTime = 7;
  audioWorklet = { addModule: async () => {} };
  constructor() {
    super();
    contexts.push(this);
  }
  async close() {
    assert.equal(this.state, "running", "closed twice");
    this.state = "closed";
    this.dispatchEvent(new Event("statechange"));
  }
};
globalThis.navigator ??= { userAgent: "" };
class Node extends EventTarget {
  to = null;
  connect(to) {
    return (this.to = to);
  }
  disconnect() {
    this.to = null;
  }
}
globalThis.AudioWorkletNode = class extends Node {
  port = { postMessage() {} };
  constructor(context) {
    super();
    this.context = context;
  }
};
let refuse = null;
let sources = [];
globalThis.MediaStreamAudioSourceNode = class extends Node {
  constructor(_, { mediaStream }) {
    super();
    if (refuse) throw refuse;
    sources.push(this);
    this.track = mediaStream.getAudioTracks()[0];
  }
};
globalThis.MediaStreamAudioDestinationNode = class {
  stream = new MediaStream([new MediaStreamTrack()]);
};
globalThis.GainNode = class extends Node {
  asked = [];
  constructor(_, { gain }) {
    super();
    this.asked.push(["begins", gain]);
    const noted = (name) => (value, time) => (this.asked.push([name, value, time]), this.gain);
    this.gain = { setValueAtTime: noted("set"), linearRampToValueAtTime: noted("ramp") };
  }
};
const { PyenhanceProcessor, denoiseTrack } = await import("../../site/engine/calls.js");
const running = () => workers.filter(({ terminated }) => !terminated).length;
const open = () => contexts.filter(({ state }) => state !== "closed").length;
const left = () => ({ workers: running(), contexts: open(), sources: sources.filter(({ to }) => to).length });
const nothing = { workers: 0, contexts: 0, sources: 0 };
const heardOf = (track) => {
  const heard = [];
  for (const type of ["ended", "mute", "unmute"]) track.addEventListener(type, () => heard.push(type));
  return heard;
};

// It tells of the microphone, and what it is asked reaches the microphone; of its sound it tells what that is.
{
  const microphone = new Microphone();
  const { track, node, dispose } = await denoiseTrack(microphone);
  assert.ok(track instanceof MediaStreamTrack);
  assert.deepEqual([sources[0].track, sources[0].to], [microphone, node]);
  assert.deepEqual([track.label, track.kind, track.getConstraints().deviceId], ["Desk", "audio", "desk"]);
  const latency = 0.01 + (node.stats().latency_algorithm_ms + node.stats().latency_transport_ms) / 1000;
  const sound = { channelCount: 1, sampleRate: 48000, latency };
  assert.ok(latency >= 0.05);
  assert.deepEqual(track.getSettings(), { deviceId: "desk", echoCancellation: true, ...sound });
  assert.deepEqual(track.getCapabilities(), { channelCount: { max: 2 } });
  await track.applyConstraints({ echoCancellation: false });
  assert.deepEqual(microphone.applied, { echoCancellation: false });

  const heard = heardOf(track);
  microphone.silent = true;
  microphone.tell("mute");
  assert.equal(track.muted, true);
  microphone.silent = false;
  microphone.tell("unmute");
  assert.deepEqual([track.muted, heard], [false, ["mute", "unmute"]]);

  microphone.enabled = false;
  assert.equal(track.enabled, false);
  track.enabled = true;
  assert.deepEqual([track.enabled, microphone.enabled], [true, true]);
  track.enabled = false;
  assert.deepEqual([track.enabled, microphone.enabled], [false, false]);
  microphone.enabled = true;
  assert.equal(track.enabled, false, "its own sound is still off");

  dispose();
  dispose();
  assert.deepEqual([track.readyState, microphone.readyState, microphone.stops], ["ended", "live", 0]);
  assert.deepEqual(left(), nothing);
  assert.ok(["ended", "mute", "unmute"].every((type) => getEventListeners(microphone, type).length === 0));
  microphone.tell("mute");
  track.enabled = false;
  assert.deepEqual([heard.length, microphone.enabled], [2, true], "it has nothing to do with the microphone any more");
}

// Stopped, it stops the microphone: with its last clone, and without an event, as any track.
{
  const microphone = new Microphone();
  const { track } = await denoiseTrack(microphone);
  const clone = track.clone();
  assert.equal(clone.label, "Desk");
  clone.enabled = false;
  assert.deepEqual([track.enabled, clone.enabled, microphone.enabled], [true, false, true]);
  track.enabled = false;
  assert.equal(microphone.enabled, false);
  clone.enabled = true;
  assert.deepEqual([track.enabled, microphone.enabled], [false, true]);

  const heard = [heardOf(track), heardOf(clone)];
  track.stop();
  track.stop();
  track.clone(); // of one that has ended: it has, too
  assert.deepEqual([track.readyState, clone.readyState, microphone.stops], ["ended", "live", 0]);
  clone.stop();
  assert.deepEqual([clone.readyState, microphone.stops, heard], ["ended", 1, [[], []]]);
  assert.deepEqual(left(), nothing);
}

// The microphone ends, by itself, by its owner, or its context closes: so do all.
{
  const ends = [
    (microphone) => (microphone.stop(), microphone.tell("ended")),
    (microphone, node) => (microphone.stop(), node.dispatchEvent(Object.assign(new Event("stats")))),
    (_, { context }) => context.close(),
  ];
  for (const end of ends) {
    const microphone = new Microphone();
    const { track, node } = await denoiseTrack(microphone);
    const clone = track.clone();
    const heard = [heardOf(track), heardOf(clone)];
    end(microphone, node);
    assert.deepEqual([track.readyState, clone.readyState, heard], ["ended", "ended", [["ended"], ["ended"]]]);
    assert.deepEqual(left(), nothing);
  }
}

// A context that is given stays open; an engine that is not is the node's own.
{
  const context = new AudioContext();
  const { node, dispose } = await denoiseTrack(new Microphone(), { context, strengthDb: 12 });
  assert.deepEqual([node.context, node.strengthDb], [context, 12]);
  dispose();
  assert.deepEqual(left(), { ...nothing, contexts: 1 });
  context.close();
}

// Silence until enhanced sound comes out, which is its delay after it begins.
{
  const { node, dispose } = await denoiseTrack(new Microphone(), { untilReady: "silence" });
  const gate = node.to;
  const beat = (state) => {
    node.stats = () => ({ state, latency_algorithm_ms: 30, latency_transport_ms: 20 });
    node.dispatchEvent(new Event("stats"));
  };
  beat("loading");
  beat("failed");
  assert.deepEqual(gate.asked, [["begins", 0]]);
  beat("running");
  beat("running");
  const times = gate.asked.slice(1).map(([name, value, time]) => [name, value, Math.round(1000 * time)]);
  assert.deepEqual(times, [
    ["set", 0, 7050],
    ["ramp", 1, 7060],
  ]);
  dispose();
}

// A processor that fails is silent from then on: the microphone goes past it. Of all else that fails the node itself takes care.
{
  const { node, track } = await denoiseTrack(new Microphone());
  const source = sources.at(-1);
  node.receive({ type: "error", error: new Error("too slow") });
  assert.equal(source.to, node);
  node.onprocessorerror({ isTrusted: true, stopImmediatePropagation() {} });
  assert.equal(source.to, node.to);
  track.stop();
  assert.deepEqual(left(), nothing);
}

// What is none is refused by name, and whatever fails leaves the microphone as it was, and nothing else.
{
  const video = new MediaStreamTrack("video");
  await assert.rejects(denoiseTrack(video), /TypeError: the track's kind is "video"; accepted: "audio"/);
  await assert.rejects(denoiseTrack({}), /TypeError: the track is \[object Object\]; accepted: a MediaStreamTrack/);
  const ended = new Microphone();
  ended.stop();
  await assert.rejects(denoiseTrack(ended), /the track has ended; accepted: one that is live/);
  const microphone = new Microphone();
  const noise = denoiseTrack(microphone, { untilReady: "noise" });
  await assert.rejects(noise, /RangeError: untilReady is "noise"; accepted: untouched, silence/);
  await assert.rejects(denoiseTrack(microphone, { strengthDb: -1 }), /RangeError: strengthDb is -1/);
  refuse = new Error("no source");
  await assert.rejects(denoiseTrack(microphone), /no source/);
  const context = new AudioContext();
  await assert.rejects(denoiseTrack(microphone, { context }), /no source/);
  assert.deepEqual(left(), { ...nothing, contexts: 1 });
  context.close();
  refuse = null;
  const ending = new Microphone();
  const waits = denoiseTrack(ending);
  ending.stop();
  await assert.rejects(waits, /the track has ended/);
  assert.deepEqual([video.stops, microphone.readyState, left()], [0, "live", nothing]);
}

// LiveKit's: what it stops is not the microphone; one engine for all microphones; destroyed at any time, nothing stays.
{
  const processor = new PyenhanceProcessor({ strengthDb: 9 });
  await assert.rejects(processor.init({ track: new Microphone() }), /audioContext is missing; accepted: /);
  assert.deepEqual(left(), nothing);
  const audioContext = new AudioContext();
  const first = new Microphone();
  await processor.init({ track: first, audioContext });
  const { processedTrack, node } = processor;
  assert.deepEqual([processor.name, node.strengthDb, processedTrack.label], ["pyenhance", 9, "Desk"]);
  const second = new Microphone();
  await processor.restart({ track: second, audioContext });
  assert.notEqual(processor.node, node);
  assert.deepEqual([processor.node.engine === node.engine, processedTrack.readyState], [true, "ended"]);
  assert.deepEqual(left(), { workers: 1, contexts: 1, sources: 1 });
  processor.processedTrack.stop();
  await processor.destroy();
  assert.deepEqual([first.stops, second.stops, processor.processedTrack], [0, 0, undefined]);
  assert.deepEqual(left(), { ...nothing, contexts: 1 });

  const begins = processor.init({ track: first, audioContext }); // and stopped meanwhile
  await Promise.all([begins, processor.destroy()]);
  assert.deepEqual(left(), { ...nothing, contexts: 1 });

  await processor.init({ track: first, audioContext });
  refuse = new Error("no source");
  await assert.rejects(processor.restart({ track: second, audioContext }), /no source/);
  refuse = null;
  assert.deepEqual(left(), { ...nothing, contexts: 1 });
  audioContext.close();
}
console.log("ok");

// The playable article: every step computed by pyenhance.lab in the worker, heard in step with the others, and seen.
import { HOW } from "./other_strings.js";
import { $, decodeSound, explainMicrophone, openEngine } from "./page.js";
import { drawLevels } from "./palette.js";
import { Player } from "./player.js";
import { Remembered } from "./remembered.js";
import { TEXT } from "./strings.js";

const RECORD_S = 5;
const PATIENCE_MS = 30000; // for code that never ends
const ITEMS = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-step]")]);
const STEPS = ITEMS.map((item) => item.dataset.step ?? "");
const AFTER_COMB = ["comb", "postfilter", "network"];
const MOST_KEPT = 6 * STEPS.length; // results: some 55 MB

const player = new Player();
/** @typedef {{ clean: Float32Array, noise: Float32Array }} Clip */
/** @typedef {{ item: HTMLElement, name: string, button: HTMLButtonElement, score: HTMLElement, canvas: HTMLCanvasElement, mark: HTMLProgressElement }} View */

/** @type {Map<string, View>} by step */
const views = new Map();
/** @type {import("./engine/pyenhance.js").Engine} */
let engine;
/** @type {{ bundled: Clip, own: Clip | null }} */
let clips;
let ownClips = 0; // recorded so far
/** @type {Record<string, string>} function to the source that runs in its place */
const edits = {};
/** What the worker's lab has before it. @type {{ engine?: object, sound: string, edits: Record<string, string> }} */
let bench = { sound: "", edits: {} };
/** @typedef {Awaited<ReturnType<import("./engine/pyenhance.js").Lab["run"]>>} Reply */
/** @type {Remembered<Reply>} of each step with its inputs */
const kept = new Remembered(MOST_KEPT);
/** @type {Promise<void>} one thing after another */
let turn = Promise.resolve();

const say = (/** @type {string} */ text) => ($("status").textContent = text);

function build() {
  for (const item of ITEMS) {
    const { step = "" } = item.dataset;
    const button = Object.assign(document.createElement("button"), { type: "button", disabled: true });
    const name = item.querySelector("h2")?.textContent ?? step;
    button.append(HOW.listen);
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `${HOW.listen}: ${name}`);
    button.addEventListener("click", () => listen(step));
    const score = document.createElement("span");
    score.className = "score";
    const row = document.createElement("div");
    row.className = "row";
    row.append(button, score);
    const frame = document.createElement("div");
    frame.className = "picture";
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", TEXT.picture(name));
    const mark = document.createElement("progress");
    mark.max = 1;
    mark.value = 0;
    mark.setAttribute("aria-hidden", "true");
    frame.append(canvas, mark);
    item.append(row, frame, ...item.querySelectorAll(".note"));
    views.set(step, { item, name, button, score, canvas, mark });
  }
}

/** @param {string} step */
function listen(step) {
  if (player.heard === step) player.stop();
  else player.play(step);
  for (const [name, { button, item }] of views) {
    const on = player.heard === name;
    button.setAttribute("aria-pressed", String(on));
    button.textContent = on ? HOW.stopListening : HOW.listen;
    item.classList.toggle("heard", on);
  }
  if (player.heard) follow();
}

function follow() {
  for (const { mark } of views.values()) mark.value = player.place;
  if (player.heard) requestAnimationFrame(follow);
}

// Ask the lab; code that never ends costs its worker.
/** @template T @param {(lab: import("./engine/pyenhance.js").Lab) => Promise<T>} question @returns {Promise<T>} */
async function inTime(question) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const asked = engine;
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(HOW.endless(PATIENCE_MS / 1000)));
      asked.dispose();
    }, PATIENCE_MS);
  });
  try {
    return await Promise.race([question(asked.lab), late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * What the sliders say now: they may move while something is computed.
 * @typedef {{ sound: string, clip: Clip, snr: number, bands: number, comb: number }} Wanted
 */
/** @returns {Wanted} */
function wanted() {
  const { own, bundled } = clips;
  const [snr, bands, comb] = [$("snr"), $("bands"), $("comb")].map(({ value }) => Number(value));
  return { sound: `${own ? ownClips : "bundled"} ${snr}`, clip: own ?? bundled, snr, bands, comb: comb / 100 };
}

// All that a step's sound comes from.
/** @param {string} step @param {Wanted} now */
function inputsOf(step, { sound, bands, comb }) {
  /** @type {unknown[]} */
  const inputs = [step, sound];
  if (step === "gains") inputs.push(bands);
  if (AFTER_COMB.includes(step)) inputs.push(comb, Object.entries(edits).sort());
  return JSON.stringify(inputs);
}

/** @param {string[]} steps */
async function compute(steps) {
  for (const step of steps) {
    const view = views.get(step);
    if (!view) continue;
    const now = wanted();
    const reply = await kept.of(inputsOf(step, now), async () => {
      say(HOW.computing(view.name));
      await prepare(now);
      const { bands, comb } = now;
      return inTime((lab) => lab.run(step, { bands, comb }));
    });
    player.set(step, reply.sound);
    const { canvas, score, button } = view;
    drawLevels(canvas, reply.data, reply.shape);
    score.textContent = HOW.score(reply.si_sdr);
    button.disabled = false;
  }
  say(HOW.ready);
}

// Give the lab the sound and the functions that are wanted now, where it has others.
/** @param {Wanted} now */
async function prepare({ sound, clip, snr }) {
  if (bench.engine !== engine || bench.sound !== sound) {
    await inTime((lab) => lab.open({ ...mixed(clip, snr), model: "default" }));
    bench = { engine, sound, edits: {} };
  }
  for (const name of new Set([...Object.keys(bench.edits), ...Object.keys(edits)])) {
    if (bench.edits[name] === edits[name]) continue;
    await inTime(async (lab) => lab.edit(name, edits[name] ?? (await lab.source(name))));
    bench.edits[name] = edits[name];
  }
}

// The clip with its noise.
/** @param {Clip} clip @param {number} snr dB */
function mixed({ clean: voice, noise }, snr) {
  const rms = (/** @type {Float32Array} */ x) => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) / x.length);
  const scale = rms(voice) / rms(noise) / 10 ** (snr / 20);
  let clean = voice;
  const noisy = voice.map((value, i) => value + scale * noise[i % noise.length]);
  const peak = Math.max(
    1,
    noisy.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
  );
  for (let i = 0; i < noisy.length; i++) noisy[i] /= peak;
  if (peak > 1) clean = clean.map((value) => value / peak);
  return { noisy, clean };
}

// Every step of another mix.
async function open() {
  player.clear();
  listenNone();
  await compute(STEPS);
}

function listenNone() {
  for (const { button, item } of views.values()) {
    button.setAttribute("aria-pressed", "false");
    button.textContent = HOW.listen;
    item.classList.remove("heard");
  }
}

// One piece of work after another; what goes wrong is said.
/** @param {() => void | Promise<void>} work @param {"status" | "code-status"} [where] */
function next(work, where = "status") {
  turn = turn.then(work).catch(async (error) => {
    $(where).textContent = explain(error.message);
    if (engine.disposed) await load().then(open);
  });
  return turn;
}

// The last line of Python's account, and the line of the visitor's code that it names.
/** @param {string} message */
function explain(message) {
  const lines = message.trim().split("\n");
  const places = [...message.matchAll(/File "<\w+>", line (\d+)/g)];
  const last = lines[lines.length - 1].replace(/^ValueError: /, "");
  return places.length ? HOW.atLine(Number(places[places.length - 1][1]), last) : last;
}

async function load() {
  engine = openEngine(say);
  try {
    await engine.ready;
  } catch (error) {
    say(TEXT.loadFailed(/** @type {Error} */ (error).message));
    throw error;
  }
}

/** @param {string} name */
async function fetchSound(name) {
  const reply = await fetch(name);
  if (!reply.ok) throw new Error(`${name}: ${reply.status}`);
  return (await decodeSound(await reply.arrayBuffer()))[0];
}

async function record() {
  $("record").disabled = true;
  /** @type {MediaStream | undefined} */
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: { noiseSuppression: false, autoGainControl: false },
    });
    const recorder = new MediaRecorder(stream);
    /** @type {Blob[]} */
    const pieces = [];
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    for (let left = RECORD_S; left > 0; left--) {
      say(HOW.recording(left));
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    recorder.stop();
    await stopped;
    const [voice] = await decodeSound(await new Blob(pieces).arrayBuffer());
    if (!voice.some((value) => Math.abs(value) > 1e-4)) throw new Error(HOW.silent);
    clips.own = { clean: voice, noise: clips.bundled.noise };
    ownClips++;
    $("bundled").hidden = false;
    next(open);
  } catch (error) {
    say(explainMicrophone(error));
  } finally {
    stream?.getTracks().forEach((track) => track.stop());
    $("record").disabled = false;
  }
}

const sourceOf = async (/** @type {string} */ name) => edits[name] ?? inTime((lab) => lab.source(name));

async function showSource() {
  $("code").value = await sourceOf($("function").value);
  $("code-status").textContent = "";
}

// Run other source; when it fails, what was there before stays.
/** @param {string} name @param {string} source */
async function run(name, source) {
  const before = edits[name];
  put(name, source === (await inTime((lab) => lab.source(name))) ? undefined : source);
  try {
    await compute(AFTER_COMB);
  } catch (error) {
    put(name, before);
    if (!engine.disposed) await compute(AFTER_COMB);
    throw error;
  }
  $("code-status").textContent = HOW.applied(name);
}

/** @param {string} name @param {string | undefined} source undefined: the function's own */
function put(name, source) {
  if (source === undefined) delete edits[name];
  else edits[name] = source;
}

build();
/** @type {["bands" | "comb" | "snr", (value: string) => string, () => Promise<void>][]} */
const SLIDERS = [
  ["bands", (value) => value, () => compute(["gains"])],
  ["comb", TEXT.percent, () => compute(AFTER_COMB)],
  ["snr", TEXT.db, open],
];
for (const [id, text, work] of SLIDERS) {
  $(id).addEventListener("input", () => ($(`${id}-value`).textContent = text($(id).value)));
  $(id).addEventListener("change", () => next(work));
}
$("record").addEventListener("click", record);
$("bundled").addEventListener("click", () => {
  clips.own = null;
  $("bundled").hidden = true;
  next(open);
});
$("function").addEventListener("change", () => next(showSource, "code-status"));
$("run").addEventListener("click", () => next(() => run($("function").value, $("code").value), "code-status"));
$("reset").addEventListener("click", () =>
  next(async () => {
    const name = $("function").value;
    $("code").value = await inTime((lab) => lab.source(name));
    await run(name, $("code").value);
  }, "code-status"),
);

next(async () => {
  const sounds = Promise.all([fetchSound("sample-clean.flac"), fetchSound("sample.flac")]);
  await load();
  const [voice, noisy] = await sounds;
  clips = { own: null, bundled: { clean: voice, noise: noisy.map((value, i) => value - voice[i]) } };
  await open();
  await showSource();
  $("run").disabled = $("reset").disabled = false;
  document.body.dataset.engine = "ready";
});

// For tests and for the curious.
Object.assign(window, { how: { player, kept, settled: () => turn } });

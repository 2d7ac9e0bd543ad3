// The page "Make it mine": two recordings fit the model to a voice and a room; what comes of it is heard, kept, taken elsewhere, forgotten.
import { SAMPLE_RATE } from "./engine/pyenhance.js";
import { MINE } from "./other_strings.js";
import { $, explainMicrophone, loadVerified, openEngine, save } from "./page.js";
import { Player } from "./player.js";
import { Recorder } from "./recorder.js";
import { listDevices, microphone } from "./sources.js";
import { TEXT } from "./strings.js";
import { Switch } from "./switch.js";

/** @typedef {"voice" | "noise"} Part */
/** @typedef {"noisy" | "before" | "after"} Heard */
/** @typedef {import("./engine/pyenhance.js").Adaptation} Adaptation */
/** @typedef {{ part: Part }} Aim */
/** @typedef {{ part: Part, recorder: Recorder, level: AnalyserNode, begin: number, timer?: ReturnType<typeof setInterval> }} Session */

const SECONDS = { voice: 30, noise: 20 };
const MOST_S = 60; // of a file: more would not be used
const LOOK_MS = 100;
const SHARED_FILE = "pyenhance.update"; // a profile's name would tell
const UNTOUCHED = ["audio/webm;codecs=pcm", "audio/mp4;codecs=alac"]; // what a codec takes away would be learnt
const PARTS = /** @type {Part[]} */ (["voice", "noise"]);
const HEARD = /** @type {Heard[]} */ (["noisy", "before", "after"]);

const player = new Player();
/** @type {import("./engine/pyenhance.js").Engine} */
const engine = openEngine((text) => say(text));
/** @type {Record<Part, Float32Array | null>} */
const sounds = { voice: null, noise: null };
let label = ""; // of the microphone that the voice came from; none where it is a file's
/** @type {Adaptation | null} */
let made = null;
/** @type {import("./engine/pyenhance.js").SharedUpdate | null} */
let shared = null;
/** @type {AbortController | null} of the fit that is under way */
let fitting = null;

const live = new Switch(openSession, { opened: onOpened, closed: onClosed, failed: onFailed });
/** @type {Session | null} */
let session = null;
/** @type {Part} what was to be recorded last */
let wanted = "voice";

const say = (/** @type {string} */ text) => ($("status").textContent = text);
const note = (/** @type {Part} */ part, /** @type {string} */ text) => ($(`note-${part}`).textContent = text);
const why = (/** @type {unknown} */ error) => /** @type {Error} */ (error).message;

/** @param {Aim} aim @param {import("./switch.js").Holding} held @returns {Promise<Session>} */
async function openSession({ part }, held) {
  const context = new AudioContext({ sampleRate: SAMPLE_RATE });
  held.add(() => context.close());
  const source = /** @type {MediaStreamAudioSourceNode} */ (await microphone(context, held));
  const level = new AnalyserNode(context);
  source.connect(level);
  await held.acquire(context.resume(), () => {});
  const name = source.mediaStream.getAudioTracks()[0].label;
  const mimeType = UNTOUCHED.find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new Recorder((blob) => take(part, blob, name), mimeType ? { mimeType } : undefined);
  recorder.start(context, source);
  held.add(() => recorder.stop());
  return { part, recorder, level, begin: performance.now() };
}

/** @param {Session} opened */
function onOpened(opened) {
  const { part } = (session = opened);
  $(`meter-${part}`).hidden = false;
  note(part, MINE.recording[part]);
  opened.timer = setInterval(() => look(opened), LOOK_MS);
  look(opened);
}

// The level, and how long it goes on.
/** @param {Session} session */
function look({ part, level, begin }) {
  const wave = new Float32Array(level.fftSize);
  level.getFloatTimeDomainData(wave);
  const peak = wave.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
  $(`meter-${part}`).value = 20 * Math.log10(peak);
  const left = Math.ceil(SECONDS[part] - (performance.now() - begin) / 1000);
  $(`record-${part}`).textContent = MINE.stop(Math.max(0, left));
  if (left <= 0) live.want(null);
}

function onClosed() {
  if (!session) return;
  const { part, timer } = session;
  session = null;
  clearInterval(timer);
  $(`meter-${part}`).hidden = true;
  $(`record-${part}`).textContent = MINE.record[part];
}

/** @param {unknown} error */
function onFailed(error) {
  note(wanted, explainMicrophone(error));
}

/** @param {Part} part @param {Blob} blob @param {string} [from] the microphone that it came from */
async function take(part, blob, from) {
  const name = blob instanceof File ? blob.name : MINE.recorded;
  note(part, MINE.reading(name));
  try {
    const { openRecording } = await loadVerified("recording.js", "gapless.js");
    sounds[part] = await read(await openRecording(blob));
  } catch (error) {
    return note(part, MINE.unread(name, why(error)));
  }
  if (part === "voice") label = from ?? "";
  note(part, MINE.taken(sounds[part].length / SAMPLE_RATE));
  $("fit").disabled = !sounds.voice || !sounds.noise;
  if (!$("fit").disabled) fit();
}

/** @param {Awaited<ReturnType<typeof import("./recording.js").openRecording>>} recording */
async function read(recording) {
  /** @type {Float32Array[]} */
  const parts = [];
  let length = 0;
  for await (const { channels } of recording.pieces()) {
    parts.push(mixed(channels));
    length += channels[0].length;
    if (length >= MOST_S * SAMPLE_RATE) break;
  }
  const whole = new Float32Array(length);
  for (let at = 0, i = 0; i < parts.length; at += parts[i++].length) whole.set(parts[i], at);
  return whole;
}

// As the live node does it: of several channels those that carry sound.
/** @param {Float32Array[]} channels */
function mixed(channels) {
  const sounding = channels.filter((channel) => channel.some((value) => value !== 0));
  if (!sounding.length) return channels[0];
  return sounding[0].map((_, i) => sounding.reduce((sum, channel) => sum + channel[i], 0) / sounding.length);
}

async function fit() {
  const { voice, noise } = sounds;
  if (!voice || !noise) return;
  fitting?.abort();
  const { signal } = (fitting = new AbortController());
  discard();
  say(MINE.fitting);
  $("cancel").hidden = $("fit-progress").hidden = false;
  $("fit-progress").value = 0;
  try {
    await engine.ready;
    const onProgress = (/** @type {number} */ share) => ($("fit-progress").value = share);
    const result = await engine.adapt({ voice, noise, model: $("model").value, onProgress, signal });
    await show(result);
  } catch (error) {
    if (fitting?.signal !== signal) return; // another one is under way
    say(signal.aborted ? MINE.cancelled : MINE.refused(why(error)));
  }
  $("cancel").hidden = $("fit-progress").hidden = true;
  fitting = null;
}

/** @param {Adaptation} result */
async function show(result) {
  made = result;
  const { before, after, clips, better, fell, diff, seconds } = result;
  for (const name of HEARD) player.set(name, result.sounds[name]);
  const change = 100 * (after.public_gain_loss / before.public_gain_loss - 1);
  const lines = [
    MINE.better(after.si_sdr - before.si_sdr),
    MINE.judged(clips, better, fell),
    MINE.others(change),
    MINE.weight(diff.length, seconds),
  ];
  $("figures").replaceChildren(
    ...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })),
  );
  $("name").value = await free(label || MINE.myRoom);
  $("result").hidden = false;
  say(MINE.done);
}

function discard() {
  made = null;
  player.clear();
  showHeard();
  $("result").hidden = true;
}

/** @param {Heard} name */
function listen(name) {
  if (player.heard === name) player.stop();
  else player.play(name);
  showHeard();
}

function showHeard() {
  for (const name of HEARD) $(`listen-${name}`).setAttribute("aria-pressed", String(player.heard === name));
}

/** A name that no profile has. @param {string} wanted */
async function free(wanted) {
  const names = (await (await engine.profiles()).list()).map(({ name }) => name);
  let name = wanted;
  for (let n = 2; names.includes(name); n++) name = `${wanted} ${n}`;
  return name;
}

async function keep() {
  if (!made) return;
  const { model, diff } = made;
  try {
    const { name, microphone } = await (
      await engine.profiles()
    ).keep({
      ...{ name: $("name").value.trim() || MINE.myRoom, microphone: label, model, diff },
    });
    discard();
    say(MINE.kept(name, microphone || MINE.anyMicrophone));
  } catch (error) {
    say(TEXT.failed(why(error)));
  }
  showProfiles();
}

async function showProfiles() {
  const profiles = await engine.profiles();
  const list = await profiles.list();
  $("nothing").hidden = list.length > 0;
  $("profiles").replaceChildren(
    ...list.map((profile) => {
      const { name, microphone, model, bytes, fits, active } = profile;
      const item = document.createElement("li");
      const title = Object.assign(document.createElement("strong"), { textContent: name });
      const about = Object.assign(document.createElement("span"), { className: "note" });
      about.textContent = [
        MINE.about(microphone || MINE.anyMicrophone, model, bytes),
        ...(fits ? [] : [MINE.otherVersion]),
      ].join(" ");
      const row = Object.assign(document.createElement("div"), { className: "row" });
      const use = button(MINE.use, name, () => profiles.activate(name, !active));
      use.disabled = !fits;
      use.setAttribute("aria-pressed", String(active && fits));
      row.append(
        use,
        button(MINE.keepFile, name, async () => {
          const diff = /** @type {BlobPart} */ (await profiles.diff(name));
          save(new Blob([diff]), `${name}.diff`);
        }),
        ...(fits ? [button(MINE.share, name, async () => showShared(await profiles.share(name)))] : []),
        button(MINE.forget, name, async () => {
          await profiles.forget(name);
          $("profiles-note").textContent = MINE.forgotten(name);
        }),
      );
      item.append(title, about, row);
      return item;
    }),
  );
}

/** What would leave the device, before it does. @param {import("./engine/pyenhance.js").SharedUpdate} made */
function showShared(made) {
  shared = made;
  const { bytes, numbers, noise_multiplier, epsilon, delta } = made;
  const lines = [
    MINE.shareHas(numbers, bytes),
    MINE.shareLacks,
    MINE.shareNoise(noise_multiplier),
    MINE.shareCosts(/** @type {number} */ (epsilon), delta),
  ];
  $("share-facts").replaceChildren(
    ...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })),
  );
  $("share").hidden = false;
}

function closeShared() {
  shared = null;
  $("share").hidden = true;
}

/** @param {string} text @param {string} name of the profile @param {() => Promise<void>} work */
function button(text, name, work) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.setAttribute("aria-label", `${text}: ${name}`);
  made.addEventListener("click", async () => {
    try {
      await work();
    } catch (error) {
      $("profiles-note").textContent = TEXT.failed(why(error));
    }
    showProfiles();
  });
  return made;
}

/** @param {File} file */
async function importProfile(file) {
  const { selectedOptions } = $("device");
  const microphone = $("device").value ? selectedOptions[0].text : "";
  try {
    await engine.ready;
    const name = await free(file.name.replace(/\.diff$/, ""));
    const diff = new Uint8Array(await file.arrayBuffer());
    await (await engine.profiles()).keep({ name, microphone, model: $("model").value, diff });
    $("profiles-note").textContent = MINE.imported(name);
  } catch (error) {
    $("profiles-note").textContent = MINE.notImported(file.name, why(error));
  }
  showProfiles();
}

/** Files that are chosen, also the same one again. @param {HTMLInputElement} input @param {(file: File) => void} work */
function onFile(input, work) {
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) work(file);
    input.value = "";
  });
}

for (const part of PARTS) {
  $(`record-${part}`).addEventListener("click", () => {
    if (session?.part === part) return live.want(null);
    if (!window.isSecureContext || !navigator.mediaDevices) return note(part, TEXT.insecure);
    wanted = part;
    live.want({ part });
  });
  $(`record-${part}`).disabled = false;
  onFile($(`file-${part}`), (file) => take(part, file));
}
for (const name of HEARD) $(`listen-${name}`).addEventListener("click", () => listen(name));
$("fit").addEventListener("click", fit);
$("cancel").addEventListener("click", () => fitting?.abort());
$("keep").addEventListener("click", keep);
$("discard").addEventListener("click", () => {
  discard();
  say(MINE.ready);
});
onFile($("import"), importProfile);
$("share-save").addEventListener("click", () => {
  if (shared) save(new Blob([/** @type {BlobPart} */ (shared.update)]), SHARED_FILE);
  closeShared();
});
$("share-close").addEventListener("click", closeShared);
const models = Object.entries(TEXT.models).filter(([name]) => name);
$("model").replaceChildren(...models.map(([name, text]) => new Option(text, name)));
listDevices();
showProfiles();
engine.ready.then(
  () => {
    document.body.dataset.engine = "ready";
    if (!fitting) say(MINE.ready);
  },
  (error) => say(TEXT.loadFailed(error.message)),
);

// For tests and for the curious.
Object.assign(window, { mine: { engine, player } });

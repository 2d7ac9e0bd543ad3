// Recordings: decoded by the browser, enhanced in the worker, given back as WAV. All piece by piece, so that length costs no memory.
import { HOP, SAMPLE_RATE } from "./engine/pyenhance.js";
import { $, loadVerified } from "./page.js";
import { drawLevels } from "./palette.js";
import { TEXT } from "./strings.js";
import { WavWriter } from "./wav.js";
import { zip } from "./zip.js";

const FRAME = 2 * HOP;
const COLUMNS = 400; // of a picture, at least, once there is so much sound
/** @typedef {import("./engine/pyenhance.js").Engine} Engine */

/** @type {{ name: string, blob: Blob }[]} newest last */
const results = [];
/** @typedef {{ file: File, strengthDb: number | null, say(text: string): void }} Task say: on the file's own line */

/** @type {Task[]} */
const queue = [];
/** @type {AbortController | null} */
let cancel = null;

const LINES = 50; // of files, the last ones

// Frames of a sound at even distances, for its picture: as many as needed, however long it gets.
class Frames {
  constructor() {
    this.every = 1;
    /** @type {Float32Array[]} */
    this.kept = [];
    this.seen = 0;
  }

  /** @param {Float32Array} sound */
  add(sound) {
    for (let at = 0; at + FRAME <= sound.length; at += FRAME, this.seen++) {
      if (this.seen % this.every) continue;
      this.kept.push(sound.slice(at, at + FRAME));
      if (this.kept.length < 2 * COLUMNS) continue;
      this.kept = this.kept.filter((_, i) => i % 2 === 0);
      this.every *= 2;
    }
  }

  /** @param {Engine} engine */
  picture(engine) {
    const sound = new Float32Array(FRAME * this.kept.length);
    this.kept.forEach((frame, i) => sound.set(frame, i * FRAME));
    return engine.picture(sound, this.kept.length + 1); // one for each frame, and the end
  }
}

/** @param {number} share of the work, as far as it is known */
const showProgress = (share) => ($("file-progress").value = Number.isFinite(share) ? Math.min(1, share) : 0);

// What takes recordings apart, fetched with the first of them: the page is there sooner.
/** @returns {Promise<typeof import("./recording.js").openRecording>} */
async function recordings() {
  await loadVerified("gapless.js"); // which the next one imports
  return (await loadVerified("recording.js")).openRecording;
}

/** @param {Task} task @param {Engine} engine @param {AbortSignal} signal */
async function enhanceFile({ file, strengthDb, say }, engine, signal) {
  say(TEXT.decoding(file.name));
  showProgress(0);
  const openRecording = await recordings();
  let recording;
  try {
    recording = await openRecording(file);
  } catch {
    return say(TEXT.undecodable(file.name));
  }
  const wav = new WavWriter(recording.count, SAMPLE_RATE);
  const [before, after] = [new Frames(), new Frames()];
  const work = engine.recording({ strengthDb });
  const begin = performance.now();
  let samples = 0;
  try {
    for await (const { channels, last } of recording.pieces()) {
      if (signal.aborted) return say(TEXT.cancelled(file.name));
      if (!samples && !channels[0].length) return say(TEXT.empty(file.name));
      if (!samples) say(TEXT.enhancing(file.name));
      samples += channels[0].length;
      before.add(channels[0]);
      const enhanced = await work.process(channels, last);
      after.add(enhanced[0]);
      wav.add(enhanced);
      showProgress(samples / SAMPLE_RATE / (recording.seconds ?? Infinity));
    }
  } finally {
    work.end();
  }
  const seconds = samples / SAMPLE_RATE;
  showProgress(1);
  const done = recording.cut() ? TEXT.doneInPart : TEXT.done;
  say(done(file.name, seconds, seconds / ((performance.now() - begin) / 1000)));
  const blob = wav.blob();
  /** @type {Sound[]} */
  const sounds = [
    [TEXT.before, { blob: file, picture: await before.picture(engine) }],
    [TEXT.after, { blob, picture: await after.picture(engine) }],
  ];
  addResult(file.name, sounds, { name: `${file.name.replace(/\.[^.]*$/, "")}-enhanced.wav`, blob });
}

/** @typedef {[label: string, { blob: Blob, picture?: import("./engine/pyenhance.js").Spectrogram }]} Sound */

/** A list item with players and a download. @param {string} title @param {Sound[]} sounds @param {{ name: string, blob: Blob }} download */
export function addResult(title, sounds, download) {
  const item = document.createElement("li");
  const heading = document.createElement("strong");
  heading.textContent = title;
  item.append(heading);
  for (const [label, { blob, picture }] of sounds) {
    const text = document.createElement("label");
    const player = document.createElement("audio");
    player.controls = true;
    player.src = URL.createObjectURL(blob);
    player.setAttribute("aria-label", `${label}: ${title}`);
    text.append(label, player);
    item.append(text);
    if (!picture) continue;
    const frame = document.createElement("div");
    frame.className = "picture small";
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", TEXT.picture(`${label}: ${title}`));
    drawLevels(canvas, picture.data, picture.shape);
    frame.append(canvas);
    item.append(frame);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(download.blob);
  link.download = download.name;
  link.textContent = TEXT.download(download.name);
  item.append(link);
  $("results").prepend(item);
  results.push(download);
  $("zip").hidden = results.length < 2;
}

// A line of its own for a file: what becomes of it stays to be read.
/** @param {File} file */
function openLine(file) {
  const line = document.createElement("p");
  line.textContent = TEXT.queued(file.name);
  const lines = $("file-status");
  lines.append(line);
  while (lines.childElementCount > LINES) lines.firstElementChild?.remove();
  return (/** @type {string} */ text) => {
    line.textContent = text;
  };
}

// All that waits, one after the other; what is dropped meanwhile waits, too.
/** @param {() => Engine} engine */
async function enhanceAll(engine) {
  if (cancel) return;
  $("file-work").hidden = $("cancel").hidden = false;
  for (let task = queue.shift(); task; task = queue.shift()) {
    cancel = new AbortController();
    try {
      const used = engine();
      await used.ready;
      await enhanceFile(task, used, cancel.signal);
    } catch (error) {
      task.say(TEXT.fileFailed(task.file.name, /** @type {Error} */ (error).message));
    }
  }
  $("cancel").hidden = true;
  cancel = null;
}

function cancelAll() {
  for (const { file, say } of queue.splice(0)) say(TEXT.cancelled(file.name));
  cancel?.abort();
}

async function saveAll() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await zip(results));
  link.download = "enhanced.zip";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** What to use at the time. @param {() => Engine} engine @param {() => number | null} strengthDb */
export function watchFiles(engine, strengthDb) {
  const take = (/** @type {FileList | undefined | null} */ files) => {
    for (const file of files ?? []) queue.push({ file, strengthDb: strengthDb(), say: openLine(file) });
    if (queue.length) enhanceAll(engine);
  };
  $("cancel").addEventListener("click", cancelAll);
  $("zip").addEventListener("click", saveAll);
  $("file").addEventListener("change", () => {
    take($("file").files);
    $("file").value = ""; // the same file may be chosen again
  });
  for (const type of /** @type {const} */ (["dragover", "dragleave", "drop"])) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", type === "dragover");
      if (type === "drop") take(event.dataTransfer?.files);
    });
  }
}

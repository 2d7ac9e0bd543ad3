// Recordings: decoded by the browser, enhanced in the worker, given back as WAV. All piece by piece, so that length costs no memory.
import { HOP, SAMPLE_RATE } from "./engine/pyenhance.js";
import { $ } from "./page.js";
import { drawLevels } from "./palette.js";
import { openRecording } from "./recording.js";
import { TEXT } from "./strings.js";
import { WavWriter } from "./wav.js";
import { zip } from "./zip.js";

const FRAME = 2 * HOP;
const COLUMNS = 400; // of a picture, at least, once there is so much sound
/** @typedef {import("./engine/pyenhance.js").Engine} Engine */

/** @type {{ name: string, blob: Blob }[]} newest last */
const results = [];
/** @type {AbortController | null} */
let cancel = null;

const say = (/** @type {string} */ text) => ($("file-status").textContent = text);

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

/** @param {File} file @param {Engine} engine @param {number | null} strengthDb @param {AbortSignal} signal */
async function enhanceFile(file, engine, strengthDb, signal) {
  say(TEXT.decoding(file.name));
  $("file-progress").value = 0;
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
      if (!samples) say(TEXT.enhancing(file.name));
      samples += channels[0].length;
      before.add(channels[0]);
      const enhanced = await work.process(channels, last);
      after.add(enhanced[0]);
      wav.add(enhanced);
      $("file-progress").value = samples / SAMPLE_RATE / (recording.seconds ?? Infinity);
    }
  } finally {
    work.end();
  }
  if (!samples) return say(TEXT.empty(file.name));
  const seconds = samples / SAMPLE_RATE;
  $("file-progress").value = 1;
  say(TEXT.done(file.name, seconds, seconds / ((performance.now() - begin) / 1000)));
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

/** @param {File[]} files @param {Engine} engine @param {number | null} strengthDb */
async function enhanceAll(files, engine, strengthDb) {
  if (cancel) return; // busy: the list below is still being done
  cancel = new AbortController();
  const { signal } = cancel;
  $("file-work").hidden = $("cancel").hidden = false;
  try {
    await engine.ready;
    for (const file of files) {
      if (signal.aborted) break;
      try {
        await enhanceFile(file, engine, strengthDb, signal);
      } catch (error) {
        say(TEXT.failed(/** @type {Error} */ (error).message));
      }
    }
  } catch (error) {
    say(TEXT.loadFailed(/** @type {Error} */ (error).message));
  } finally {
    $("cancel").hidden = true;
    cancel = null;
  }
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
  const take = (/** @type {FileList | undefined | null} */ files) =>
    files && enhanceAll([...files], engine(), strengthDb());
  $("cancel").addEventListener("click", () => cancel?.abort());
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

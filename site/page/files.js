// The page's list of recordings: what was dropped is worked on in turn; what worked on them is fetched with the first, so that the
// page is there sooner.
import { $, loadVerified, save } from "./page.js";
import { drawLevels } from "./palette.js";
import { TEXT } from "./strings.js";

/** @typedef {import("./engine/pyenhance.js").Engine} Engine */

/** @type {{ name: string, blob: Blob }[]} newest last */
const results = [];
/** @typedef {{ file: File, strengthDb: number | null, say(text: string): void }} Task say: on the file's own line */

/** @type {Task[]} */
const queue = [];
/** @type {AbortController | null} */
let cancel = null;

const LINES = 50; // of files, the last ones

/** @param {number} share of the work, as far as it is known */
const showProgress = (share) => ($("file-progress").value = Number.isFinite(share) ? Math.min(1, share) : 0);

/** @param {Task} task @param {Engine} engine @param {AbortSignal} signal */
async function enhanceOne({ file, strengthDb, say }, engine, signal) {
  say(TEXT.decoding(file.name));
  showProgress(0);
  /** @type {typeof import("./enhancing.js")} */
  const { enhanceFile } = await loadVerified("enhancing.js", "recording.js", "gapless.js", "wav.js");
  const done = await enhanceFile(file, { engine, strengthDb, say, signal, showProgress });
  if (done) addResult(file.name, done.sounds, done.download);
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
      await enhanceOne(task, used, cancel.signal);
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
  /** @type {typeof import("./zip.js")} */
  const { zip } = await loadVerified("zip.js");
  save(await zip(results), "enhanced.zip");
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

// The page's list of recordings: what was dropped is worked on in turn, by what is fetched with the first.
import { $, loadVerified } from "./page.js";
import { TEXT } from "./strings.js";

/** @typedef {import("./engine/pyenhance.js").Engine} Engine */

/** @typedef {{ file: File, model?: string, strengthDb: number | null, say(text: string): void }} Task say: on the file's own line */

/** @type {Task[]} */
const queue = [];
/** @type {AbortController | null} */
let cancel = null;

const LINES = 50; // of files, the last ones

/** @param {Task} task @param {Engine} engine @param {AbortSignal} signal */
async function enhanceOne({ file, model, strengthDb, say }, engine, signal) {
  say(TEXT.decoding(file.name));
  /** @type {typeof import("./enhancing.js")} */
  const { enhanceFile } = await loadVerified("enhancing.js", "recording.js", "gapless.js", "wav.js");
  const done = await enhanceFile(file, { engine, model, strengthDb, say, signal, bar: $("file-progress") });
  if (done) (await showing()).addResult(file.name, done.sounds, done.download);
}

// Loaded with the first result.
/** @returns {Promise<typeof import("./results.js")>} */
export const showing = () => loadVerified("results.js", "palette.js");

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

// All that waits, one after the other.
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

/** What to use at the time. @param {() => Engine} engine @param {() => number | null} strengthDb */
export function watchFiles(engine, strengthDb) {
  const take = (/** @type {FileList | undefined | null} */ files) => {
    const model = $("studio").checked ? "studio" : undefined;
    for (const file of files ?? []) queue.push({ file, model, strengthDb: strengthDb(), say: openLine(file) });
    if (queue.length) enhanceAll(engine);
  };
  $("cancel").addEventListener("click", cancelAll);
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

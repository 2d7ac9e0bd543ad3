// Recordings: decoded by the browser, enhanced in the worker, given back as WAV.
import { $, decodeSound } from "./page.js";
import { drawLevels } from "./palette.js";
import { SAMPLE_RATE } from "./ring.js";
import { TEXT } from "./strings.js";
import { encodeWav } from "./wav.js";
import { zip } from "./zip.js";

const PICTURE_S = 600; // longer ones get no picture, which would need them whole in the engine's memory
const results = []; // {name, blob}, newest last
let cancel = null;

const say = (text) => ($("file-status").textContent = text);

async function enhanceFile(file, engine, strengthDb, signal) {
  say(TEXT.decoding(file.name));
  $("file-progress").value = 0;
  let channels;
  try {
    channels = await decodeSound(await file.arrayBuffer());
  } catch {
    return say(TEXT.undecodable(file.name));
  }
  if (!channels[0].length) return say(TEXT.empty(file.name));
  const seconds = channels[0].length / SAMPLE_RATE;
  const picture = (sound) => (seconds > PICTURE_S ? null : engine.picture(sound));
  const before = { blob: encodeWav(channels, SAMPLE_RATE), picture: await picture(channels[0]) };
  say(TEXT.enhancing(file.name));
  const begin = performance.now();
  const part = 1 / channels.length;
  let finished = 0;
  let last = 0;
  const enhanced = await engine.enhance(channels, {
    strengthDb,
    signal,
    onProgress: (done) => {
      if (done < last) finished += part;
      last = done;
      $("file-progress").value = finished + part * done;
    },
  });
  if (!enhanced) return say(TEXT.cancelled(file.name));
  $("file-progress").value = 1;
  say(TEXT.done(file.name, seconds, seconds / ((performance.now() - begin) / 1000)));
  const after = { blob: encodeWav(enhanced, SAMPLE_RATE), picture: await picture(enhanced[0]) };
  const name = `${file.name.replace(/\.[^.]*$/, "")}-enhanced.wav`;
  addResult(file.name, [[TEXT.before, before], [TEXT.after, after]], { name, blob: after.blob });
}

// A list item with players and a download. sounds: [[label, {blob, picture?}]]
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
        say(TEXT.failed(error.message));
      }
    }
  } catch (error) {
    say(TEXT.loadFailed(error.message));
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

// engine(), strengthDb(): what to use at the time.
export function watchFiles(engine, strengthDb) {
  const take = (files) => enhanceAll([...files], engine(), strengthDb());
  $("cancel").addEventListener("click", () => cancel?.abort());
  $("zip").addEventListener("click", saveAll);
  $("file").addEventListener("change", ({ target }) => {
    take(target.files);
    target.value = ""; // the same file may be chosen again
  });
  for (const type of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      $("drop").classList.toggle("over", type === "dragover");
      if (type === "drop") take(event.dataTransfer.files);
    });
  }
}

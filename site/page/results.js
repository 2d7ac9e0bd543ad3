// Recordings that are done: to listen to, to see, and to take along.
import { $, loadVerified, save } from "./page.js";
import { drawLevels } from "./palette.js";
import { TEXT } from "./strings.js";

/** @type {{ name: string, blob: Blob }[]} newest last */
const results = [];

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

$("zip").addEventListener("click", async () => {
  /** @type {typeof import("./zip.js")} */
  const { zip } = await loadVerified("zip.js");
  save(await zip(results), "enhanced.zip");
});

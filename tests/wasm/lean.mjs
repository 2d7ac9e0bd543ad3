// A model with lean layers, by the site's compiled code: full frames by turns, hops that wait, now and then too, and lean ones alone.
//   node lean.mjs SITE WEIGHTS IMAGE SOUND OUT      writes float32 to OUT-0 ...; prints how many hops were lean, as JSON
import { readFileSync, writeFileSync } from "node:fs";
import { openSite } from "./site.mjs";

const [site, weights, image, sound, out] = process.argv.slice(2);
const HOP = 480;
const bytes = (path) => Uint8Array.from(readFileSync(path));
const { models } = await openSite(site);
models.add("lean", { sha256: "", weights: bytes(weights), image: bytes(image) });
const { open, kernel } = await models.instances("lean");
const heard = new Float32Array(bytes(sound).buffer);

const counts = {};
for (const [name, lean, waiting] of [
  ["0", false, () => 0],
  ["2", false, () => 2],
  ["by times", false, (hop) => (hop % 7 < 3 ? hop % 7 : 0)],
  ["lean", true, () => 0],
]) {
  const stream = await open();
  const enhanced = new Float32Array(heard.length);
  counts[name] = 0;
  for (let at = 0; at < heard.length; at += HOP) {
    stream.block("input").set(heard.subarray(at, at + HOP));
    counts[name] += stream.run(1, lean, waiting(at / HOP));
    enhanced.set(stream.block("output").subarray(0, HOP), at);
  }
  writeFileSync(`${out}-${name}`, enhanced);
}
console.log(JSON.stringify({ kernel, lean: counts }));
process.exit(); // the channel of letMessagesIn is open for good

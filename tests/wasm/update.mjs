// An update as the browser's Python makes it: each chain of diffs on the base leads to a weights file and its image, or to one line.
//   node update.mjs SITE BASE CHAIN...      a chain is DIFF,DIFF,...; prints JSON
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { open } from "./engine_in_node.mjs";

const [site, base, ...chains] = process.argv.slice(2);
const { load, models, python } = await open(site);
const { Instance } = await load("instance.js");
const file = (name) => new Uint8Array(readFileSync(name));
const sum = (bytes) => createHash("sha256").update(bytes).digest("hex");
const library = await WebAssembly.compile(file(`${site}/engine/${Object.values(models.manifest.libraries).at(-1)}`));
const outcomes = [];
for (const chain of chains) {
  try {
    const given = { base: file(base), diffs: chain.split(",").map(file) };
    const { sha256, weights, image } = python.call("apply_diffs", given);
    const { latency } = await Instance.open(library, image, weights); // checks its sound
    outcomes.push({ sha256, sum: sum(weights), latency });
  } catch (error) {
    outcomes.push(error.message.trim().split("\n").at(-1));
  }
}
console.log(JSON.stringify(outcomes));
process.exit(); // Python's timers go on

// Which models the site has in which version, and how a model is brought forward: by diffs, one after the other.
import { checked } from "./checked.js";
import * as kept from "./kept.js";

/**
 * What make_site.py writes into models/models.json. sha256, bytes: of the newest weights file. verdict: the release gate's, in words.
 * @typedef {{ sha256: string, bytes: number, weights: string, verdict: string, diffs: Diff[] }} Listed
 */
/** @typedef {{ file: string, from: string, to: string, bytes: number }} Diff */

/** @typedef {{ sha256: string, weights: Uint8Array, image: Uint8Array }} Files */
/** @typedef {import("./pyenhance.d.ts").Update} Update */
/**
 * An engine: its model and that one's version, and the profile in use; `ask` and `send` go to Python, `goOnWith` has sound go on with
 * another version, or with another model.
 * @typedef {object} Versions
 * @property {string} model
 * @property {string} sha256
 * @property {import("./pyenhance.d.ts").Profile | null} profile
 * @property {import("./loader.js").Manifest} manifest
 * @property {boolean} remember
 * @property {URL} folder of the library's files
 * @property {(type: string, fields: object, heard?: (news: any) => void) => Promise<any>} ask
 * @property {(type: string, fields: object) => void} send
 * @property {() => number} number
 * @property {(files?: Files, name?: string, profile?: import("./pyenhance.d.ts").Profile | null) => Promise<import("./pyenhance.d.ts").LiveFacts>} goOnWith
 */

/** The models of the site as it is now, by name: also where this page itself is from a cache. @param {URL} folder @returns {Promise<Record<string, Listed>>} */
export async function listed(folder) {
  return checked(await fetch(new URL("models/models.json", folder), { cache: "no-cache" })).json();
}

/**
 * See Engine.update. asked: also to a version that was undone.
 * @param {Versions} engine
 * @param {boolean} asked
 * @returns {Promise<Update>}
 */
export async function update({ model, sha256: from, manifest, remember, folder, ask, goOnWith }, asked) {
  const all = await listed(folder);
  if (!Object.hasOwn(all, model)) throw new RangeError(`model ${model}; accepted: ${Object.keys(all).join(", ")}`);
  const newest = all[model];
  const { sha256: to } = newest;
  const code = kept.codeOf(manifest);
  const held = from === to ? null : await kept.read(model, code, folder);
  if (from === to || (held?.declined === to && !asked)) return { from, to: from, bytes: 0, verified: true };
  const diffs = chain(model, newest, from);
  const parts = await Promise.all(
    (diffs ?? [{ file: newest.weights, bytes: newest.bytes }]).map((part) => download(part, folder)),
  );
  const made = diffs
    ? await ask("update", { model, diffs: parts })
    : { weights: parts[0], ...(await ask("image", { weights: parts[0] })) };
  if (made.sha256 !== to) throw new Error(`model ${model}: the sum is ${made.sha256}; accepted: ${to}`);
  const files = { sha256: to, weights: made.weights, image: made.image };
  await goOnWith(files);
  const before = held?.sha256 === from ? { sha256: from, weights: held.weights } : null;
  if (remember) await kept.write(model, { ...files, before, declined: null, code }, folder);
  return { from, to, bytes: parts.reduce((sum, { length }) => sum + length, 0), verified: true };
}

/** See Engine.undo. @param {Versions} engine @returns {Promise<Update>} */
export async function undo({ model, manifest, folder, ask, goOnWith }) {
  const code = kept.codeOf(manifest);
  const held = await kept.read(model, code, folder);
  if (!held?.before) throw new Error(`model ${model}: there is no update to undo`);
  const { sha256, weights } = held.before;
  const { image } = await ask("image", { weights });
  await goOnWith({ sha256, weights, image });
  await kept.write(model, { sha256, weights, image, before: null, declined: held.sha256, code }, folder);
  return { from: held.sha256, to: sha256, bytes: 0, verified: true };
}

/**
 * The diffs that lead from a version to the newest; null where none begins there, so that all of it must be loaded.
 * @param {string} model
 * @param {Listed} listed
 * @param {string} from its sum
 */
function chain(model, { sha256, diffs }, from) {
  const by = new Map(diffs.map((diff) => [diff.from, diff]));
  if (!by.has(from)) return null;
  /** @type {Diff[]} */
  const found = [];
  for (let at = from; at !== sha256;) {
    const next = by.get(at);
    if (!next || found.includes(next))
      throw new Error(`model ${model}: no diff leads on from ${short(at)}, but ${short(sha256)} is the newest`);
    found.push(next);
    at = next.to;
  }
  return found;
}

/** A file of the list. What a diff says is checked where it is applied. @param {{ file: string, bytes: number }} wanted @param {URL} folder */
async function download({ file, bytes }, folder) {
  const reply = checked(await fetch(new URL(file, folder), { cache: "no-cache" }));
  const found = new Uint8Array(await reply.arrayBuffer());
  if (found.length !== bytes) throw new Error(`${file} has ${found.length} bytes; accepted: ${bytes}`);
  return found;
}

/** Enough of a sum to tell versions apart. @param {string} sha256 */
const short = (sha256) => sha256.slice(0, 8);

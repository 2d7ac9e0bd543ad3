// Which models the site has in which version, and how a model is brought forward: by diffs, one after the other.
import { checked } from "./checked.js";

/**
 * What make_site.py writes into models/models.json. sha256, bytes: of the newest weights file. verdict: the release gate's, in words.
 * @typedef {{ sha256: string, bytes: number, weights: string, verdict: string, diffs: Diff[] }} Listed
 */
/** @typedef {{ file: string, from: string, to: string, bytes: number }} Diff */

const BASE = new URL("./", import.meta.url);

/** The models of the site as it is now, by name: also where this page itself is from a cache. @returns {Promise<Record<string, Listed>>} */
export async function listed() {
  return checked(await fetch(new URL("models/models.json", BASE), { cache: "no-cache" })).json();
}

/**
 * The diffs that lead from a version to the newest; null where none begins there, so that all of it must be loaded.
 * @param {string} model
 * @param {Listed} listed
 * @param {string} from its sum
 */
export function chain(model, { sha256, diffs }, from) {
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

/** A file of the list. What a diff says is checked where it is applied. @param {{ file: string, bytes: number }} wanted */
export async function download({ file, bytes }) {
  const reply = checked(await fetch(new URL(file, BASE), { cache: "no-cache" }));
  const found = new Uint8Array(await reply.arrayBuffer());
  if (found.length !== bytes) throw new Error(`${file} has ${found.length} bytes; accepted: ${bytes}`);
  return found;
}

/** Enough of a sum to tell versions apart. @param {string} sha256 */
const short = (sha256) => sha256.slice(0, 8);

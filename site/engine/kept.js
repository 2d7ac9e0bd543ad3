// The models of the last visits, kept on this device: live sound starts from them, and an update is no more than what differs.
//
// One entry of a cache a model: its weights file, its image and, after an update, the weights file before it, end to end. A header of
// the entry says how long each is, and the sums: what does not fit is of no use, and goes.
//
// Profiles, which are models fitted to users, lie beside them, each as the diff from its model, which has its own sums.

import { home } from "./place.js";

const FACTS = "X-Pyenhance";
const PROFILE = "X-Pyenhance-Profile";

/** The cache of the site at `base`; not one of those that sw.js tidies away, which asks for the header, too. @param {URL} base */
const place = (base) => `models-of-pyenhance ${home(base)}`;
const entry = (/** @type {string} */ model) => `/${encodeURIComponent(model)}`;
const profileEntry = (/** @type {string} */ name) => `/profile/${encodeURIComponent(name)}`;

/** The sum of the compiled code that images are made for. @param {import("./loader.js").Manifest} manifest */
export const codeOf = ({ files, libraries }) => files[Object.values(libraries)[0]].sha256;

/**
 * declined: sum of a version that was undone; code: of the compiled code that the image was made for.
 * @typedef {{ sha256: string, weights: Uint8Array, image: Uint8Array, before: { sha256: string, weights: Uint8Array } | null, declined: string | null, code: string }} Kept
 */
/** @typedef {{ sha256: string, declined: string | null, code: string, sizes: number[], sums: string[], before: string | null }} Facts */

/**
 * What is kept of a model and fits this compiled code; null where there is nothing.
 * @param {string} model
 * @param {string} code
 * @param {URL} base
 * @returns {Promise<Kept | null>}
 */
export async function read(model, code, base) {
  if (!globalThis.caches) return null;
  const cache = await caches.open(place(base));
  const reply = await cache.match(entry(model));
  if (!reply) return null;
  /** @type {Facts} */
  const facts = JSON.parse(reply.headers.get(FACTS) ?? "{}");
  if (facts.code !== code) return null;
  const bytes = new Uint8Array(await reply.arrayBuffer());
  let at = 0;
  const parts = facts.sizes.map((size) => bytes.slice(at, (at += size)));
  const sums = await Promise.all(parts.map(sumOf));
  if (at !== bytes.length || sums.some((sum, i) => sum !== facts.sums[i])) {
    console.warn(`pyenhance: what was kept of the model ${model} has changed; it is loaded anew`);
    await cache.delete(entry(model));
    return null;
  }
  const [weights, image, old] = parts;
  const before = facts.before ? { sha256: facts.before, weights: old } : null;
  return { sha256: facts.sha256, weights, image, before, declined: facts.declined, code };
}

/** Keep it for the next visit, whole or not at all. @param {string} model @param {Kept} kept @param {URL} base */
export async function write(model, { sha256, weights, image, before, declined, code }, base) {
  if (!globalThis.caches) return;
  const parts = [weights, image, ...(before ? [before.weights] : [])];
  /** @type {Facts} */
  const facts = {
    ...{ sha256, declined, code, before: before?.sha256 ?? null },
    ...{ sizes: parts.map(({ length }) => length), sums: await Promise.all(parts.map(sumOf)) },
  };
  const reply = new Response(new Blob(/** @type {BlobPart[]} */ (parts)), {
    headers: { [FACTS]: JSON.stringify(facts) },
  });
  await (await caches.open(place(base))).put(entry(model), reply);
}

/** The version that is kept of a model; null where none is. @param {string} model @param {string} code @param {URL} base */
export async function version(model, code, base) {
  const reply = globalThis.caches && (await (await caches.open(place(base))).match(entry(model)));
  /** @type {Facts | null} */
  const facts = reply ? JSON.parse(reply.headers.get(FACTS) ?? "null") : null;
  return facts?.code === code ? facts.sha256 : null;
}

/** @typedef {import("./pyenhance.d.ts").Profile} Profile */

/** All profiles, by name. @param {URL} base @returns {Promise<Profile[]>} */
export async function profiles(base) {
  if (!globalThis.caches) return [];
  const cache = await caches.open(place(base));
  const replies = await Promise.all((await cache.keys()).map((request) => cache.match(request)));
  const found = replies.map((reply) => reply && profileOf(reply)).filter((profile) => Boolean(profile));
  return /** @type {Profile[]} */ (found).sort((a, b) => a.name.localeCompare(b.name));
}

/** A profile and its diff; null where there is none. @param {string} name @param {URL} base */
export async function readProfile(name, base) {
  const reply = globalThis.caches && (await (await caches.open(place(base))).match(profileEntry(name)));
  const profile = reply && profileOf(reply);
  return profile ? { profile, diff: new Uint8Array(await reply.arrayBuffer()) } : null;
}

/** Keep it, in the place of what had its name. @param {Profile} profile @param {Uint8Array} diff @param {URL} base */
export async function writeProfile(profile, diff, base) {
  if (!globalThis.caches)
    throw new Error("this browser keeps nothing here; accepted: a secure page, not a private window");
  const headers = { [PROFILE]: encodeURIComponent(JSON.stringify(profile)) }; // names may be in any script
  const reply = new Response(new Blob([/** @type {BlobPart} */ (diff)]), { headers });
  await (await caches.open(place(base))).put(profileEntry(profile.name), reply);
}

/** Whether there was one. @param {string} name @param {URL} base */
export async function forgetProfile(name, base) {
  return Boolean(globalThis.caches) && (await caches.open(place(base))).delete(profileEntry(name));
}

/** @param {Response} reply @returns {Profile | null} */
function profileOf(reply) {
  const text = reply.headers.get(PROFILE);
  return text ? JSON.parse(decodeURIComponent(text)) : null;
}

/** SHA-256, hexadecimal. @param {Uint8Array} bytes */
async function sumOf(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", /** @type {BufferSource} */ (bytes));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

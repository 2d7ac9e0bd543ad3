// Keeps the whole site on this device after the first visit: then it opens without a network. A new build is a new version, which
// takes over when all tabs of the old one are closed.
const scope = /** @type {import("../types/serviceworker").ServiceWorkerScope} */ (/** @type {unknown} */ (self));
const VERSION = "development"; // make_site.py puts the build's sum here
const CACHE = `pyenhance-${VERSION}`;
const BASE = new URL("./", self.location.href);
const ENGINE = new URL("engine/", BASE);
const MODELS = `models-of-pyenhance ${ENGINE.pathname}`; // what the engine keeps: its kept.js says how
const LIST = new URL("models/models.json", ENGINE).href; // of the models as they are now

const WHOLE = /\/models\/whole\//; // models of recordings: kept once they were asked for, from the second visit on

/** @typedef {Record<string, { integrity: string }>} Files by name */

async function store() {
  const cache = await caches.open(CACHE);
  const reply = await fetch(new URL("manifest.json", BASE), { cache: "no-cache" });
  /** @type {Files} */
  const files = (await reply.clone().json()).files;
  const [before, needless] = await Promise.all([earlier(), keptModels(files)]);
  await cache.put(new URL("manifest.json", BASE), reply);
  await cache.add(new Request(BASE));
  for (const [name, { integrity }] of Object.entries(files)) {
    if (needless.has(name)) continue;
    const place = new URL(name, BASE);
    const had = await before.get(integrity)?.();
    // The browser has most others from the page's own loading; some are for who asks for them.
    if (had) await cache.put(place, had);
    else if (!/\.(diff|summary)$/.test(name) && !WHOLE.test(name)) await cache.add(new Request(place, { integrity }));
  }
}

// The files of earlier builds, by their sums: a new build loads what has changed.
async function earlier() {
  /** @type {Map<string, () => Promise<Response | undefined>>} */
  const found = new Map();
  for (const name of await caches.keys()) {
    if (!name.startsWith("pyenhance-") || name === CACHE) continue;
    const cache = await caches.open(name);
    const manifest = await cache.match(new URL("manifest.json", BASE));
    /** @type {Files} */
    const files = manifest ? (await manifest.json()).files : {};
    for (const [file, { integrity }] of Object.entries(files))
      found.set(integrity, () => cache.match(new URL(file, BASE)));
  }
  return found;
}

// The files of models that the engine keeps, in whichever version: it starts from that, and brings it forward by diffs.
/** @param {Files} files */
async function keptModels(files) {
  const cache = await caches.open(MODELS);
  const entries = await Promise.all(
    (await cache.keys()).map(async (request) => ({ request, reply: await cache.match(request) })),
  );
  const names = entries.flatMap(({ request, reply }) => {
    const { code } = JSON.parse(reply?.headers.get("X-Pyenhance") ?? "{}");
    const integrity = integrityOf(code ?? "");
    const fits = Object.entries(files).some(([name, file]) => name.endsWith(".wasm") && file.integrity === integrity);
    return fits ? [decodeURIComponent(new URL(request.url).pathname.slice(1))] : [];
  });
  return new Set(names.flatMap((name) => [`engine/models/${name}.safetensors`, `engine/models/${name}.image`]));
}

/** A sum as the manifest has it. @param {string} sha256 hexadecimal */
function integrityOf(sha256) {
  const bytes = (sha256.match(/../g) ?? []).map((byte) => parseInt(byte, 16));
  return `sha256-${btoa(String.fromCharCode(...bytes))}`;
}

async function tidy() {
  for (const name of await caches.keys()) {
    if (name.startsWith("pyenhance-") && name !== CACHE) await caches.delete(name);
  }
}

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(CACHE);
  const had = () => cache.match(request, { ignoreSearch: true });
  if (request.url === LIST) {
    const now = await fetch(request).catch(() => null); // no network
    return now?.ok ? now : ((await had()) ?? Response.error());
  }
  const kept = await had();
  if (kept || !WHOLE.test(request.url)) return kept ?? fetch(request);
  const reply = await fetch(request);
  if (reply.ok) await cache.put(request, reply.clone()).catch(() => {}); // no room: it works all the same
  return reply;
}

scope.addEventListener("install", (event) => event.waitUntil(store()));
scope.addEventListener("activate", (event) => event.waitUntil(tidy()));
scope.addEventListener("fetch", (event) => {
  const own = event.request.method === "GET" && event.request.url.startsWith(BASE.href);
  if (own) event.respondWith(answer(event.request));
});

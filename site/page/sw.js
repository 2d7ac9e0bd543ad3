// Keeps the whole site on this device after the first visit: then it opens without a network. A new build is a new version, which
// takes over when all tabs of the old one are closed.
const scope = /** @type {import("../types/serviceworker").ServiceWorkerScope} */ (/** @type {unknown} */ (self));
const VERSION = "development"; // make_site.py puts the build's sum here
const CACHE = `pyenhance-${VERSION}`;
const BASE = new URL("./", self.location.href);

async function store() {
  const cache = await caches.open(CACHE);
  const reply = await fetch(new URL("manifest.json", BASE), { cache: "no-cache" });
  const { files } = await reply.clone().json();
  await cache.put(new URL("manifest.json", BASE), reply);
  await cache.add(new Request(BASE));
  // The browser has most of them from the page's own loading.
  for (const [name, { integrity }] of /** @type {[string, { integrity: string }][]} */ (Object.entries(files))) {
    await cache.add(new Request(new URL(name, BASE), { integrity }));
  }
}

async function tidy() {
  for (const name of await caches.keys()) {
    if (name.startsWith("pyenhance-") && name !== CACHE) await caches.delete(name);
  }
}

/** @param {Request} request */
async function answer(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}

scope.addEventListener("install", (event) => event.waitUntil(store()));
scope.addEventListener("activate", (event) => event.waitUntil(tidy()));
scope.addEventListener("fetch", (event) => {
  const own = event.request.method === "GET" && event.request.url.startsWith(BASE.href);
  if (own) event.respondWith(answer(event.request));
});

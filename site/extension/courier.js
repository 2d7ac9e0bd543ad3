// In a frame of a page for a moment: passes ports on, which pages of the extension alone can do; the second is told when the engine has
// the first. Chromium's service worker knows where that is; Firefox's is a shared worker.
addEventListener("message", async ({ data: page, ports }) => {
  const to = navigator.serviceWorker
    ? (await navigator.serviceWorker.ready).active
    : new SharedWorker("tabs.js", { type: "module" }).port;
  to?.postMessage({ type: "page", page }, [...ports]);
});

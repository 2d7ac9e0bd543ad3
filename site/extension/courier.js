// In a frame of a page for a moment: passes ports on, which pages of the extension alone can do; the second is told
// when that is done.
addEventListener("message", async ({ ports }) => {
  const { active } = await navigator.serviceWorker.ready;
  active?.postMessage({ type: "page" }, [...ports]);
});

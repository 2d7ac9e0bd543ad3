// In a frame of a page for a moment: passes on a port, which pages of the extension alone can do. The second port is told when that is done.
addEventListener("message", async ({ ports: [port, done] }) => {
  const { active } = await navigator.serviceWorker.ready;
  active?.postMessage({ type: "page" }, [port]);
  done.postMessage("done");
});

// The engine of all tabs, in a worker: Chromium's is of one page (host.js), Firefox's is shared.
import { serve } from "./engine/live.js";

/** @type {Map<string, () => void>} what ends the streams of a page, by the name that it gave itself */
const pages = new Map();

/** @param {MessageEvent} event */
function receive({ data: { type, page }, ports: [port, done] }) {
  if (type === "page") {
    pages.set(page, serve(port));
    done.postMessage("done");
  } else if (type === "gone") {
    pages.get(page)?.();
    pages.delete(page);
  }
}

globalThis.onmessage = receive;
addEventListener("connect", (event) => {
  /** @type {MessageEvent} */ (event).ports[0].onmessage = receive;
});

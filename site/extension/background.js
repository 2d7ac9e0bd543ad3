// Chromium's service worker: the badges, and ports that it passes on to the engine.
import "./badge.js";
import { LOG } from "./strings.js";

const HOST = "host.html";

/** @type {Promise<void> | undefined} */
let opening;

// The one page that has the engine.
async function openHost() {
  if (await chrome.offscreen.hasDocument()) return;
  opening ??= chrome.offscreen.createDocument({ url: HOST, reasons: ["WORKERS"], justification: LOG.why });
  await opening.finally(() => (opening = undefined));
}

/** @param {object} data @param {readonly MessagePort[]} ports */
async function passOn(data, ports) {
  await openHost();
  const all = await clients.matchAll({ includeUncontrolled: true });
  const host = all.find(({ url }) => url === chrome.runtime.getURL(HOST));
  host?.postMessage(data, [...ports]);
}

addEventListener("message", (event) => {
  const { data, ports } = /** @type {ExtendableMessageEvent} */ (event);
  if (data?.type === "page") /** @type {ExtendableMessageEvent} */ (event).waitUntil(passOn(data, ports));
});

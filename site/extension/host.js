// Holds the engine of all tabs, and tells it of pages that go: a port of the web tells nothing of a page that crashed. In Chromium it is
// a page that nobody sees, which the service worker sends the ports that come; in Firefox it is the background page, and pages reach
// the engine by themselves, as it is shared.
const AWAKE_MS = 15_000; // Firefox ends a background page that has asked nothing of it for half a minute

const { serviceWorker } = navigator; // Firefox's extensions have none
/** @type {Set<ExtensionPort>} */
const pages = new Set();
/** @type {Worker | MessagePort | undefined} */
let engine;

function start() {
  if (serviceWorker) return new Worker("tabs.js", { type: "module", name: "pyenhance tabs.js" });
  setInterval(() => pages.size > 0 && chrome.runtime.getPlatformInfo(), AWAKE_MS);
  return new SharedWorker("tabs.js", { type: "module" }).port;
}

/** @param {object} message @param {readonly MessagePort[]} [ports] */
const tell = (message, ports = []) => (engine ??= start()).postMessage(message, [...ports]);

chrome.runtime.onConnect.addListener((page) => {
  pages.add(page);
  engine ??= start();
  page.postMessage({}); // from now on it is held
  page.onDisconnect.addListener(() => {
    pages.delete(page);
    tell({ type: "gone", page: page.name });
  });
});

if (serviceWorker) serviceWorker.onmessage = ({ data, ports }) => tell(data, ports);

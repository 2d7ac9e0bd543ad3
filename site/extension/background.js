// The extension's service worker: passes ports on to the engine, and shows on each tab's badge whether its microphone
// is enhanced.
import { BADGE, LOG } from "./strings.js";

const HOST = "host.html";
const COLOUR = "#0b5c55";

/** @type {Promise<void> | undefined} */
let opening;

// The one page that has the engine.
async function openHost() {
  if (await chrome.offscreen.hasDocument()) return;
  opening ??= chrome.offscreen.createDocument({ url: HOST, reasons: ["WORKERS"], justification: LOG.why });
  await opening.finally(() => (opening = undefined));
}

// The frame that it comes from must stay until then: browsers drop the messages of those that have gone.
/** @param {readonly MessagePort[]} ports for the engine, and for whoever waits until it is there */
async function passOn([port, done]) {
  await openHost();
  const all = await clients.matchAll({ includeUncontrolled: true });
  const host = all.find(({ url }) => url === chrome.runtime.getURL(HOST));
  host?.postMessage({ type: "page" }, [port]);
  done.postMessage("done");
}

addEventListener("message", (event) => {
  const { data, ports } = /** @type {ExtendableMessageEvent} */ (event);
  if (data?.type === "page") /** @type {ExtendableMessageEvent} */ (event).waitUntil(passOn(ports));
});

// Of each tab, how many of its frames' microphones are enhanced; kept where it outlives this worker.
/** @param {string} tab @returns {Promise<Record<string, number>>} */
const framesOf = async (tab) => (await chrome.storage.session.get({ [tab]: {} }))[tab];

/** @type {Promise<unknown>} one change after the other */
let changing = Promise.resolve();

chrome.runtime.onMessage.addListener(({ enhanced, frame }, { tab }) => {
  if (!tab?.id) return;
  const tabId = tab.id;
  changing = changing.then(async () => {
    const { [frame]: _, ...frames } = await framesOf(String(tabId));
    if (enhanced) frames[frame] = enhanced;
    const any = Object.keys(frames).length > 0;
    if (any) await chrome.storage.session.set({ [tabId]: frames });
    else await chrome.storage.session.remove(String(tabId));
    await chrome.action.setBadgeBackgroundColor({ tabId, color: COLOUR });
    await chrome.action.setBadgeText({ tabId, text: any ? BADGE.on : "" });
    await chrome.action.setTitle({ tabId, title: any ? BADGE.enhanced : BADGE.name });
  });
  changing = changing.catch(() => {}); // the tab has gone meanwhile
});

chrome.tabs.onRemoved.addListener((tabId) => chrome.storage.session.remove(String(tabId)));

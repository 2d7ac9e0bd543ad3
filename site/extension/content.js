// In the extension's world of a page: the graphs of its microphones. The library is imported when the first one comes;
// the engine is the browser's one (tabs.js), or, where policies allow compiled code, its copy on this page's audio
// thread.
import { isOnAt, read, watch } from "./settings.js";
import { LOG } from "./strings.js";
import { ANSWER, ASK, ENHANCED, LATENCY, MICROPHONE } from "./worlds.js";

/** @typedef {Awaited<ReturnType<typeof import("../engine/track.js").denoiseTrack>>} Enhanced */
/** @typedef {import("../engine/remote.js").RemoteEngine} RemoteEngine */

const RUNS_MS = 5000; // a context that may not run yet, as the page was not touched, would be silent
const METERS_MS = 100;

// The site is that of the tab, also in its frames.
const { ancestorOrigins } = location;
const site = ancestorOrigins?.[ancestorOrigins.length - 1] ?? self.origin;
const host = URL.canParse(site) ? new URL(site).host : site;
const frame = String(Math.random());

/** @type {Set<Enhanced>} */
const microphones = new Set();
/** @type {Promise<RemoteEngine> | null} */
let engine = null;
let settings = read();

/** @param {string} file @returns {Promise<any>} */
const library = (file) => import(chrome.runtime.getURL(`engine/${file}`));

// A port to the engine. Pages of the extension alone may be given one, so one is opened, and goes as soon as it has
// passed the port on. By a port of the extension's own the engine's holder hears of this page's end, and this page of the holder's.
/** @param {MessagePort} port @param {() => void} onGone */
function sendToEngine(port, onGone) {
  const name = String(Math.random());
  const place = document.createElement("div");
  const courier = document.createElement("iframe");
  const url = chrome.runtime.getURL("courier.html");
  Object.assign(courier, { src: url, hidden: true });
  place.attachShadow({ mode: "closed" }).append(courier); // so the page does not count it among its frames
  courier.onload = () => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      const holder = chrome.runtime.connect({ name });
      holder.onMessage.addListener(() => place.remove());
      holder.onDisconnect.addListener(onGone);
    };
    courier.contentWindow?.postMessage(name, new URL(url).origin, [port, port2]);
  };
  document.documentElement.append(place);
}

/** @returns {Promise<RemoteEngine>} */
async function openEngine() {
  const { model } = await settings;
  const { RemoteEngine } = await library("remote.js");
  const { port1, port2 } = new MessageChannel();
  /** @type {RemoteEngine} */
  const opened = new RemoteEngine(port1, { model });
  sendToEngine(port2, () => opened.dispose());
  return opened;
}

// One for all microphones of this frame; another where it has gone.
async function theEngine() {
  if (engine && (await engine).disposed) engine = null;
  return (engine ??= openEngine());
}

/** @param {BaseAudioContext} context @returns {Promise<void>} */
function runs(context) {
  return new Promise((resolve, reject) => {
    const look = () => context.state === "running" && resolve();
    context.addEventListener("statechange", look);
    setTimeout(() => reject(new Error(LOG.notYet)), RUNS_MS);
    look();
  });
}

/** @param {HTMLMediaElement} carrier */
async function enhance(carrier) {
  const { strengthDb } = await settings;
  const [microphone] = /** @type {MediaStream} */ (carrier.srcObject).getAudioTracks();
  const [{ denoiseTrack }, used] = await Promise.all([library("track.js"), theEngine()]);
  /** @type {Enhanced} */
  const enhanced = await denoiseTrack(microphone, { engine: used, strengthDb });
  try {
    await runs(enhanced.node.context);
  } catch (error) {
    enhanced.dispose();
    throw error;
  }
  const { node } = enhanced;
  let latency = "";
  node.addEventListener("stats", () => {
    showOnBadge();
    const { latency_algorithm_ms, latency_transport_ms } = node.stats();
    const now = String((latency_algorithm_ms + latency_transport_ms) / 1000);
    if (now !== latency) carrier.dispatchEvent(new CustomEvent(LATENCY, { detail: (latency = now) }));
  });
  microphones.add(enhanced);
  node.gone.signal.addEventListener("abort", () => {
    microphones.delete(enhanced);
    showOnBadge();
  });
  use();
  carrier.srcObject = new MediaStream([enhanced.track]);
}

// Have all sound follow what the user has chosen.
async function use() {
  const chosen = await settings;
  const { model, strengthDb } = chosen;
  for (const { node } of microphones) {
    node.bypass = !isOnAt(chosen, host);
    node.strengthDb = strengthDb;
  }
  showOnBadge();
  const used = await engine;
  if (!used || used.disposed || used.model === model) return;
  used.setModel(model).catch((error) => console.warn("pyenhance:", error));
}

let shown = 0;

function showOnBadge() {
  const enhanced = [...microphones].filter(({ node }) => node.enhances && !node.bypass).length;
  if (enhanced === shown) return;
  shown = enhanced;
  chrome.runtime.sendMessage({ enhanced, frame }).catch(() => {}); // the extension was updated, or is gone
}

document.addEventListener(ASK, async (event) => {
  const carrier = /** @type {MouseEvent} */ (event).relatedTarget;
  const detail = isOnAt(await settings, host) ? "on" : "off";
  carrier?.dispatchEvent(new CustomEvent(ANSWER, { detail }));
});

document.addEventListener(MICROPHONE, async (event) => {
  const carrier = /** @type {MouseEvent} */ (event).relatedTarget;
  if (!(carrier instanceof HTMLMediaElement)) return;
  let detail = "";
  try {
    await enhance(carrier);
  } catch (error) {
    detail = error instanceof Error ? error.message : String(error);
  }
  carrier.dispatchEvent(new CustomEvent(ENHANCED, { detail }));
});

watch((changed) => {
  settings = changed;
  use();
});

// The badge is told: nobody else tells it of pages that go. One that comes back opens an engine anew.
addEventListener("pagehide", () => {
  for (const { dispose } of microphones) dispose();
  engine?.then((opened) => opened.dispose());
});

// The popup wants to see what is going on, as long as it is open.
chrome.runtime.onConnect.addListener((popup) => {
  const tell = () =>
    popup.postMessage({
      frame,
      host: window === window.top ? host : null,
      microphones: [...microphones].map(({ node }) => ({ ...node.stats(), bypass: node.bypass })),
    });
  const timer = setInterval(tell, METERS_MS);
  popup.onDisconnect.addListener(() => clearInterval(timer));
  tell();
});

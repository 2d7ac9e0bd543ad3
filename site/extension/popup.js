// The icon's popup: what is going on in a tab, and what is to. In a tab of its own it is the options' page.
import { $, toDb } from "./elements.js";
import { isOnAt, read, watch, write } from "./settings.js";
import { TEXT } from "./strings.js";

/** @typedef {import("../engine/pyenhance.d.ts").Stats & { bypass: boolean }} Shown */
/** @typedef {{ frame: string, host: string | null, microphones: Shown[] }} Told of content.js */

const NO_LIMIT = 42; // the slider's right end

let settings = await read();
/** @type {string | null} the site of the tab */
let host = null;
/** @type {Map<string, Shown[]>} by frame */
const microphones = new Map();

function showSettings() {
  const { on, off, strengthDb, model } = settings;
  $("on").checked = on;
  $("site").disabled = !on;
  $("site-row").hidden = host === null;
  if (host !== null) {
    $("site").checked = isOnAt(settings, host);
    $("site-name").textContent = TEXT.site(host);
  }
  $("strength").value = String(strengthDb ?? NO_LIMIT);
  $("strength-value").textContent = strengthDb === null ? TEXT.noLimit : TEXT.db(strengthDb);
  $("model").value = model;
  $("sites").hidden = off.length === 0;
  $("sites-off").replaceChildren(...off.map(siteOff));
  showSound();
}

/** @param {string} name */
function siteOff(name) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: TEXT.again(name) });
  button.addEventListener("click", () => write({ off: settings.off.filter((one) => one !== name) }));
  item.append(button);
  return item;
}

function showSound() {
  const all = [...microphones.values()].flat().sort((a, b) => b.peak_in - a.peak_in);
  const [loudest] = all;
  $("meter-in").value = toDb(loudest?.peak_in ?? 0);
  $("meter-out").value = toDb(loudest?.peak_out ?? 0);
  const sentences = [whatIs(loudest), all.length > 1 ? TEXT.several(all.length) : ""];
  const text = sentences.filter(Boolean).join(" ");
  if ($("status").textContent !== text) $("status").textContent = text;
}

/** @param {Shown | undefined} loudest */
function whatIs(loudest) {
  if (!loudest) {
    if (!settings.on) return TEXT.off;
    if (host === null) return TEXT.none;
    return isOnAt(settings, host) ? TEXT.idle : TEXT.offHere;
  }
  if (loudest.bypass) return TEXT.offMeanwhile;
  if (loudest.state === "running")
    return TEXT.enhanced(loudest.model, loudest.latency_algorithm_ms + loudest.latency_transport_ms);
  if (loudest.state === "bypassed") return TEXT.overload;
  return loudest.state === "loading" ? TEXT.loading : TEXT.failed;
}

// Its frames tell, each by itself, as long as this is open.
/** @param {number} tab */
function listenTo(tab) {
  const port = chrome.tabs.connect(tab, { name: "popup" });
  port.onMessage.addListener((/** @type {Told} */ told) => {
    microphones.set(told.frame, told.microphones);
    if (told.host === null || told.host === host) return showSound();
    host = told.host;
    showSettings();
  });
  port.onDisconnect.addListener(() => {
    microphones.clear();
    host = null;
    showSettings();
  });
}

// The page in a tab goes on with the tab that the popup was opened beside.
async function whichTab() {
  const given = new URLSearchParams(location.search).get("tab");
  if (given) return Number(given);
  const [active] = await chrome.tabs.query({ active: true, currentWindow: true });
  return active?.id;
}

for (const [name, text] of Object.entries(TEXT.models)) $("model").append(new Option(text, name));
$("on").addEventListener("change", () => write({ on: $("on").checked }));
$("site").addEventListener("change", () => {
  if (host === null) return;
  const others = settings.off.filter((one) => one !== host);
  write({ off: $("site").checked ? others : [...others, host] });
});
$("strength").addEventListener("input", () => {
  const value = Number($("strength").value);
  write({ strengthDb: value === NO_LIMIT ? null : value });
});
$("model").addEventListener("change", () => write({ model: $("model").value }));
watch(async (changed) => {
  settings = await changed;
  showSettings();
});
showSettings();
const tab = await whichTab();
if (tab !== undefined) {
  $("full").href = `popup.html?tab=${tab}`;
  listenTo(tab);
}

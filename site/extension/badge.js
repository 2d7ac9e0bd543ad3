// In the background: shows on each tab's badge whether its microphone is enhanced.
import { BADGE } from "./strings.js";

const COLOUR = "#0b5c55";

// Of each tab, how many of its frames' microphones are enhanced; kept where it outlives this script. Browsers take the badge away where
// the tab's page goes: what is kept then is of one that could not say so, as it crashed.
/** @param {number} tabId @returns {Promise<Record<string, number>>} */
async function framesOf(tabId) {
  if (!(await chrome.action.getBadgeText({ tabId }))) return {};
  return (await chrome.storage.session.get({ [String(tabId)]: {} }))[tabId];
}

/** @type {Promise<unknown>} one change after the other */
let changing = Promise.resolve();

chrome.runtime.onMessage.addListener(({ enhanced, frame }, { tab }) => {
  if (!tab?.id) return;
  const tabId = tab.id;
  changing = changing.then(async () => {
    const { [frame]: _, ...frames } = await framesOf(tabId);
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

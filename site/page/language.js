// The visitor's language: English, as the pages are written, or another one that has a table (strings.LANGUAGE.js): of the sentences
// of strings.js, and of what the HTML says.
import { loadVerified } from "./verified.js";

/** @typedef {import("../types/strings").Table} Table */

/** @type {Record<string, string>} each by its own name */
export const LANGUAGES = { en: "English", de: "Deutsch" };

const KEPT = "language";
const SHOWN_ATTRIBUTES = ["aria-label", "content"];

/** The one that was chosen here, else the first of the browser's that there is. */
function wanted() {
  const short = navigator.languages.map((tag) => tag.split("-")[0]);
  return [chosen(), ...short].find((name) => name in LANGUAGES) ?? "en";
}

function chosen() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // nothing may be kept here
  }
}

const plain = (/** @type {string} */ text) => text.trim().replace(/\s+/g, " ");

/** @param {Record<string, string>} page of the table */
function translate(page) {
  const translated = (/** @type {string} */ text) => page[plain(text)] ?? text;
  const texts = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = /** @type {Text} */ (texts.currentNode);
    if (plain(node.data)) node.data = node.data.replace(/\S[^]*\S|\S/, translated);
  }
  for (const name of SHOWN_ATTRIBUTES)
    for (const element of document.querySelectorAll(`[${name}]`))
      element.setAttribute(name, translated(/** @type {string} */ (element.getAttribute(name))));
}

/** @param {string} language */
function offer(language) {
  const choice = Object.assign(document.createElement("select"), { id: "language", lang: language });
  choice.setAttribute("aria-label", Object.values(LANGUAGES).join(", "));
  for (const [value, name] of Object.entries(LANGUAGES)) {
    const option = new Option(name, value, false, value === language);
    option.lang = value;
    choice.append(option);
  }
  choice.addEventListener("change", () => {
    localStorage.setItem(KEPT, choice.value);
    location.reload();
  });
  document.querySelector("footer")?.append(choice);
}

/** @returns {Promise<Table | null>} null: what strings.js has itself */
async function load() {
  if (!globalThis.document) return null;
  const language = wanted();
  offer(language);
  if (language === "en") return null;
  /** @type {Table} */
  const table = await loadVerified(`strings.${language}.js`).catch((error) => console.warn("pyenhance:", error));
  if (!table) return null;
  document.documentElement.lang = language;
  translate(table.PAGE);
  return table;
}

export const table = await load();

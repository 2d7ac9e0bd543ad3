// What the page says of the model in use: its version, what the last update weighed, and what the release gate found.
import { $ } from "./page.js";
import { TEXT } from "./strings.js";

/** @typedef {import("./engine/pyenhance.js").Engine} Engine */
/** @typedef {import("./engine/pyenhance.js").Update} Update */
/** @typedef {{ to: string, bytes: number }} Last */

const LAST = "pyenhance-last-update"; // in localStorage: later visits show it, too

/** @returns {Last | null} */
function last() {
  try {
    return JSON.parse(localStorage.getItem(LAST) ?? "null");
  } catch {
    return null;
  }
}

export class Version {
  /** @type {Engine | null} the one in use */
  #engine = null;
  /** @type {Awaited<ReturnType<Engine["models"]>>} */
  #listed = {};

  constructor() {
    $("update").addEventListener("click", () => this.#press((engine) => engine.update()));
    $("undo").addEventListener("click", () => this.#press((engine) => engine.undo()));
  }

  /** Another engine is in use, and ready. @param {Engine} engine */
  async follow(engine) {
    this.#engine = engine;
    engine.addEventListener("update", ({ update, error }) => this.#news(update, error));
    $("update").disabled = $("undo").disabled = false;
    this.show();
    this.#listed = await engine.models().catch(() => ({})); // no network
    this.show();
  }

  show() {
    const facts = this.#engine?.liveFacts;
    if (!facts) return;
    const listed = this.#listed[facts.model];
    const update = last();
    const newest = listed?.sha256 === facts.sha256;
    $("version-note").textContent = [
      TEXT.version(facts.model, facts.sha256),
      update?.to === facts.sha256 && TEXT.lastUpdate(update.bytes),
      listed && (newest ? TEXT.verdict(listed.verdict) : TEXT.newerWaits),
    ]
      .filter(Boolean)
      .join(" ");
  }

  /** @param {(engine: Engine) => Promise<Update>} work */
  async #press(work) {
    const engine = this.#engine;
    if (!engine) return;
    $("update").disabled = $("undo").disabled = true;
    try {
      const update = await work(engine);
      this.#listed = await engine.models();
      this.#news(update);
      $("update-note").textContent = update.from === update.to ? TEXT.newest : TEXT.updated(update);
    } catch (error) {
      this.#news(undefined, /** @type {Error} */ (error));
    }
    $("update").disabled = $("undo").disabled = false;
  }

  /** @param {Update} [update] @param {Error} [error] */
  #news(update, error) {
    if (error) $("update-note").textContent = TEXT.notUpdated(error.message);
    if (update && update.bytes > 0) {
      $("update-note").textContent = TEXT.updated(update);
      try {
        localStorage.setItem(LAST, JSON.stringify({ to: update.to, bytes: update.bytes }));
      } catch {
        // Some browsers keep nothing; the next visit does not show it.
      }
    }
    this.show();
  }
}

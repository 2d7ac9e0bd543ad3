// What the page says of the model in use: its version, what the last update weighed, and what the release gate found. And the profile,
// which is chosen here: the one of the microphone that is heard.
import { VERSION } from "./other_strings.js";
import { $ } from "./page.js";

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

  #label;

  /** @param {() => string | undefined} label of the microphone that is heard */
  constructor(label) {
    this.#label = label;
    $("update").addEventListener("click", () => this.#press((engine) => engine.update()));
    $("undo").addEventListener("click", () => this.#press((engine) => engine.undo()));
  }

  /** Another engine is in use, and ready. @param {Engine} engine */
  async follow(engine) {
    this.#engine = engine;
    engine.addEventListener("update", ({ update, error }) => this.#news(update, error));
    $("update").disabled = $("undo").disabled = false;
    this.choose();
    this.#listed = await engine.models().catch(() => ({})); // no network
    this.show();
  }

  /** The model that was fitted to this microphone, or the one that ships where there is none. */
  async choose() {
    const engine = this.#engine;
    const label = this.#label();
    try {
      if (engine && label !== undefined) {
        const profiles = await engine.profiles();
        const chosen = await profiles.chosen(label);
        if (chosen?.sha256 !== engine.profile?.sha256) await profiles.use(chosen?.name ?? null);
      }
    } catch (error) {
      $("update-note").textContent = VERSION.notUpdated(/** @type {Error} */ (error).message);
    }
    this.show();
  }

  show() {
    const profile = this.#engine?.profile;
    const facts = this.#engine?.liveFacts;
    if (!facts) return;
    const { model, sha256 } = profile ? { model: profile.model, sha256: profile.base } : facts;
    const listed = this.#listed[model];
    const update = last();
    const newest = listed?.sha256 === sha256;
    $("version-note").textContent = [
      VERSION.version(model, sha256),
      profile && VERSION.fitted(profile.name, profile.bytes),
      update?.to === sha256 && VERSION.lastUpdate(update.bytes),
      listed && (newest ? VERSION.verdict(listed.verdict) : VERSION.newerWaits),
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
      $("update-note").textContent = update.from === update.to ? VERSION.newest : VERSION.updated(update);
    } catch (error) {
      this.#news(undefined, /** @type {Error} */ (error));
    }
    $("update").disabled = $("undo").disabled = false;
  }

  /** @param {Update} [update] @param {Error} [error] */
  #news(update, error) {
    if (error) $("update-note").textContent = VERSION.notUpdated(error.message);
    if (update && update.bytes > 0) {
      $("update-note").textContent = VERSION.updated(update);
      try {
        localStorage.setItem(LAST, JSON.stringify({ to: update.to, bytes: update.bytes }));
      } catch {
        // Some browsers keep nothing; the next visit does not show it.
      }
    }
    this.choose();
  }
}

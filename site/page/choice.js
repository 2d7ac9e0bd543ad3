// Which model enhances: the one that was chosen, or the best that this machine is fast enough for.
import { $ } from "./page.js";
import { TEXT } from "./strings.js";

/** @typedef {import("./engine/pyenhance.js").Engine} Engine */

const BEST = "default";
const LEAST = "tiny"; // of work
const AUTOMATIC = "";
const TOO_SLOW = 0.6; // share of real time that a hop may take, on the mean
const TIMES = 8; // statistics in a row that say so, a quarter of a second apart

export class Choice {
  #engine;
  #say;
  #changed;
  #slow = 0;
  #wanted = BEST;
  #shown = AUTOMATIC;

  /** @param {() => Engine} engine the one in use @param {(text: string, problem?: boolean) => void} say @param {() => void} changed */
  constructor(engine, say, changed) {
    this.#engine = engine;
    this.#changed = changed;
    this.#say = say;
    $("model").replaceChildren(...Object.entries(TEXT.models).map(([name, text]) => new Option(text, name)));
    $("model").addEventListener("change", () => {
      this.#slow = 0;
      this.#change($("model").value || BEST, TEXT.modelChanged);
    });
  }

  /** What another engine is to begin with. */
  get model() {
    return this.#wanted;
  }

  /** What this machine takes for a hop. @param {import("./engine/pyenhance.js").Stats} stats */
  judge({ real_time_factor, thread }) {
    this.#slow = thread === "worker" && real_time_factor > TOO_SLOW ? this.#slow + 1 : 0;
    if (this.#slow >= TIMES) this.relieve();
  }

  /** The machine is too slow. Returns whether there is a smaller model to go on with, and it is ours to choose. */
  relieve() {
    const { model, profile } = this.#engine();
    const chosen = $("model").value !== AUTOMATIC || (profile?.model ?? model) !== this.#wanted;
    if (chosen || this.#wanted === LEAST) return false;
    this.#change(LEAST, () => TEXT.modelTooSlow);
    return true;
  }

  /** @param {string} model @param {(text: string) => string} news */
  async #change(model, news) {
    const before = this.#wanted;
    this.#wanted = model;
    try {
      await this.#engine().setModel(model);
      this.#changed();
      if (this.#wanted !== model) return;
      this.#shown = $("model").value;
      this.#say(news(TEXT.models[model]));
    } catch (error) {
      if (this.#wanted !== model) return;
      this.#wanted = before;
      $("model").value = this.#shown;
      this.#say(TEXT.failed(/** @type {Error} */ (error).message), true);
    }
  }
}

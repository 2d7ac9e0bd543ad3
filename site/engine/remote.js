// An engine elsewhere, through a port to its worker of live sound: that of another page, which may be of another
// origin. It serves nodes as an Engine does; recordings and all else that needs Python it has not.
import { checked } from "./checked.js";
import { TO_LIVE, TO_PAGE, messageOf, received, send, unreadable } from "./protocol.js";

/** @typedef {import("./pyenhance.d.ts").LiveFacts} LiveFacts */
/** @typedef {import("./instance.js").Carried & import("./instance.js").Trial} Carrying */

const EMPTY_MODULE = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0);
const SETTLED_MS = 2000;

export class RemoteEngine {
  /** @type {Map<number, { resolve(answer: any): void, reject(error: Error): void }>} questions that wait for their answers */
  #asked = new Map();
  #numbers = 0;
  #port;
  #manifest;
  /** @type {Promise<void>} the change of the model that is under way */
  #changing = Promise.resolve();
  #settle = /** @type {{ resolve(facts: LiveFacts): void, reject(error: Error): void }} */ ({});

  /**
   * @param {MessagePort} port one whose other end the worker gets, or will get, with the message "page"
   * @param {{ model?: string }} [options]
   */
  constructor(port, { model = "default" } = {}) {
    /** The folder of the library's files. */
    this.folder = new URL("./", import.meta.url);
    this.model = model;
    this.disposed = false;
    this.byPython = false;
    this.isRemote = true; // no memory is shared with it
    /** @type {LiveFacts | undefined} */
    this.liveFacts = undefined;
    /** @type {import("./engine.js").Engine["streams"]} */
    this.streams = new Map();
    /** @type {Promise<LiveFacts>} */
    this.live = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.live.catch(() => {}); // each node says so
    this.#port = port;
    port.onmessage = ({ data }) => this.#receive(data);
    port.onmessageerror = () => console.warn("pyenhance:", unreadable(TO_PAGE));
    port.addEventListener("close", () => this.#end(new Error("the engine has gone")));
    this.#manifest = fetch(new URL("manifest.json", this.folder)).then(async (reply) => checked(reply).json());
    this.#manifest.then(
      (manifest) => this.sendLive("load", { manifest, model, remember: false }),
      (error) => this.#settle.reject(error),
    );
  }

  /** Samples of latency that the model is declared to have; 0 where nobody knows. @returns {Promise<number>} */
  async latency() {
    const manifest = await this.#manifest.catch(() => null);
    return manifest?.models[this.model]?.latency_samples ?? 0;
  }

  /** What is behind a failure to load: no more than it says itself. @param {unknown} error */
  async why(error) {
    return error;
  }

  /** A number that nothing else of this engine has. */
  number() {
    return ++this.#numbers;
  }

  /** @param {string} type @param {object} fields @param {Transferable[]} [transfer] */
  sendLive(type, fields, transfer) {
    if (!this.disposed) send(this.#port, TO_LIVE, type, fields, transfer);
  }

  /**
   * A stream of a model, to enhance on the audio thread; null where this page's policy keeps compiled code from it.
   * @param {string} model
   * @returns {Promise<Carrying | null>}
   */
  async carry(model) {
    await this.live;
    if (!(await WebAssembly.compile(EMPTY_MODULE).catch(() => null))) return null;
    const { code, ...carried } = await this.#ask("carry-code", { model });
    return { library: await WebAssembly.compile(code), ...carried };
  }

  /** What a hop of a model takes while nothing else starts. @param {string} model @returns {Promise<import("./instance.js").Trial>} */
  async trial(model) {
    await new Promise((resolve) => setTimeout(resolve, SETTLED_MS));
    return this.#ask("trial", { model });
  }

  /** Go on with another model, live sound in the middle of it: one after the other. @param {string} model @returns {Promise<void>} */
  setModel(model) {
    const turn = this.#changing.then(async () => {
      const { load_ms } = await this.live;
      const facts = await this.#ask("model", { model });
      this.model = model;
      this.liveFacts = { ...facts, load_ms };
      for (const node of this.streams.values()) node.change(model);
    });
    this.#changing = turn.catch(() => {});
    return turn;
  }

  /** @param {string} type @param {object} fields @returns {Promise<any>} */
  #ask(type, fields) {
    if (this.disposed) throw new Error("disposed");
    const id = this.number();
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.sendLive(type, { id, ...fields });
    });
  }

  /** @param {unknown} data */
  #receive(data) {
    let message;
    try {
      message = received(TO_PAGE, data);
    } catch (error) {
      return console.warn("pyenhance:", messageOf(error));
    }
    const { type, id, stream, ...fields } = message;
    if (type === "live") {
      this.liveFacts = /** @type {LiveFacts} */ (fields);
      this.#settle.resolve(this.liveFacts);
    } else if (type === "error") this.#fail(message);
    else if (stream !== undefined) this.streams.get(stream)?.receive({ type, ...fields });
    else this.#answered(id)?.resolve(fields);
  }

  /** @param {{ during: string, message: string, id?: number, stream?: number }} what */
  #fail({ during, message, id = -1, stream = -1 }) {
    const error = new Error(message);
    const question = this.#answered(id);
    if (question) question.reject(error);
    else if (during === "load") this.#settle.reject(error);
    else this.streams.get(stream)?.receive({ type: "error", error });
  }

  /** @param {number} id */
  #answered(id) {
    const question = this.#asked.get(id);
    this.#asked.delete(id);
    return question;
  }

  dispose() {
    this.#port.close();
    this.#end(new Error("disposed"));
  }

  /** @param {Error} error */
  #end(error) {
    this.disposed = true;
    this.#settle.reject(error);
    for (const { reject } of this.#asked.values()) reject(error);
    this.#asked.clear();
  }
}

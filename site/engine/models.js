// The models of this site: their weights for Python, and what enhances sound before Python is there.
import { checked } from "./checked.js";
import { Instance } from "./instance.js";
import * as kept from "./kept.js";
import { HERE } from "./place.js";
import { messageOf } from "./protocol.js";
import { letMessagesIn } from "./turns.js";

/** @typedef {import("./loader.js").Manifest} Manifest */
/**
 * What opens streams of a model without Python. code: the compiled code; why_not: of a faster one.
 * @typedef {{ kernel: string, code: Uint8Array, why_not: Record<string, string>, latency: number, bands: number, open(): Promise<Instance> }} Opening
 */

/** @typedef {{ sha256: string, weights: Uint8Array, image?: Uint8Array }} Files */

export class Models {
  /** @type {Map<string, Promise<Uint8Array>>} */
  #files = new Map();
  /** @type {Map<string, Promise<Files | null>>} what is not taken from the site: null */
  #own = new Map();
  /** @type {Map<string, Promise<Opening>>} */
  #instances = new Map();

  /**
   * remember: take what the last visits kept, and keep what this one loads.
   * @param {Manifest} manifest
   * @param {{ remember?: boolean }} [options]
   */
  constructor(manifest, { remember = false } = {}) {
    this.manifest = manifest;
    this.remember = remember;
  }

  /** Whether there is a model of this name, for streams or for whole recordings. @param {string} name */
  has(name) {
    const { models, whole } = this.manifest;
    return this.#own.has(name) || Object.hasOwn(models, name) || Object.hasOwn(whole, name);
  }

  /**
   * A model that the site has not, or has in another version. The image is for `instances`.
   * @param {string} name
   * @param {Files} files
   */
  add(name, files) {
    this.#own.set(name, Promise.resolve(files));
    this.#instances.delete(name);
  }

  /** What is had of a model without the site. @param {string} name @returns {Promise<Files | null>} */
  #had(name) {
    let own = this.#own.get(name);
    if (!own && this.remember && this.has(name)) {
      own = kept.read(name, kept.codeOf(this.manifest), HERE).catch(() => null); // nothing can be kept here
      this.#own.set(name, own);
    }
    return own ?? Promise.resolve(null);
  }

  /** SHA-256 of a model's weights file. @param {string} name */
  async sum(name) {
    return (await this.#had(name))?.sha256 ?? this.manifest.files[this.#entry(name).weights].sha256;
  }

  /** Keep a model, as the site has it, for the next visit. @param {string} name */
  async keep(name) {
    if (!this.remember || (await this.#had(name))) return;
    const [weights, image] = await Promise.all([this.weights(name), this.#file(this.#entry(name).image)]);
    const about = { sha256: await this.sum(name), before: null, declined: null, code: kept.codeOf(this.manifest) };
    await kept.write(name, { ...about, weights, image }, HERE);
  }

  /** @param {string} name @returns {Manifest["models"][string]} */
  #entry(name) {
    const { models, whole } = this.manifest;
    if (Object.hasOwn(models, name)) return models[name];
    if (Object.hasOwn(whole, name))
      throw new RangeError(
        `model ${name} hears whole recordings; accepted: recording({ model }) and enhance, not streams`,
      );
    throw new RangeError(`model ${JSON.stringify(name)}; accepted: ${Object.keys(models).join(", ")}`);
  }

  // A file of the site, checked against its sum; asked for once.
  /** @param {string} name @returns {Promise<Uint8Array>} */
  #file(name) {
    let file = this.#files.get(name);
    if (!file) {
      const { integrity } = this.manifest.files[name];
      file = fetch(new URL(name, HERE), { integrity })
        .then((reply) => checked(reply).arrayBuffer())
        .then((buffer) => new Uint8Array(buffer));
      file.catch(() => this.#files.delete(name)); // another try may go better
      this.#files.set(name, file);
    }
    return file;
  }

  /** The bytes of a model's weights file. @param {string} name */
  async weights(name) {
    const { whole } = this.manifest;
    const place = Object.hasOwn(whole, name) ? whole[name] : null;
    return (await this.#had(name))?.weights ?? this.#file(place ?? this.#entry(name).weights);
  }

  /** Throws where a model of the site's is none for streams. @param {string} name */
  checkStreams(name) {
    if (Object.hasOwn(this.manifest.whole, name)) this.#entry(name);
  }

  /** What fits a model to a user (pyenhance.model.summary); asked for when somebody wants that. @param {string} name */
  summary(name) {
    const { summary } = this.#entry(name);
    if (!summary) throw new RangeError(`model ${name} has no summary; accepted: a model that can be fitted to a user`);
    return this.#file(summary);
  }

  /**
   * What opens streams of a model without Python, by the fastest compiled code that this engine runs as numpy would.
   * Throws where there is none.
   * @param {string} name
   * @returns {Promise<Opening>}
   */
  instances(name) {
    let opening = this.#instances.get(name);
    if (!opening) {
      opening = this.#prepare(name);
      opening.catch(() => this.#instances.delete(name));
      this.#instances.set(name, opening);
    }
    return opening;
  }

  /** @param {string} name @returns {Promise<Opening>} */
  async #prepare(name) {
    const image = (await this.#had(name))?.image ?? this.#file(this.#entry(name).image);
    const parts = Promise.all([image, this.weights(name)]);
    parts.catch(() => {}); // awaited below
    /** @type {Record<string, string>} */
    const why_not = {};
    for (const [kernel, file] of Object.entries(this.manifest.libraries)) {
      try {
        const code = await this.#file(file);
        const library = await WebAssembly.compile(/** @type {BufferSource} */ (code));
        const [bytes, weights] = await parts;
        const another = () => Instance.open(library, bytes, weights, letMessagesIn);
        const opened = [await another()];
        const [{ latency, bands }] = opened;
        const open = async () => opened.pop() ?? another();
        return { kernel, code, why_not, latency, bands, open };
      } catch (error) {
        why_not[kernel] = messageOf(error); // no such SIMD, or one that is wrong
      }
    }
    throw new Error(`no compiled code runs here: ${JSON.stringify(why_not)}`);
  }
}

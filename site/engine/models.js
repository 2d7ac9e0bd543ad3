// The models of this site: their weights for Python, and what enhances sound before Python is there.
import { checked } from "./checked.js";
import { Instance } from "./instance.js";
import { messageOf } from "./protocol.js";

/** @typedef {import("./loader.js").Manifest} Manifest */

const BASE = new URL("./", import.meta.url);

export class Models {
  /** @type {Map<string, Promise<Uint8Array>>} */
  #files = new Map();

  /** @param {Manifest} manifest */
  constructor(manifest) {
    this.manifest = manifest;
  }

  /** Whether a model is one of the site's. @param {string} name */
  has(name) {
    return Object.hasOwn(this.manifest.models, name);
  }

  // A file of the site, checked against its sum; asked for once.
  /** @param {string} name @returns {Promise<Uint8Array>} */
  #file(name) {
    let file = this.#files.get(name);
    if (!file) {
      const { integrity } = this.manifest.files[name];
      file = fetch(new URL(name, BASE), { integrity })
        .then((reply) => checked(reply).arrayBuffer())
        .then((buffer) => new Uint8Array(buffer));
      file.catch(() => this.#files.delete(name)); // another try may go better
      this.#files.set(name, file);
    }
    return file;
  }

  /** The bytes of a model's weights file. @param {string} name */
  weights(name) {
    return this.#file(this.manifest.models[name].weights);
  }

  /**
   * What opens streams of a model without Python, by the fastest compiled code that this engine runs as numpy would.
   * Throws where there is none.
   * @param {string} name
   * @returns {Promise<{ kernel: string, why_not: Record<string, string>, first: Instance, open(): Instance }>} why_not: of faster ones
   */
  async instances(name) {
    const { image } = this.manifest.models[name];
    const parts = Promise.all([this.#file(image), this.weights(name)]);
    parts.catch(() => {}); // awaited below
    /** @type {Record<string, string>} */
    const why_not = {};
    for (const [kernel, file] of Object.entries(this.manifest.libraries)) {
      try {
        const library = await WebAssembly.compile(/** @type {BufferSource} */ (await this.#file(file)));
        const [bytes, weights] = await parts;
        const open = () => new Instance(library, bytes, weights);
        return { kernel, why_not, first: open(), open };
      } catch (error) {
        why_not[kernel] = messageOf(error); // no such SIMD, or one that is wrong
      }
    }
    throw new Error(`no compiled code runs here: ${JSON.stringify(why_not)}`);
  }
}

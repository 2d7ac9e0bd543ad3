// The one way from JavaScript to Python: `call`, which pyenhance.live answers, and for live sound a LiveEngine's blocks and `run`.
// A live hop goes past the interpreter where all of it is compiled: Python has laid out the stream, and `run` calls the compiled
// function on it, in Pyodide's own memory.
import { Lean } from "./lean.js";

const WEIGHTS = "/lib/python3.14/site-packages/pyenhance/weights";

export class Python {
  #live;

  /**
   * @param {import("../types/pyodide").Pyodide} pyodide with numpy and pyenhance, or a memory in which they are
   * @param {import("./models.js").Models} models
   */
  constructor(pyodide, models) {
    this.pyodide = pyodide;
    this.models = models;
    this.#live = pyodide.pyimport("pyenhance.live");
  }

  /**
   * Ask Python. What it answers comes as plain values: numbers, text, objects, typed arrays; a LiveEngine as a proxy.
   * @param {string} name one of pyenhance.live.CALLS
   * @param {Record<string, unknown>} [named] its arguments; null is None
   * @returns {any}
   */
  call(name, named = {}) {
    const given = this.pyodide.toPy(
      Object.fromEntries(Object.entries(named).map(([key, value]) => [key, value === null ? undefined : value])),
    );
    try {
      return this.plain(this.#live.answer(name, given));
    } finally {
      given.destroy();
    }
  }

  /** What Python answered, as a plain value where it has one. @param {any} answer */
  plain(answer) {
    if (!(answer instanceof this.pyodide.ffi.PyProxy)) return answer;
    const plain = answer.toJs({ dict_converter: Object.fromEntries });
    if (plain !== answer) answer.destroy();
    return plain;
  }

  /** Bring a model of the site's to where Python finds it. @param {string} model */
  async ensure(model) {
    const path = `${WEIGHTS}/${model}.safetensors`;
    if (!this.models.has(model) || this.pyodide.FS.analyzePath(path).exists) return; // unknown: Python says so
    this.pyodide.FS.writeFile(path, await this.models.weights(model), {});
  }

  /** A model that the site has not, or has in another version. @param {string} model @param {import("./models.js").Files} files */
  add(model, files) {
    this.models.add(model, files);
    this.pyodide.FS.writeFile(`${WEIGHTS}/${model}.safetensors`, files.weights, {});
    this.call("forget_model", { model });
  }

  /** A stream's enhancer. @param {string} model @param {number} maxHops @param {string | null} [kernel] */
  liveEngine(model, maxHops, kernel = null) {
    return new LiveEngine(this, this.call("open_live", { model, max_hops: maxHops, kernel }));
  }

  get heapBytes() {
    return this.pyodide._module.HEAPU8.length;
  }
}

/** @typedef {"input" | "output" | "facts"} Block */
/** @typedef {(stream: number, hops: number) => number} Entry the compiled `process`: 0 where it went well */

// pyenhance.live.LiveEngine, with views of its blocks, which are taken again when WebAssembly's memory has grown.
export class LiveEngine {
  #views = /** @type {Record<Block, import("../types/pyodide").PyBuffer>} */ ({});
  #strength = -1;
  #changed = false; // to another model: Python has the first hop go over from the one before
  /** @type {number} samples by which the output is late */
  latency = 0;
  /** @type {number} gains in `facts`, after pitch period, its correlation and voice activity */
  bands = 0;
  /** @type {Entry | null} */
  entry = null;
  /** @type {number} */
  address = 0;
  /** @type {import("./lean.js").Places | null} of a model with lean layers, where `entry` may be called */
  #places = null;
  /** @type {Lean | null} */
  #lean = null;

  /** @param {Python} python @param {import("../types/pyodide").PyProxy} proxy */
  constructor(python, proxy) {
    this.python = python;
    this.proxy = proxy;
    this.runner = proxy.run;
    this.#describe();
  }

  #describe() {
    const { latency_samples, num_bands, entry, address, lean } = this.proxy;
    Object.assign(this, { latency: latency_samples, bands: num_bands, address });
    this.entry = entry ? this.python.pyodide._module.wasmTable.get(entry) : null;
    this.#places = this.python.plain(lean) ?? null;
    this.#lean = null;
  }

  /** Go on with another model from the next hop on. @param {string} model */
  change(model) {
    this.proxy.change(model);
    this.#release();
    this.#describe();
    this.#changed = true;
  }

  /** @param {Block} which @returns {Float32Array} valid until the next call of Python */
  block(which) {
    let view = this.#views[which];
    if (!view || view.data.length === 0) {
      view?.release();
      const array = this.proxy[which];
      view = this.#views[which] = array.getBuffer("f32");
      array.destroy();
    }
    return view.data;
  }

  /** @param {number} strength hundredths of a dB, -1 for no limit */
  setStrength(strength) {
    if (strength === this.#strength) return;
    this.#strength = strength;
    this.proxy.strength_db = strength < 0 ? undefined : strength / 100;
  }

  /** Returns how many hops were lean. @param {number} hops @param {boolean} lean @param {number} [waiting] see `Instance.run` */
  run(hops, lean, waiting = 0) {
    // Compiled code holds no gains.
    if (!this.entry || this.#changed || (lean && !this.#places)) {
      this.#changed = false;
      return this.runner(hops, lean, waiting);
    }
    const layers = this.#leanLayers();
    layers?.ask(lean ? "lean" : "auto", waiting);
    if (this.entry(this.address, hops)) throw new RangeError(`${hops} hops are more than the compiled stream takes`);
    return layers ? hops - layers.fullFrames : 0;
  }

  // Memory that has grown is another buffer.
  #leanLayers() {
    const { buffer } = this.python.pyodide._module.HEAPU8;
    if (this.#places && this.#lean?.memory !== buffer) this.#lean = new Lean(buffer, this.#places);
    return this.#lean;
  }

  /** Go on with a stream that something else has enhanced so far. @param {Record<string, Uint8Array>} state what it remembers */
  takeOver(state) {
    const given = this.python.pyodide.toPy(state);
    try {
      this.proxy.take_over(given);
    } finally {
      given.destroy();
    }
  }

  /** What the stream remembers, by name: copies. @returns {Record<string, Uint8Array>} */
  state() {
    return this.python.plain(this.proxy.state());
  }

  get heapBytes() {
    return this.python.heapBytes;
  }

  #release() {
    for (const view of Object.values(this.#views)) view.release();
    this.#views = /** @type {Record<Block, import("../types/pyodide").PyBuffer>} */ ({});
  }

  destroy() {
    this.#release();
    this.runner.destroy();
    this.proxy.destroy();
  }
}

// A model's stream in a WebAssembly instance of its own: the compiled code of the wheel, the model's image (pyenhance/model/image.py
// explains it) and the weights file. It needs no Python, so sound is enhanced while Python still loads; Python's stream then takes
// over all that this one remembers (`state`), and no sample differs.
import { Lean } from "./lean.js";

const DATA = 512; // below the stack; the compiled code has next to none
const PAGE = 65536;
const TURN_ROWS = 4;
const TURN_COLUMNS = 16;
const TOLERANCE = 1e-3;
const TRIAL_HOPS = 60;
const TRIAL_MS = 30; // at most
const AT_ONCE = 4 * PAGE; // bytes: a fifth of a millisecond

/**
 * What write_image puts in front: addresses in bytes.
 * @typedef {object} Header
 * @property {number} layout
 * @property {string} sha256
 * @property {string} model
 * @property {number} num_bands
 * @property {number} latency_samples
 * @property {number} hop
 * @property {number} max_hops
 * @property {number} stream
 * @property {number} network
 * @property {number} memory
 * @property {number} dry
 * @property {number} input
 * @property {number} output
 * @property {number} facts
 * @property {Record<string, [number, number]>} state
 * @property {Matrix[]} weights
 * @property {import("./lean.js").Places | null} lean of models with lean layers
 * @property {number} base
 * @property {number} size
 * @property {{ hops: number, address: number }} check
 * @property {[number, number][]} segments
 */
/**
 * What hops took, in microseconds. us_min: the fastest of those in which all of the network ran.
 * @typedef {{ us_min: number, us_mean: number, us_p50: number, us_p99: number, us_max: number }} Trial
 */
/** @typedef {{ library: WebAssembly.Module, header: Header, memory: ArrayBuffer }} Carried */
/** @typedef {{ address: number, tensor: string, outputs: number, inputs: number, rows: number, columns: number, turns: boolean }} Matrix */
/**
 * Each answers 0 where it went well.
 * @typedef {object} Compiled
 * @property {() => number} layout
 * @property {(stream: number, hops: number) => number} process
 * @property {(stream: number, hops: number) => number} analyse
 * @property {(network: number, memory: number, hops: number) => number} estimate
 * @property {(stream: number, hops: number, withComb: number, withPostfilter: number) => number} synthesise
 */

// The JSON at the beginning of a file, and what follows it. lengthBytes: of the little-endian length in front.
/** @param {Uint8Array} file @param {number} lengthBytes @returns {{ header: any, rest: Uint8Array }} */
function split(file, lengthBytes) {
  const length = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const end = lengthBytes + length;
  if (!(end <= file.length)) throw new Error(`a header of ${length} bytes in a file of ${file.length}`);
  return { header: JSON.parse(new TextDecoder().decode(file.subarray(lengthBytes, end))), rest: file.subarray(end) };
}

// Rows of weights as the compiled code reads them: padded; four rows in turn, sixteen weights of each.
/** @param {ArrayBuffer} memory @param {Matrix} matrix @param {Int8Array} weights */
function layOut(memory, { address, outputs, inputs, rows, columns, turns }, weights) {
  const to = new Int8Array(memory, address, rows * columns);
  if (!turns) {
    for (let row = 0; row < outputs; row++) to.set(weights.subarray(row * inputs, (row + 1) * inputs), row * columns);
    return;
  }
  for (let row = 0, from = 0; row < outputs; row++) {
    const own = (row - (row % TURN_ROWS)) * columns + (row % TURN_ROWS) * TURN_COLUMNS;
    for (let k = 0; k < inputs; k++) to[own + k + (TURN_ROWS - 1) * (k - (k % TURN_COLUMNS))] = weights[from++];
  }
}

// Of some times, the one that this share of them is below. Sorts them.
/** @param {number[]} times @param {number} share */
function at(times, share) {
  return times.sort((a, b) => a - b)[Math.floor(share * (times.length - 1))];
}

// What pyenhance.model.image.check_sound says, from sample `n` on.
/** @param {Float32Array} target */
function fillWithCheckSound(target) {
  for (let n = 0; n < target.length; n++) target[n] = Math.fround(((n * n) % 997) / 5000);
}

export class Instance {
  #strength = -1;
  /** @type {Lean | null} of a model with lean layers */
  #lean;
  #followed = -1; // hops of another instance, as it counts them: none yet

  /**
   * Error where the three do not belong together, or the engine computes something else than numpy did.
   * @param {WebAssembly.Module} library
   * @param {Uint8Array} image
   * @param {Uint8Array} weights of the model's weights file
   * @param {() => Promise<void>} [pause] between the matrices: other streams may have sound to enhance
   */
  static async open(library, image, weights, pause) {
    const { header, rest } = /** @type {{ header: Header, rest: Uint8Array }} */ (split(image, 4));
    const { header: tensors, rest: codes } = split(weights, 8);
    const sum = tensors.__metadata__?.sha256;
    if (sum !== header.sha256) throw new Error(`weights with the sum ${sum}; accepted by this image: ${header.sha256}`);
    const instance = new Instance(library, header);
    let at = 0;
    for (const [address, size] of header.segments)
      new Uint8Array(instance.memory, address, size).set(rest.subarray(at, (at += size)));
    for (const matrix of header.weights) {
      await pause?.();
      const [begin, end] = tensors[matrix.tensor].data_offsets;
      layOut(instance.memory, matrix, new Int8Array(codes.buffer, codes.byteOffset + begin, end - begin));
    }
    instance.#check();
    return instance;
  }

  /** With nothing in its memory yet: see `open` and `Arrival`. @param {WebAssembly.Module} library @param {Header} header */
  constructor(library, header) {
    const memory = new WebAssembly.Memory({ initial: Math.ceil((header.base + header.size) / PAGE) });
    const compiled = new WebAssembly.Instance(library, {
      env: {
        memory,
        __stack_pointer: new WebAssembly.Global({ value: "i32", mutable: true }, header.base),
        __memory_base: new WebAssembly.Global({ value: "i32", mutable: false }, DATA),
        __table_base: new WebAssembly.Global({ value: "i32", mutable: false }, 0),
      },
    });
    /** @type {Compiled} */
    this.exports = /** @type {any} */ (compiled.exports);
    const { layout, process } = this.exports;
    if (layout() !== header.layout)
      throw new Error(`compiled code for structures ${layout()}; accepted by this image: ${header.layout}`);
    this.process = process;
    this.library = library;
    this.header = header;
    this.memory = memory.buffer; // it never grows
    this.latency = header.latency_samples;
    this.bands = header.num_bands;
    this.blocks = {
      input: this.#floats(header.input, header.max_hops * header.hop),
      output: this.#floats(header.output, header.max_hops * header.hop),
      facts: this.#floats(header.facts, 3 + header.num_bands), // pitch period, its correlation, voice activity, gains
    };
    this.#lean = header.lean && new Lean(this.memory, header.lean);
  }

  /** @param {number} address @param {number} length */
  #floats(address, length) {
    return new Float32Array(this.memory, address, length);
  }

  // Engines have been seen whose SIMD is wrong.
  #check() {
    const { hop, check } = this.header;
    const before = Object.values(this.state).map((part) => part.slice());
    fillWithCheckSound(this.blocks.input.subarray(0, check.hops * hop));
    this.#call(check.hops, "auto"); // as numpy did
    const found = this.blocks.output.subarray((check.hops - 1) * hop, check.hops * hop);
    const expected = this.#floats(check.address, hop);
    const furthest = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i])), 0);
    if (!(furthest < TOLERANCE)) throw new Error(`the compiled code's sound differs from numpy's by ${furthest}`);
    Object.values(this.state).forEach((part, i) => part.set(before[i]));
  }

  /** What a hop takes, in a row. The stream stays where it is. @returns {Trial} */
  trial() {
    const before = Object.values(this.state).map((part) => part.slice());
    /** @type {number[]} */
    const full = [];
    /** @type {number[]} */
    const lean = [];
    const until = performance.now() + TRIAL_MS;
    for (let begin = performance.now(); full.length + lean.length < TRIAL_HOPS && (begin < until || !full.length);) {
      fillWithCheckSound(this.blocks.input.subarray(0, this.header.hop));
      const into = this.run(1, false) ? lean : full;
      const end = performance.now();
      into.push(1000 * (end - begin));
      begin = end;
    }
    Object.values(this.state).forEach((part, i) => part.set(before[i]));
    const all = [...full, ...lean];
    // A mean of medians: whatever else the machine did meanwhile is no cost of a hop.
    const mean = (full.length * at(full, 0.5) + lean.length * (lean.length && at(lean, 0.5))) / all.length;
    return {
      us_min: Math.round(at(full, 0)),
      us_mean: Math.round(mean),
      us_p50: Math.round(at(all, 0.5)),
      us_p99: Math.round(at(all, 0.99)),
      us_max: Math.round(at(all, 1)),
    };
  }

  /** @param {"input" | "output" | "facts"} which */
  block(which) {
    return this.blocks[which];
  }

  /** @param {number} strength hundredths of a dB, -1 for no limit */
  setStrength(strength) {
    if (strength === this.#strength) return;
    this.#strength = strength;
    this.#floats(this.header.dry, 1)[0] = strength < 0 ? 0 : 10 ** (-strength / 2000);
  }

  /**
   * Enhance the first hops of `input` into `output`. Returns how many of them were lean.
   * @param {number} hops
   * @param {boolean} lean lean frames alone; a model without lean layers has none
   * @param {number} [waiting] hops that wait behind these: of a model with lean layers no frame is full then
   */
  run(hops, lean, waiting = 0) {
    return this.#call(hops, lean ? "lean" : "auto", waiting);
  }

  /** @param {number} hops @param {import("./lean.js").Effort} effort @param {number} [waiting] */
  #call(hops, effort, waiting) {
    this.#lean?.ask(effort, waiting);
    if (this.process(this.header.stream, hops))
      throw new RangeError(`hops is ${hops}; accepted: 1 to ${this.header.max_hops}`);
    return this.#lean ? hops - this.#lean.fullFrames : 0;
  }

  /** Everything that the stream remembers, by name: this instance's own memory. @returns {Record<string, Uint8Array>} */
  get state() {
    const parts = Object.entries(this.header.state);
    return Object.fromEntries(parts.map(([name, [at, size]]) => [name, new Uint8Array(this.memory, at, size)]));
  }

  /** Hops of sound so far; modulo 2^31. */
  get heard() {
    return this.#part("heard", Int32Array)[0];
  }

  /**
   * Come to where another model's instance is, by the sound that it has heard of late: as pyenhance.Enhancer.switch does, but `most`
   * hops at once, for the sound must not wait. Returns whether this one is there: it may go on with the next hop.
   * @param {Instance} other
   * @param {number} most
   */
  follow(other, most) {
    const { hop } = this.header;
    const recent = other.#part("recent", Float32Array);
    const kept = recent.length / hop;
    if (this.#followed < 0) this.#followed = Math.max(0, other.heard - kept);
    const behind = Math.min(kept, other.heard - this.#followed);
    const hops = Math.min(most, behind);
    for (let first = other.heard - behind, k = 0; k < hops; k++) {
      const from = ((first + k) % kept) * hop;
      this.blocks.input.set(recent.subarray(from, from + hop), k * hop);
    }
    if (hops > 0) this.#call(hops, "full");
    this.#followed = other.heard - behind + hops;
    if (hops < behind) return false;
    // Which remember more than those hops.
    for (const name of ["level", "rumble", "heard", "recent"]) this.state[name].set(other.state[name]);
    return true;
  }

  /** @template T @param {string} name @param {new (memory: ArrayBuffer, at: number, length: number) => T} kind of four-byte numbers */
  #part(name, kind) {
    const [at, size] = this.header.state[name];
    return new kind(this.memory, at, size / 4);
  }

  /** All of it, to go on in another thread: see `Arrival`. @returns {Carried} */
  carried() {
    return { library: this.library, header: this.header, memory: this.memory.slice(0) };
  }

  get heapBytes() {
    return this.memory.byteLength;
  }

  destroy() {}
}

/**
 * An instance that comes from another thread, where it was checked. The audio thread has little time at once: it comes in pieces.
 */
export class Arrival {
  #from;
  #to;
  #parts;

  /** @param {Carried} carried */
  constructor({ library, header, memory }) {
    this.instance = new Instance(library, header);
    this.#to = new Uint8Array(this.instance.memory);
    this.#from = new Uint8Array(memory);
    if (this.#from.length !== this.#to.length)
      throw new RangeError(`memory of ${this.#from.length} bytes; accepted: ${this.#to.length}`);
    // All else is nothing yet, or what one call leaves behind.
    const weights = header.weights.map(({ address, rows, columns }) => [address, rows * columns]);
    this.#parts = [...weights, ...header.segments, ...Object.values(header.state)];
  }

  /** One more piece, as long as there is one. Returns whether all of it is here. */
  step() {
    for (let left = AT_ONCE; left > 0 && this.#parts.length;) {
      const [at, size] = this.#parts[0];
      const bytes = Math.min(left, size);
      this.#to.set(this.#from.subarray(at, at + bytes), at);
      left -= bytes;
      if (bytes < size) this.#parts[0] = [at + bytes, size - bytes];
      else this.#parts.shift();
    }
    return !this.#parts.length;
  }
}

// The memory that the audio processor and the worker share: an Int32 header and two float32 rings in one buffer.
//
// Every field has one writer. Counters are free-running uint32 and double as sample clocks: output sample n belongs to input
// sample n - latency, so the dry signal for an A/B comparison is found in the input ring and never copied. They belong to the
// methods below: whoever uses a ring names samples by how far they are, never by where they lie.
// In a page without SharedArrayBuffer each side holds a buffer of its own, and samples and fields travel as messages.

export const HOP = 480;
export const SAMPLE_RATE = 48000;
export const MAX_BANDS = 64;

const VERSION = 3;
const CAPACITY = 65536; // samples a ring: a power of two, 1.4 s
const MASK = CAPACITY - 1;
const LINE = 16; // ints of a cache line: what one side writes does not slow the other down
const MARGIN_HOPS = 4; // between what is written and what may still be read

// All fields, by who writes them. A group begins on a cache line of its own.
export const FIELDS = /** @type {const} */ ({
  // Whoever creates the ring, once: what both sides must agree on.
  creator: [
    "VERSION",
    "HEADER_INTS",
    "CAPACITY",
    "MAX_BANDS",
    "DECLARED", // samples of latency that the model is said to have, until it is there
  ],
  page: [
    "BYPASS", // 1: play the dry signal, aligned
    "STRENGTH", // largest attenuation in hundredths of a dB, -1: no limit
    "QUIT", // 1: the stream ends
  ],
  processor: [
    "IN_WRITE", // counter: samples heard
    "OUT_READ", // counter: samples played
    "DOORBELL", // rung when a hop is waiting
    "UNDERRUNS", // times that enhanced sound came too late and the dry signal was played
    "UNDERRUN_SAMPLES",
    "DELAY", // samples that the transport adds to the latency
    "HEARD_LATENCY", // samples of latency that what is played has
    "PEAK_IN", // highest sample of the last tenth of a second, millionths
    "PEAK_OUT",
    "BLOCK", // samples of the last block
  ],
  // Whoever enhances: the worker, or the audio thread itself.
  worker: [
    "STATE", // see STATE
    "LATENCY", // samples by which the model's output is late, 0: no model yet
    "BANDS", // gains that the model has
    "IN_READ", // counter: samples taken
    "OUT_WRITE", // counter: samples enhanced
    "BEGIN", // counter: the first sample taken
    "HOPS", // hops done
    "LEAN_HOPS", // of these, by lean frames, or with held gains
    "HURRIED_HOPS", // of those, because hops waited: a model with lean layers has lean frames by turns as well
    "DROPPED_HOPS", // of these, passed on untouched
    "OVERRUN_SAMPLES", // samples lost to a full input ring
    "US_MEAN", // microseconds a hop over the last seconds, and since the start; not where the audio thread enhances, which has no clock:
    "US_P50",
    "US_P99",
    "US_MAX",
    "PITCH", // pitch period in samples
    "VOICE", // voice activity, thousandths
    "HEAP_KB", // memory of what enhances
    "GAINS", // MAX_BANDS ints: the band gains of the last hop, thousandths
  ],
});
export const STATE = { LOADING: 0, RUNNING: 1, BYPASSED: 2, FAILED: 3, ENDED: 4 };

/** @typedef {keyof typeof FIELDS} Writer */
/** @typedef {(typeof FIELDS)[Writer][number]} Field */
/** @typedef {"IN_WRITE" | "OUT_READ" | "IN_READ" | "OUT_WRITE" | "BEGIN"} Counter */

const upToLine = (/** @type {number} */ ints) => Math.ceil(ints / LINE) * LINE;

/** Where each field lies, and each group begins and ends. */
const { place, groups, ints } = (() => {
  const place = /** @type {Record<Field, number>} */ ({});
  const groups = /** @type {Record<Writer, { from: number, to: number }>} */ ({});
  let at = 0;
  for (const [writer, fields] of /** @type {[Writer, readonly Field[]][]} */ (Object.entries(FIELDS))) {
    const from = at;
    for (const field of fields) {
      place[field] = at;
      at += field === "GAINS" ? MAX_BANDS : 1;
    }
    groups[writer] = { from, to: at };
    at = upToLine(at + 1); // at least one is left over
  }
  return { place, groups, ints: at };
})();

/** The fields that everybody may ask for by name. */
export const H = /** @type {Record<Exclude<Field, Counter>, number>} */ (place);

const AGREED = { VERSION, HEADER_INTS: ints, CAPACITY, MAX_BANDS };

/** Bytes of the parts of a ring's buffer: [first, after the last]. What lies between them is never touched. */
export const LAYOUT = (() => {
  const header = [0, 4 * ints];
  const input = [4 * (ints + LINE), 4 * (ints + LINE + CAPACITY)];
  const output = [input[1] + 4 * LINE, input[1] + 4 * (LINE + CAPACITY)];
  return { header, input, output, groups, bytes: output[1] + 4 * LINE };
})();

export class Ring {
  #head;
  #input;
  #output;

  /**
   * The ring that lies in a buffer. RangeError where it is none, or another version's.
   * @param {ArrayBuffer | SharedArrayBuffer} buffer
   */
  constructor(buffer) {
    if (buffer.byteLength !== LAYOUT.bytes)
      throw new RangeError(`ring: the buffer has ${buffer.byteLength} bytes; accepted: ${LAYOUT.bytes}`);
    this.buffer = buffer;
    this.#head = new Int32Array(buffer, 0, ints);
    this.#input = new Float32Array(buffer, LAYOUT.input[0], CAPACITY);
    this.#output = new Float32Array(buffer, LAYOUT.output[0], CAPACITY);
    for (const [name, value] of /** @type {[keyof typeof AGREED, number][]} */ (Object.entries(AGREED))) {
      const found = this.get(H[name]);
      if (found !== value)
        throw new RangeError(
          `ring: ${name} is ${found}; accepted: ${value}. Page, worker and processor must be of one version`,
        );
    }
  }

  /**
   * A new one. `at`: where its clocks begin.
   * @param {{ shared?: boolean, latency?: number, at?: number }} [options]
   */
  static create({ shared = false, latency = 0, at = 0 } = {}) {
    const buffer = shared ? new SharedArrayBuffer(LAYOUT.bytes) : new ArrayBuffer(LAYOUT.bytes);
    const head = new Int32Array(buffer, 0, ints);
    for (const [name, value] of Object.entries({ ...AGREED, DECLARED: latency, STRENGTH: -1 }))
      head[place[/** @type {Field} */ (name)]] = value;
    for (const counter of /** @type {Counter[]} */ (["IN_WRITE", "OUT_READ", "IN_READ", "OUT_WRITE", "BEGIN"]))
      head[place[counter]] = at;
    return new Ring(buffer);
  }

  // Fields.

  /** @param {number} field */
  get(field) {
    return Atomics.load(this.#head, field);
  }

  /** @param {number} field @param {number} value */
  set(field, value) {
    Atomics.store(this.#head, field, value);
  }

  /** @param {number} field @param {number} value */
  add(field, value) {
    Atomics.store(this.#head, field, (Atomics.load(this.#head, field) + value) | 0);
  }

  /** Samples by which output is late: the model's, or what it is declared to have. */
  get latency() {
    return this.get(H.LATENCY) || this.get(H.DECLARED);
  }

  /** The band gains of the last hop, in [0, 1]. */
  get gains() {
    return Float32Array.from({ length: this.get(H.BANDS) }, (_, band) => this.get(H.GAINS + band) / 1000);
  }

  /** @param {Float32Array} values one a band, the model's number of them */
  set gains(values) {
    for (let band = 0; band < values.length; band++) this.set(H.GAINS + band, Math.round(1000 * values[band]));
  }

  /**
   * What one side has written, for a side that does not share this memory.
   * @param {Writer} writer
   */
  written(writer) {
    const { from, to } = groups[writer];
    return Array.from({ length: to - from }, (_, i) => this.get(from + i));
  }

  /**
   * Take over what `written` gave on the other side.
   * @param {Writer} writer
   * @param {number[]} values
   */
  takeOver(writer, values) {
    const { from, to } = groups[writer];
    if (values.length !== to - from)
      throw new RangeError(`ring: ${values.length} fields of the ${writer}; accepted: ${to - from}`);
    values.forEach((value, i) => this.set(from + i, value));
  }

  /** Samples that wait to be enhanced. */
  get inFill() {
    return Math.max(0, this.#distance(place.IN_WRITE, place.IN_READ));
  }

  /** Samples that wait to be played. */
  get outFill() {
    return Math.max(0, this.#distance(place.OUT_WRITE, place.OUT_READ));
  }

  // The processor's side.

  /** Write down what was heard. @param {Float32Array} samples @param {number} n */
  hear(samples, n) {
    const at = this.get(place.IN_WRITE);
    put(this.#input, at, samples, n);
    this.set(place.IN_WRITE, (at + n) | 0);
  }

  /** From now on what is played was heard `delay` samples, and the latency, before. @param {number} delay */
  playAfter(delay) {
    this.set(H.DELAY, delay);
    this.set(place.OUT_READ, (this.get(place.IN_WRITE) - delay) | 0);
  }

  /** Play so many samples later. @param {number} samples */
  playLater(samples) {
    this.add(H.DELAY, samples);
    this.set(place.OUT_READ, (this.get(place.OUT_READ) - samples) | 0);
  }

  /** How many of the next n samples to play are enhanced; negative: how late they are. @param {number} n */
  ready(n) {
    return Math.min(n, this.#distance(place.OUT_WRITE, place.OUT_READ));
  }

  /** Whether the next sample to play belongs to one that the model heard: the first ones are of silence before its time. */
  get begun() {
    return ((this.get(place.OUT_READ) - this.get(place.BEGIN) - this.latency) | 0) >= 0;
  }

  /** The next n samples to play as they were heard. @param {Float32Array} target @param {number} n @param {number} latency */
  dry(target, n, latency) {
    take(this.#input, this.get(place.OUT_READ) - latency, target, n);
  }

  /** The next n samples to play, enhanced as far as they are ready. @param {Float32Array} target @param {number} n */
  wet(target, n) {
    take(this.#output, this.get(place.OUT_READ), target, n);
  }

  /** They have been played. @param {number} n */
  played(n) {
    this.set(place.OUT_READ, (this.get(place.OUT_READ) + n) | 0);
  }

  /** Wake the worker. */
  knock() {
    this.add(H.DOORBELL, 1);
    Atomics.notify(this.#head, H.DOORBELL);
  }

  // The worker's side; and the processor's, where they share no memory and it posts hops.

  /** Sound heard before now is not for us: begin with the hop that is being heard. */
  begin() {
    const heard = this.get(place.IN_WRITE) >>> 0;
    this.#startAt((heard - (heard % HOP)) | 0);
  }

  /** Where the next hop to take lies: a name for it in messages, no more. */
  get place() {
    return this.get(place.IN_READ);
  }

  /** The place of what lies n samples after. @param {number} place @param {number} n */
  static after(place, n) {
    return (place + n) | 0;
  }

  /** Whole hops that wait. */
  get waitingHops() {
    return Math.floor(this.#distance(place.IN_WRITE, place.IN_READ) / HOP);
  }

  /** As many may wait before what they need is overwritten. */
  get mostHops() {
    return Math.floor((CAPACITY - this.latency) / HOP) - MARGIN_HOPS;
  }

  /** The next n samples that wait, or those heard `late` samples before. @param {Float32Array} target @param {number} n */
  waiting(target, n, late = 0) {
    take(this.#input, this.get(place.IN_READ) - late, target, n);
  }

  /** They have been taken, and are not answered here. @param {number} n */
  taken(n) {
    this.set(place.IN_READ, (this.get(place.IN_READ) + n) | 0);
  }

  /** The answer to the next n samples that wait. @param {Float32Array} samples @param {number} n */
  answer(samples, n) {
    const at = this.get(place.IN_READ);
    put(this.#output, at, samples, n);
    this.set(place.IN_READ, (at + n) | 0);
    this.set(place.OUT_WRITE, (at + n) | 0);
  }

  /** A hop that came as a message. @param {number} at its place on the other side @param {Float32Array} samples */
  receive(at, samples) {
    if (this.get(place.IN_WRITE) !== at) this.#startAt(at);
    put(this.#input, at, samples, HOP);
    this.set(place.IN_WRITE, (at + HOP) | 0);
  }

  /** An answer that came as a message. @param {number} at @param {Float32Array} samples */
  receiveAnswer(at, samples) {
    put(this.#output, at, samples, samples.length);
    this.set(place.OUT_WRITE, (at + samples.length) | 0);
  }

  /** For `sleep`: what the doorbell shows. */
  get knocks() {
    return this.get(H.DOORBELL);
  }

  /**
   * Wait until somebody knocks who has not knocked yet at `knocks`, or for a while. Where this must hold up the thread it is short.
   * @param {number} knocks
   * @param {number} [longest] ms
   * @returns {Promise<boolean>} whether the thread was free meanwhile
   */
  async sleep(knocks, longest = 100) {
    if (!Atomics.waitAsync) {
      Atomics.wait(this.#head, H.DOORBELL, knocks, 20);
      return false;
    }
    const wait = Atomics.waitAsync(this.#head, H.DOORBELL, knocks, longest);
    if (wait.async) await wait.value;
    return true;
  }

  /** @param {number} at */
  #startAt(at) {
    for (const counter of [place.IN_READ, place.OUT_WRITE, place.BEGIN]) this.set(counter, at);
  }

  // Samples from one counter to another, negative when the first is behind.
  /** @param {number} ahead @param {number} behind */
  #distance(ahead, behind) {
    return (this.get(ahead) - this.get(behind)) | 0;
  }
}

/** Copy n samples into a ring at a counter's place. @param {Float32Array} ring @param {number} at @param {Float32Array} source @param {number} n */
function put(ring, at, source, n) {
  const start = (at >>> 0) & MASK;
  const first = Math.min(n, CAPACITY - start);
  for (let i = 0; i < first; i++) ring[start + i] = source[i];
  for (let i = first; i < n; i++) ring[i - first] = source[i];
}

/** Copy n samples out of a ring. @param {Float32Array} ring @param {number} at @param {Float32Array} target @param {number} n */
function take(ring, at, target, n) {
  const start = (at >>> 0) & MASK;
  const first = Math.min(n, CAPACITY - start);
  for (let i = 0; i < first; i++) target[i] = ring[start + i];
  for (let i = first; i < n; i++) target[i] = ring[i - first];
}

// One live stream in the worker: takes whole hops from the input ring, enhances them, keeps up with the microphone.
import { FROM_STREAM, TO_STREAM, messageOf, received, send, unreadable } from "./protocol.js";
import { H, HOP, MAX_BANDS, Ring, STATE } from "./ring.js";
import { letMessagesIn } from "./turns.js";

const LEAN_AT = 5; // hops waiting: hold the gains
const DROP_AT = 25; // hops waiting: pass them on untouched
const KEEP = 2; // hops left to do properly after dropping
export const MOST = 16; // hops at once
const WINDOW = 200; // hops over which overload is judged
const OVERLOADED = 0.5; // share of them that were lean or dropped
const REST_MS = 5000; // bypassed for so long before the next try
const BUCKET_US = 20;
const SNAPSHOT_MS = 50;
const IDLE_SNAPSHOTS = 20; // without a hop enhanced: then there is nothing new to show
const AWAKE_MS = 100; // the longest sleep: a page that ends a stream says so, too, but may have gone before it could
const ASLEEP_MS = 1000; // when nothing was enhanced of late
const REST_HOPS = 1000; // of digital silence, ten seconds: then the answer to more of it is known
const TAIL_HOPS = 10; // after these nothing of the sound before comes out any more
const PERCENTILES_EVERY = 5; // snapshots: they walk the whole histogram

/**
 * What enhances a stream. `change`: to another model, which acts with one of the next hops.
 * @typedef {Pick<import("./python.js").LiveEngine, "latency" | "bands" | "block" | "setStrength" | "run" | "heapBytes" | "destroy"> & { change(next: any): void }} Enhancing
 */

export class Stream {
  #scheduled = false;
  /** @type {Float32Array<ArrayBuffer> | null} a hop's buffer to be used again */
  #spare = null;
  #restUntil = 0;

  /**
   * RangeError where the ring is another version's, or the model has more bands than a ring.
   * @param {Enhancing} engine
   * @param {{ buffer?: SharedArrayBuffer, port?: MessagePort }} way shared memory, or a port to the processor
   * @param {(type: string, fields?: object) => void} report posts to the page
   */
  constructor(engine, { buffer, port }, report) {
    this.engine = engine;
    this.report = report;
    this.port = port;
    this.ring = buffer ? new Ring(buffer) : Ring.create();
    this.histogram = new Uint32Array(2500);
    this.spent = 0; // microseconds, and hops, since the last snapshot
    this.spentHops = 0;
    this.max = 0;
    this.snapshots = 0;
    this.judged = this.strained = 0;
    this.ended = false;
    this.silence = 0; // hops of it, up to now
    this.idle = 0; // snapshots since the last hop was enhanced
    this.scratch = new Float32Array(MOST * HOP);
    this.describe();
    this.ring.begin();
    this.ring.set(H.STATE, STATE.RUNNING);
    if (port) {
      port.onmessage = ({ data }) => this.receive(data);
      port.onmessageerror = () => report("error", { during: "live", message: unreadable(TO_STREAM) });
    } else this.watch();
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    this.showOn();
  }

  // Show statistics from time to time, as long as there are new ones.
  showOn() {
    this.idle = 0;
    this.timer ??= setInterval(() => this.snapshot(), SNAPSHOT_MS);
  }

  // What the ring says of the model.
  describe() {
    const { latency, bands } = this.engine;
    if (bands > MAX_BANDS) throw new RangeError(`the model has ${bands} bands; accepted: at most ${MAX_BANDS}`);
    this.ring.set(H.LATENCY, latency);
    this.ring.set(H.BANDS, bands);
  }

  /** @param {keyof typeof H} field @param {number} value */
  control(field, value) {
    this.ring.set(H[field], value);
  }

  // Without shared memory: a hop.
  /** @param {unknown} data */
  receive(data) {
    if (this.ended) return;
    let samples;
    try {
      const hop = received(TO_STREAM, data);
      samples = hop.samples;
      this.ring.receive(hop.at, samples);
    } catch (error) {
      return this.report("error", { during: "live", message: messageOf(error) });
    }
    this.#spare = samples;
    // Hops that are already in the queue are taken together, so that a backlog is seen as one.
    if (!this.#scheduled) this.drainSoon();
  }

  async drainSoon() {
    this.#scheduled = true;
    await letMessagesIn();
    this.#scheduled = false;
    this.drain();
  }

  // With shared memory: sleep until the processor knocks, in a way that lets messages in.
  async watch() {
    while (!this.ended) {
      const { knocks } = this.ring;
      this.drain();
      if (!(await this.ring.sleep(knocks, this.timer ? AWAKE_MS : ASLEEP_MS))) await letMessagesIn();
      if (this.ring.get(H.QUIT) === 1) this.end();
    }
  }

  // Do all that waits. An enhancer that fails ends the stream: the processor plays the untouched sound.
  drain() {
    try {
      this.work();
    } catch (error) {
      this.end(STATE.FAILED);
      this.report("error", { during: "live", message: messageOf(error) });
    }
  }

  work() {
    const ring = this.ring;
    for (;;) {
      if (this.ended) return;
      this.passSilence();
      let waiting = ring.waitingHops;
      if (waiting <= 0) return;
      if (waiting > ring.mostHops) {
        ring.add(H.OVERRUN_SAMPLES, (waiting - KEEP) * HOP);
        this.skip(waiting - KEEP);
        continue;
      }
      const bypassed = ring.get(H.STATE) === STATE.BYPASSED;
      if (bypassed && performance.now() < this.#restUntil) {
        this.skip(waiting);
        return;
      }
      if (bypassed) {
        ring.set(H.STATE, STATE.RUNNING);
        this.report("recovered");
      }
      if (waiting > DROP_AT) {
        this.judge(waiting - KEEP, true);
        this.skip(waiting - KEEP);
        waiting = KEEP;
      }
      const lean = waiting > LEAN_AT;
      this.enhance(Math.min(waiting, lean ? MOST : 2), lean);
    }
  }

  // After long silence the enhancer's answer to more of it is silence, and all that it remembers but the level stays as it is: there
  // is nothing to compute until sound comes. So it is where much silence waits: the audio thread, which rests too, is in no hurry.
  passSilence() {
    const { ring, scratch } = this;
    const { waitingHops } = ring;
    if (this.silence < (waitingHops > LEAN_AT ? TAIL_HOPS : REST_HOPS) || waitingHops > ring.mostHops) return;
    for (let k = 0; k < waitingHops; k++) {
      ring.waiting(scratch, HOP);
      if (!silent(scratch, HOP)) return;
      this.deliver(scratch, HOP);
      ring.add(H.HOPS, 1);
      this.silence++;
    }
  }

  /** @param {number} hops @param {boolean} lean */
  enhance(hops, lean) {
    const { ring, engine } = this;
    const begin = performance.now();
    engine.setStrength(ring.get(H.STRENGTH));
    const input = engine.block("input");
    ring.waiting(input, hops * HOP);
    this.silence = silent(input, hops * HOP) ? this.silence + hops : 0;
    engine.run(hops, lean);
    this.describe(); // it may have gone on with another model
    this.deliver(engine.block("output"), hops * HOP);
    this.count(hops, (1000 * (performance.now() - begin)) / hops);
    if (lean) ring.add(H.LEAN_HOPS, hops);
    this.judge(hops, lean);
  }

  // Pass hops on untouched: the dry signal, aligned.
  /** @param {number} hops */
  skip(hops) {
    const ring = this.ring;
    ring.add(H.DROPPED_HOPS, hops);
    ring.add(H.HOPS, hops);
    for (let left = hops; left > 0; left -= MOST) {
      const n = Math.min(left, MOST) * HOP;
      ring.waiting(this.scratch, n);
      this.silence = silent(this.scratch, n) ? this.silence + n / HOP : 0;
      ring.waiting(this.scratch, n, ring.latency);
      this.deliver(this.scratch, n);
    }
  }

  /** @param {Float32Array} samples @param {number} n */
  deliver(samples, n) {
    const { ring, port } = this;
    const { place } = ring;
    ring.answer(samples, n);
    if (!port) return;
    for (let k = 0; k < n; k += HOP) {
      const hop = this.#spare ?? new Float32Array(HOP);
      this.#spare = null;
      hop.set(samples.subarray(k, k + HOP));
      const facts = { state: ring.get(H.STATE), latency: ring.latency };
      send(port, FROM_STREAM, "hop", { at: Ring.after(place, k), samples: hop, ...facts }, [hop.buffer]);
    }
  }

  /** @param {number} hops @param {number} us */
  count(hops, us) {
    this.showOn();
    this.ring.add(H.HOPS, hops);
    this.spent += us * hops;
    this.spentHops += hops;
    this.max = Math.max(this.max, us);
    this.histogram[Math.min(this.histogram.length - 1, Math.floor(us / BUCKET_US))] += hops;
  }

  /** @param {number} hops @param {boolean} strained */
  judge(hops, strained) {
    this.judged += hops;
    if (strained) this.strained += hops;
    if (this.judged < WINDOW) return;
    if (this.strained / this.judged > OVERLOADED) {
      this.ring.set(H.STATE, STATE.BYPASSED);
      this.#restUntil = performance.now() + REST_MS;
      this.report("overload");
    }
    this.judged = this.strained = 0;
  }

  /** @param {number} share */
  percentile(share) {
    const total = this.histogram.reduce((sum, count) => sum + count, 0);
    let seen = 0;
    for (let i = 0; i < this.histogram.length; i++) {
      seen += this.histogram[i];
      if (seen >= share * total) return (i + 1) * BUCKET_US;
    }
    return 0;
  }

  snapshot() {
    const ring = this.ring;
    if (this.spentHops) {
      // Not at every hop: nobody reads them so often, and sixty stores cost as much as a small layer.
      const facts = this.engine.block("facts"); // pitch period, its correlation, voice activity, gains
      ring.set(H.PITCH, Math.round(facts[0]));
      ring.set(H.VOICE, Math.round(1000 * facts[2]));
      ring.gains = facts.subarray(3);
      ring.set(H.US_MEAN, Math.round(this.spent / this.spentHops));
      if (this.spentHops > 500) this.spent = this.spentHops = 0;
      if (this.snapshots++ % PERCENTILES_EVERY === 0) {
        ring.set(H.US_P50, this.percentile(0.5));
        ring.set(H.US_P99, this.percentile(0.99));
      }
      ring.set(H.US_MAX, Math.round(this.max));
    }
    ring.set(H.HEAP_KB, this.engine.heapBytes >> 10);
    this.reportHeader();
    if (++this.idle < IDLE_SNAPSHOTS) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  // Without shared memory the page has a header of its own.
  reportHeader() {
    if (this.port) this.report("header", { values: this.ring.written("worker") });
  }

  /** @param {number} [state] */
  end(state = STATE.ENDED) {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.timer);
    this.ring.set(H.STATE, state);
    this.reportHeader();
    if (this.port) send(this.port, FROM_STREAM, "end", { state });
    this.port?.close();
    this.engine.destroy();
  }
}

/** @param {Float32Array} samples @param {number} n */
function silent(samples, n) {
  for (let i = 0; i < n; i++) if (samples[i] !== 0) return false;
  return true;
}

// One live stream in a worker: wakes when whole hops wait, enhances them, keeps up with the microphone.
import { FROM_STREAM, TO_STREAM, messageOf, received, send, unreadable } from "./protocol.js";
import { Hops, LEAN_AT, MOST } from "./hops.js";
import { H, HOP, Ring, STATE } from "./ring.js";
import { letMessagesIn } from "./turns.js";

const DROP_AT = 25; // hops waiting: pass them on untouched
const KEEP = 2; // hops left to do properly after dropping
const AT_A_STRETCH = 20; // hops: where one waits whenever one is done, messages must come in all the same
const WINDOW = 200; // hops over which overload is judged
const OVERLOADED = 0.5; // share of them that came too late: more than LEAN_AT waited, or they were dropped
const PAUSE_HOPS = WINDOW / 4; // one pause of the machine, however long, counts as no more: a smaller model would not end it
const PAUSE_US = 50_000; // nor does what a hop takes on the mean
const REST_MS = 5000; // bypassed for so long before the next try
const BUCKET_US = 20;
const SNAPSHOT_MS = 50;
const IDLE_SNAPSHOTS = 20; // without a hop enhanced: then there is nothing new to show
const AWAKE_MS = 100; // the longest sleep: a page that ends a stream says so, too, but may have gone before it could
const ASLEEP_MS = 1000; // when nothing was enhanced of late
const PERCENTILES_EVERY = 5; // snapshots: they walk the whole histogram

export class Stream extends Hops {
  #scheduled = false;
  /** @type {Float32Array<ArrayBuffer> | null} a hop's buffer to be used again */
  #spare = null;
  #restUntil = 0;

  /**
   * RangeError where the ring is another version's, or the model has more bands than a ring.
   * @param {import("./hops.js").Enhancing} engine
   * @param {{ buffer?: SharedArrayBuffer, port?: MessagePort }} way shared memory, or a port to the processor
   * @param {(type: string, fields?: object) => void} report posts to the page
   */
  constructor(engine, { buffer, port }, report) {
    super(engine, buffer ? new Ring(buffer) : Ring.create());
    this.report = report;
    this.port = port;
    this.histogram = new Uint32Array(2500);
    this.spent = 0; // microseconds, and hops, since the last snapshot
    this.spentHops = 0;
    this.max = 0;
    this.snapshots = 0;
    this.judged = this.strained = 0;
    this.ended = false;
    this.idle = 0; // snapshots since the last hop was enhanced
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
    if (!this.drain() && !this.#scheduled) this.drainSoon();
  }

  // With shared memory: sleep until the processor knocks, in a way that lets messages in.
  async watch() {
    while (!this.ended) {
      const { knocks } = this.ring;
      if (!this.drain() || !(await this.ring.sleep(knocks, this.timer ? AWAKE_MS : ASLEEP_MS))) await letMessagesIn();
      if (this.ring.get(H.QUIT) === 1) this.end();
    }
  }

  // Do what waits. Returns whether that was all. An enhancer that fails ends the stream: the processor plays the untouched sound.
  drain() {
    try {
      return this.work();
    } catch (error) {
      this.end(STATE.FAILED);
      this.report("error", { during: "live", message: messageOf(error) });
      return true;
    }
  }

  work() {
    const ring = this.ring;
    for (let done = 0; done < AT_A_STRETCH;) {
      if (this.ended) return true;
      this.passSilence();
      let waiting = ring.waitingHops;
      if (waiting <= 0) return true;
      if (waiting > ring.mostHops) {
        ring.add(H.OVERRUN_SAMPLES, (waiting - KEEP) * HOP);
        this.skip(waiting - KEEP);
        continue;
      }
      const bypassed = ring.get(H.STATE) === STATE.BYPASSED;
      if (bypassed && performance.now() < this.#restUntil) {
        this.skip(waiting);
        return true;
      }
      if (bypassed) {
        ring.set(H.STATE, STATE.RUNNING);
        this.report("recovered");
      }
      if (waiting > DROP_AT) {
        this.judge(Math.min(waiting - KEEP, PAUSE_HOPS), true);
        this.skip(waiting - KEEP);
        waiting = KEEP;
      }
      const lean = waiting > LEAN_AT;
      const hops = Math.min(waiting, lean ? MOST : 2);
      this.enhance(hops, lean, waiting - hops);
      done += hops;
    }
    return false;
  }

  /** @param {number} hops @param {boolean} lean @param {number} waiting */
  enhance(hops, lean, waiting) {
    const begin = performance.now();
    const leanHops = super.enhance(hops, lean, waiting);
    this.count(hops, (1000 * (performance.now() - begin)) / hops);
    // By what waited: lean frames by turns, or behind a few hops, are how a model with lean layers copes.
    this.judge(hops, lean);
    return leanHops;
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
      this.notice(this.scratch, n);
      ring.waiting(this.scratch, n, ring.latency);
      this.deliver(this.scratch, n);
    }
  }

  /** @param {Float32Array} samples @param {number} n */
  deliver(samples, n) {
    const { ring, port } = this;
    const { place } = ring;
    super.deliver(samples, n);
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
    this.spent += Math.min(us, PAUSE_US) * hops;
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
      this.showFacts();
      ring.set(H.US_MEAN, Math.round(this.spent / this.spentHops));
      if (this.spentHops > 500) this.spent = this.spentHops = 0;
      if (this.snapshots++ % PERCENTILES_EVERY === 0) {
        ring.set(H.US_P50, this.percentile(0.5));
        ring.set(H.US_P99, this.percentile(0.99));
      }
      ring.set(H.US_MAX, Math.round(this.max));
    }
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

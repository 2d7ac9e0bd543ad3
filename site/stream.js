// One live stream in the worker: takes whole hops from the input ring, enhances them, keeps up with the microphone.
import { BANDS, CAPACITY, H, HOP, LATENCY, Ring, STATE, WORKER_FIELDS, put, take } from "./ring.js";

const LEAN_AT = 5; // hops waiting: hold the gains
const DROP_AT = 25; // hops waiting: pass them on untouched
const KEEP = 2; // hops left to do properly after dropping
const WINDOW = 200; // hops over which overload is judged
const OVERLOADED = 0.5; // share of them that were lean or dropped
const REST_MS = 5000; // bypassed for so long before the next try
const BUCKET_US = 20;
const SNAPSHOT_MS = 50;
const PERCENTILES_EVERY = 5; // snapshots: they walk the whole histogram

const resting = [];
let bell;

// The worker's turn ends and comes again at once; setTimeout would make it wait for milliseconds.
export function letMessagesIn() {
  if (!bell) {
    bell = new MessageChannel();
    bell.port1.onmessage = () => resting.shift()();
  }
  return new Promise((resolve) => {
    resting.push(resolve);
    bell.port2.postMessage(0);
  });
}

export class Stream {
  // engine: see worker.js; {buffer} shared memory, or {port} to the processor; report: posts to the page
  constructor(engine, { buffer, port }, report) {
    this.engine = engine;
    this.report = report;
    this.port = port;
    this.ring = buffer ? new Ring(buffer) : Ring.create(false);
    this.histogram = new Uint32Array(2500);
    this.spent = 0; // microseconds, and hops, since the last snapshot
    this.spentHops = 0;
    this.max = 0;
    this.snapshots = 0;
    this.judged = this.strained = 0;
    this.ended = false;
    this.scratch = new Float32Array(16 * HOP);
    // Sound heard before now is not for us: begin with the next whole hop.
    const heard = Math.floor((this.ring.get(H.IN_WRITE) >>> 0) / HOP) * HOP;
    this.ring.set(H.IN_READ, heard);
    this.ring.set(H.OUT_WRITE, heard);
    this.ring.set(H.STATE, STATE.RUNNING);
    if (port) port.onmessage = ({ data }) => this.receiveHop(data);
    else this.watch();
    this.timer = setInterval(() => this.snapshot(), SNAPSHOT_MS);
  }

  control(field, value) {
    this.ring.set(field, value);
  }

  // Without shared memory.
  receiveHop({ at, samples }) {
    if (this.ended) return;
    const ring = this.ring;
    if (ring.get(H.IN_WRITE) !== at) {
      ring.set(H.IN_READ, at);
      ring.set(H.OUT_WRITE, at);
    }
    put(ring.input, at, samples, 0, HOP);
    ring.set(H.IN_WRITE, (at + HOP) | 0);
    this.spare = samples;
    // Hops that are already in the queue are taken together, so that a backlog is seen as one.
    if (!this.scheduled) {
      this.scheduled = true;
      queueMicrotask(() => {
        this.scheduled = false;
        this.drain();
      });
    }
  }

  // With shared memory: sleep until the processor rings, in a way that lets messages in.
  async watch() {
    const { head } = this.ring;
    while (!this.ended) {
      const rung = this.ring.get(H.DOORBELL);
      this.drain();
      if (Atomics.waitAsync) {
        const wait = Atomics.waitAsync(head, H.DOORBELL, rung, 100);
        if (wait.async) await wait.value;
        else await null;
      } else {
        Atomics.wait(head, H.DOORBELL, rung, 20);
        await letMessagesIn();
      }
      if (this.ring.get(H.QUIT) === 1) this.end();
    }
  }

  // Do all that waits. An enhancer that fails ends the stream: the processor plays the untouched sound.
  drain() {
    try {
      this.work();
    } catch (error) {
      this.end(STATE.FAILED);
      this.report({ type: "error", during: "live", message: String(error?.message ?? error) });
    }
  }

  work() {
    const ring = this.ring;
    for (;;) {
      if (this.ended) return;
      let waiting = Math.floor(ring.distance(H.IN_WRITE, H.IN_READ) / HOP);
      if (waiting <= 0) return;
      if (waiting * HOP > CAPACITY - LATENCY - 4 * HOP) {
        const lost = (waiting - KEEP) * HOP;
        ring.add(H.OVERRUN_SAMPLES, lost);
        this.skip(waiting - KEEP);
        continue;
      }
      const bypassed = ring.get(H.STATE) === STATE.BYPASSED;
      if (bypassed && performance.now() < this.restUntil) {
        this.skip(waiting);
        return;
      }
      if (bypassed) {
        ring.set(H.STATE, STATE.RUNNING);
        this.report({ type: "recovered" });
      }
      if (waiting > DROP_AT) {
        this.judge(waiting - KEEP, true);
        this.skip(waiting - KEEP);
        waiting = KEEP;
      }
      const lean = waiting > LEAN_AT;
      this.enhance(Math.min(waiting, lean ? 16 : 2), lean);
    }
  }

  enhance(hops, lean) {
    const { ring, engine } = this;
    const begin = performance.now();
    engine.setStrength(ring.get(H.STRENGTH));
    const at = ring.get(H.IN_READ);
    take(ring.input, at, engine.block("input"), 0, hops * HOP);
    engine.run(hops, lean);
    this.deliver(at, engine.block("output"), hops * HOP);
    this.count(hops, (1000 * (performance.now() - begin)) / hops);
    const facts = engine.block("facts"); // pitch period, voice activity, gains
    ring.set(H.PITCH, Math.round(facts[0]));
    ring.set(H.VOICE, Math.round(1000 * facts[1]));
    for (let band = 0; band < BANDS; band++) ring.set(H.GAINS + band, Math.round(1000 * facts[2 + band]));
    if (lean) ring.add(H.LEAN_HOPS, hops);
    this.judge(hops, lean);
  }

  // Pass hops on untouched: the dry signal, aligned.
  skip(hops) {
    const ring = this.ring;
    ring.add(H.DROPPED_HOPS, hops);
    ring.add(H.HOPS, hops);
    for (let left = hops; left > 0;) {
      const now = Math.min(left, 16);
      const at = ring.get(H.IN_READ);
      take(ring.input, at - LATENCY, this.scratch, 0, now * HOP);
      this.deliver(at, this.scratch, now * HOP);
      left -= now;
    }
  }

  deliver(at, samples, n) {
    const ring = this.ring;
    put(ring.output, at, samples, 0, n);
    ring.set(H.IN_READ, (at + n) | 0);
    ring.set(H.OUT_WRITE, (at + n) | 0);
    if (!this.port) return;
    for (let k = 0; k < n; k += HOP) {
      const hop = this.spare ?? new Float32Array(HOP);
      this.spare = null;
      hop.set(samples.subarray(k, k + HOP));
      this.port.postMessage({ at: (at + k) | 0, samples: hop, state: ring.get(H.STATE) }, [hop.buffer]);
    }
  }

  count(hops, us) {
    this.ring.add(H.HOPS, hops);
    this.spent += us * hops;
    this.spentHops += hops;
    this.max = Math.max(this.max, us);
    this.histogram[Math.min(this.histogram.length - 1, Math.floor(us / BUCKET_US))] += hops;
  }

  judge(hops, strained) {
    this.judged += hops;
    if (strained) this.strained += hops;
    if (this.judged < WINDOW) return;
    if (this.strained / this.judged > OVERLOADED) {
      this.ring.set(H.STATE, STATE.BYPASSED);
      this.restUntil = performance.now() + REST_MS;
      this.report({ type: "overload" });
    }
    this.judged = this.strained = 0;
  }

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
      ring.set(H.US_MEAN, Math.round(this.spent / this.spentHops));
      if (this.spentHops > 500) this.spent = this.spentHops = 0;
      if (this.snapshots++ % PERCENTILES_EVERY === 0) {
        ring.set(H.US_P50, this.percentile(0.5));
        ring.set(H.US_P99, this.percentile(0.99));
      }
      ring.set(H.US_MAX, Math.round(this.max));
    }
    ring.set(H.HEAP_KB, this.engine.heapBytes() >> 10);
    this.reportHeader();
  }

  // Without shared memory the page has a header of its own.
  reportHeader() {
    if (this.port) this.report({ type: "header", values: WORKER_FIELDS.map((field) => this.ring.get(field)) });
  }

  end(state = STATE.ENDED) {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.timer);
    this.ring.set(H.STATE, state);
    this.reportHeader();
    this.port?.postMessage({ state });
    this.port?.close();
    this.engine.destroy();
  }
}

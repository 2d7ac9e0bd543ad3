// The audio thread's side: writes what it hears into the input ring and plays enhanced sound at a constant delay. Where a hop takes
// little it enhances as well, in the moment in which a hop is complete; else a worker does, and is woken. When enhanced sound is not
// there in time the dry signal of the same moment is played, so speech is never lost.
import { Hops, silent } from "./hops.js";
import { Arrival } from "./instance.js";
import {
  FROM_PROCESSOR,
  FROM_STREAM,
  TO_PROCESSOR,
  TO_STREAM,
  messageOf,
  received,
  send,
  unreadable,
} from "./protocol.js";
import { Resampler, SLACK, grown } from "./resampler.js";
import { H, HOP, Ring, SAMPLE_RATE, STATE } from "./ring.js";
import { FOLLOWED, Succession } from "./succession.js";

const FADE = 1 / 240; // a sample: 5 ms from dry to enhanced
const TURN = 1 / 480; // a sample: 10 ms from one latency to another
const DECAY = 0.985; // a sample: what a sudden change leaves behind dies away in some milliseconds
const INAUDIBLE = 1e-9; // of it
const MAX_DELAY = 12 * HOP;
const MAX_STEP = 4 * HOP; // one long pause of the machine must not cost delay for good
const METER_SAMPLES = 4800;

// Of several input channels those count that carry sound: a microphone often lives on one of two.
const MOST_CHANNELS = 32;
const CARRIES = 0.03; // of the loudest channel's level: -30 dB
const LEVEL_S = 10; // in which a channel's level falls to 1/e
const MIX = 1 / 960; // a sample: 20 ms from counting to not counting

// How the delay comes back.
const PERIOD = 5 * SAMPLE_RATE; // the least margin of each such stretch is kept
const PERIODS = 12; // of them: a minute
const NOT_YET = 2 ** 30; // margin of what was not measured
const LEAST_RETURN = 48; // samples: less is not worth it
const QUIET = 0.03; // of the loudest sample of late: -30 dB
const SILENT = 1e-3; // -60 dB of full scale is quiet in any case
const LOUD_S = 5; // in which the loudest sample is forgotten to 1/e

const REST_AFTER = 10 * SAMPLE_RATE; // of digital silence
const LEAD_IN = 64; // hops heard before the model came that it hears: what `Instance` itself remembers of the sound
const SHOWN_HOPS = 5; // facts of the last hop are written down so often
const JUDGED_HOPS = 200; // of so many, half of those that are not lean may take, and no more,
const SLOW_MS = 3; // by a clock of whole milliseconds, the only one here: then sound is given to a worker

const REST_HOPS = 48; // then the worker is woken for so many at once: about half a second, which the ring holds well

/** The highest of n samples. @param {Float32Array} samples @param {number} n */
function peakOf(samples, n) {
  let peak = 0;
  for (let i = 0; i < n; i++) {
    const size = Math.abs(samples[i]);
    if (size > peak) peak = size;
  }
  return peak;
}

class DenoiserProcessor extends AudioWorkletProcessor {
  /** @param {{ processorOptions: { buffer?: SharedArrayBuffer, delay: number, latency: number } }} options */
  constructor(options) {
    super();
    const { buffer, delay, latency } = options.processorOptions;
    this.shared = Boolean(buffer);
    this.ring = buffer ? new Ring(buffer) : Ring.create({ latency });
    this.ring.playAfter(delay);
    this.latency = this.ring.latency; // of what is played
    this.turned = 0; // how far it has changed to another
    this.ring.set(H.HEARD_LATENCY, this.latency);
    this.mono = new Float32Array(4096);
    this.levels = new Float32Array(MOST_CHANNELS);
    this.weights = new Float32Array(MOST_CHANNELS).fill(1);
    this.channels = 0; // heard in the block before
    this.played = new Float32Array(8192);
    this.dry = new Float32Array(8192);
    this.otherDry = new Float32Array(8192);
    this.wet = new Float32Array(8192);
    this.ahead = new Float32Array(8192);
    if (sampleRate !== SAMPLE_RATE) {
      this.up = new Resampler(sampleRate, SAMPLE_RATE);
      this.down = new Resampler(SAMPLE_RATE, sampleRate);
    }
    this.waiting = new Float32Array(8192); // at the context's rate
    this.waits = SLACK;
    this.wetGain = 0;
    this.residual = 0; // what is left of a jump
    this.lastOut = 0;
    this.primed = false;
    this.late = false;
    this.behind = 0; // samples that enhanced sound came too late by, in this underrun
    this.least = delay;
    this.margins = new Int32Array(PERIODS).fill(0); // the least of each period: samples that were enhanced before they were needed
    this.period = 0;
    this.inPeriod = 0;
    this.loudest = 0;
    this.still = 0; // samples of digital silence, up to now
    this.rests = false;
    this.peakIn = this.peakOut = 0;
    this.metered = this.sinceHop = 0;
    this.alive = true;
    /** @type {Hops | null} what enhances here */
    this.here = null;
    /** @type {Arrival | null} the next model's stream, as it comes */
    this.arrival = null;
    this.hopsHere = this.judged = this.fullHops = this.slowHops = 0;
    this.later = 0; // samples that what is played is to be late by, more than so far
    /** @type {Float32Array<ArrayBuffer>[]} */
    this.spare = [];
    this.port.onmessageerror = () => this.leave(unreadable(TO_PROCESSOR));
    this.port.onmessage = ({ data }) => this.guarded(() => this.receive(received(TO_PROCESSOR, data)));
  }

  // What is wrong with a message is told to the node, and the sound goes on.
  /** @param {() => void} work */
  guarded(work) {
    try {
      work();
    } catch (error) {
      this.tell(messageOf(error));
    }
  }

  /** @param {string} message */
  tell(message) {
    send(this.port, FROM_PROCESSOR, "error", { message });
  }

  /** @param {any} message */
  receive({ type, field, value, port, samples, ...carried }) {
    if (type === "control") this.ring.set(H[/** @type {keyof typeof H} */ (field)], value);
    if (type === "enhance") this.welcome(carried);
    if (type === "wait") {
      if (this.here) this.leave("the model is too slow for the audio thread");
      this.later = Math.max(0, samples - this.least);
      this.least += this.later;
    }
    if (type === "dispose") this.alive = false;
    if (type === "connect") {
      this.worker = port;
      this.ring.begin();
      port.onmessageerror = () => this.tell(unreadable(FROM_STREAM));
      port.onmessage = (/** @type {MessageEvent} */ { data }) =>
        this.guarded(() => this.receiveAnswer(received(FROM_STREAM, data)));
    }
  }

  // What is to enhance here begins to arrive.
  /** @param {import("./instance.js").Carried} carried */
  welcome(carried) {
    try {
      this.arrival = new Arrival(carried);
    } catch (error) {
      return this.leave(messageOf(error));
    }
  }

  // Nothing is enhanced here any more: a worker may.
  /** @param {string} message why */
  leave(message) {
    this.here?.engine.destroy();
    this.here = this.arrival = null;
    this.primed = false;
    this.ring.set(H.STATE, STATE.LOADING);
    send(this.port, FROM_PROCESSOR, "refused", { message });
  }

  // The first model begins as one who has heard what was heard until it came, a few hops beside each block. Returns whether it has.
  /** @param {import("./instance.js").Instance} instance */
  catchUp(instance) {
    const { ring } = this;
    ring.taken(HOP * Math.max(0, ring.waitingHops - LEAD_IN));
    const hops = Math.min(FOLLOWED, ring.waitingHops);
    const input = instance.block("input");
    ring.waiting(input, hops * HOP);
    ring.taken(hops * HOP);
    // What there is before a microphone opens tells nothing.
    if (instance.heard || !silent(input, hops * HOP)) instance.run(hops, false);
    return ring.waitingHops === 0;
  }

  // Hops that are complete, and the next piece of what arrives.
  enhance() {
    const { arrival } = this;
    if (!arrival && this.ring.waitingHops === 0) return;
    const begin = Date.now();
    let hops = 0;
    let leanHops = 0;
    try {
      if (arrival?.step() && (this.here || this.catchUp(arrival.instance))) {
        this.arrival = null;
        if (this.here) this.here.engine.change(arrival.instance);
        else {
          this.here = new Hops(new Succession(arrival.instance), this.ring);
          send(this.port, FROM_PROCESSOR, "begun");
        }
      }
      const { here, ring } = this;
      if (!here) return;
      here.passSilence();
      for (; ring.waitingHops > 0; hops++) {
        leanHops += here.enhance(1, false, 0); // those of one block do not wait
        if (++this.hopsHere % SHOWN_HOPS === 0) here.showFacts();
      }
    } catch (error) {
      return this.leave(messageOf(error));
    }
    this.judged += hops;
    if (hops && leanHops !== hops) {
      this.fullHops += hops;
      if (Date.now() - begin >= SLOW_MS * hops) this.slowHops += hops;
    }
    if (this.judged < JUDGED_HOPS) return;
    if (this.slowHops > this.fullHops / 2) this.leave(`${this.slowHops} of ${this.fullHops} hops took too long`);
    this.judged = this.fullHops = this.slowHops = 0;
  }

  // Without shared memory: enhanced hops arrive as messages, their buffers are used again.
  /** @param {{ type: string, at: number, samples: Float32Array<ArrayBuffer>, state: number, latency: number }} message */
  receiveAnswer({ type, at, samples, state, latency }) {
    this.ring.set(H.STATE, state);
    if (type === "end") return;
    this.ring.set(H.LATENCY, latency);
    this.ring.receiveAnswer(at, samples);
    this.spare.push(samples);
  }

  /** @param {Float32Array[][]} inputs @param {Float32Array[][]} outputs */
  process(inputs, outputs) {
    const ring = this.ring;
    const channels = outputs[0];
    const n = channels[0].length;
    this.mono = grown(this.mono, 0, n);
    this.listen(inputs[0], n);
    const sound = this.up ? this.up.process(this.mono, n) : this.mono;
    const m = this.up ? sound.length : n; // at 48 kHz
    ring.hear(sound, m);
    this.still = silent(sound, m) ? Math.min(this.still + m, REST_AFTER) : 0;
    ring.set(H.BLOCK, n);
    if (this.here || this.arrival) this.enhance();
    this.played = grown(this.played, 0, m);
    this.play(this.down ? this.played : channels[0], m);
    if (this.down) this.resampled(this.down, channels[0], m);
    for (let c = 1; c < channels.length; c++) channels[c].set(channels[0]);
    this.meter(m);
    this.sinceHop += m;
    if (this.sinceHop >= HOP) {
      this.sinceHop %= HOP;
      if (!this.here) this.announce();
    }
    return this.alive && ring.get(H.QUIT) === 0;
  }

  // The input channels that carry sound, mixed to one. This and `play` run for every block: one channel, which is what most have, and
  // enhanced sound with nothing to pass over to are copied.
  /** @param {Float32Array[]} input @param {number} n */
  listen(input, n) {
    const { mono, levels, weights } = this;
    const count = Math.min(input.length, MOST_CHANNELS);
    for (let c = count; c < this.channels; c++) {
      levels[c] = 0;
      weights[c] = 1;
    }
    this.channels = count;
    const keep = 1 - n / (LEVEL_S * sampleRate);
    let before = 0;
    let loudest = 0;
    let peak = 0;
    for (let c = 0; c < count; c++) {
      before = Math.max(before, levels[c]);
      peak = peakOf(input[c], n);
      levels[c] = Math.max(peak, keep * levels[c]);
      loudest = Math.max(loudest, levels[c]);
    }
    if (count === 1) {
      mono.set(input[0]);
      weights[0] = 1;
    } else {
      this.mix(input, count, n, before === 0, CARRIES * loudest);
      peak = peakOf(mono, n);
    }
    this.peakIn = Math.max(this.peakIn, peak);
  }

  // Channels of the level `least` or more count. atOnce: nothing was heard so far that could jump.
  /** @param {Float32Array[]} input @param {number} count @param {number} n @param {boolean} atOnce @param {number} least */
  mix(input, count, n, atOnce, least) {
    const { mono, levels, weights } = this;
    mono.fill(0, 0, n);
    let total = 0; // of the weights, at the block's beginning; and how it goes on
    for (let c = 0; c < count; c++) total += weights[c];
    if (atOnce || total === 0) {
      for (let c = 0; c < count; c++) weights[c] = levels[c] >= least ? 1 : 0;
      total = weights.subarray(0, count).reduce((a, b) => a + b, 0);
    }
    let slope = 0;
    for (let c = 0; c < count; c++) slope += this.turn(c, levels[c] >= least ? 1 : 0, n);
    for (let c = 0; c < count; c++) {
      const channel = input[c];
      const target = levels[c] >= least ? 1 : 0;
      const step = this.turn(c, target, n);
      const share = weights[c] / total;
      if (step === 0 && slope === 0) for (let i = 0; i < n; i++) mono[i] += share * channel[i];
      else for (let i = 0; i < n; i++) mono[i] += ((weights[c] + step * i) * channel[i]) / (total + slope * i);
      weights[c] = Math.abs(target - weights[c] - step * n) < 1e-6 ? target : weights[c] + step * n;
    }
  }

  // By how much a channel's weight changes with each sample of this block.
  /** @param {number} c @param {number} target @param {number} n */
  turn(c, target, n) {
    const left = target - this.weights[c];
    return Math.max(-MIX, Math.min(MIX, left / n));
  }

  // A block at the context's rate from what was played at 48 kHz.
  /** @param {Resampler} down @param {Float32Array} out @param {number} m */
  resampled(down, out, m) {
    const fresh = down.process(this.played, m);
    this.waiting = grown(this.waiting, this.waits, this.waits + fresh.length);
    this.waiting.set(fresh, this.waits);
    this.waits += fresh.length;
    const n = Math.min(out.length, this.waits);
    out.set(this.waiting.subarray(0, n));
    this.waiting.copyWithin(0, n, this.waits);
    this.waits -= n;
  }

  /** @param {Float32Array} out @param {number} n */
  play(out, n) {
    const ring = this.ring;
    const running = ring.get(H.STATE) === STATE.RUNNING;
    if (this.wetGain === 1) this.adopt(ring.latency);
    const bypass = ring.get(H.BYPASS) === 1 || !running || ring.latency !== this.latency;
    const moves = this.moves();
    const ready = ring.ready(n);
    const moved = moves || (this.behind > 0 && ready === n && this.wait());
    const dry = this.drySound(n);
    if (this.resting(ready === n, dry, n)) return this.playNothing(out, n);
    if (moved) {
      this.residual = this.lastOut - dry[0];
      this.wetGain = 0;
    }
    // Enhanced sound must cover the whole block to be started, and its first sample to go on.
    if (!this.primed && running && ready === n && ring.begun) this.primed = true;
    const wet = (this.wet = grown(this.wet, 0, n));
    if (this.primed) ring.wet(wet, n);
    const skipped = running && ready === n && this.primed ? this.comeBack(dry, wet, bypass, n) : 0;
    const steady = this.primed && ready === n && !bypass && this.wetGain === 1 && this.residual === 0;
    const missed = steady ? 0 : this.passOver(out, dry, wet, ready, bypass, n);
    if (steady) for (let i = 0; i < n; i++) this.lastOut = out[i] = wet[i];
    const peak = peakOf(out, n);
    this.peakOut = Math.max(this.peakOut, peak);
    this.loudest = Math.max(peak, (1 - n / (LOUD_S * SAMPLE_RATE)) * this.loudest);
    ring.played(n);
    if (skipped) ring.playLater(-skipped);
    if (missed) this.underrun(missed, n - ready);
  }

  // From the untouched sound to the enhanced, or back, and what is left of a jump. Returns the samples that are not there in time.
  /**
   * @param {Float32Array} out @param {Float32Array} dry @param {Float32Array} wet
   * @param {number} ready @param {boolean} bypass @param {number} n
   */
  passOver(out, dry, wet, ready, bypass, n) {
    let missed = 0;
    for (let i = 0; i < n; i++) {
      let value = dry[i];
      if (i < ready && this.primed) {
        this.wetGain = bypass ? Math.max(0, this.wetGain - FADE) : Math.min(1, this.wetGain + FADE);
        value += this.wetGain * (wet[i] - value);
      } else if (this.wetGain > 0) {
        this.residual = this.lastOut - value;
        this.wetGain = 0;
      }
      if (i >= ready && this.primed && !bypass) missed++;
      this.residual *= DECAY;
      this.lastOut = out[i] = value + this.residual;
    }
    if (Math.abs(this.residual) < INAUDIBLE) this.residual = 0;
    return missed;
  }

  // The untouched sound of this block, as late as enhanced sound is. Where the model has another latency than the one before it, or
  // than it was declared to have, one passes over into the other while no enhanced sound is heard. Where nothing else is heard, that
  // itself has passed over.
  /** @param {number} n */
  drySound(n) {
    const ring = this.ring;
    const { latency } = ring;
    const dry = (this.dry = grown(this.dry, 0, n));
    ring.dry(dry, n, this.latency);
    if (latency === this.latency || this.wetGain > 0) return dry;
    const other = (this.otherDry = grown(this.otherDry, 0, n));
    ring.dry(other, n, latency);
    for (let i = 0; i < n; i++) {
      this.turned = Math.min(1, this.turned + TURN);
      dry[i] += this.turned * (other[i] - dry[i]);
    }
    if (this.turned === 1) this.adopt(latency);
    return dry;
  }

  /** @param {number} latency */
  adopt(latency) {
    if (latency === this.latency) return;
    this.turned = 0;
    this.latency = latency;
    this.ring.set(H.HEARD_LATENCY, latency);
  }

  /** @param {number} missed @param {number} behind */
  underrun(missed, behind) {
    const ring = this.ring;
    ring.add(H.UNDERRUN_SAMPLES, missed);
    if (!this.late) ring.add(H.UNDERRUNS, 1);
    this.late = true;
    this.behind = Math.max(this.behind, behind);
  }

  // What enhances from now on needs more time.
  moves() {
    const { later } = this;
    this.later = 0;
    if (later === 0) return false;
    this.ring.playLater(later);
    this.shiftMargins(later);
    return true;
  }

  // The underrun is over. The machine delivers sound in larger portions than allowed for: from now on wait for as much longer
  // as it was late. Returns whether the sound has moved.
  wait() {
    const step = Math.min(MAX_DELAY - this.ring.get(H.DELAY), MAX_STEP, Math.ceil(this.behind / HOP) * HOP);
    this.margins[this.period] = Math.min(this.margins[this.period], -this.behind);
    this.behind = 0;
    if (step <= 0) return false;
    this.ring.playLater(step);
    this.shiftMargins(step);
    return true;
  }

  // How the delay comes back. Of each block that is enhanced in time it is known how much earlier it could have been played; the
  // least of that over a minute is delay that the machine does not need. It goes in pauses, where nobody hears it, a hop at most at
  // once: this block passes over into what comes so much later, if it is quiet from here to there. Returns the samples that are
  // left out.
  /** @param {Float32Array} dry @param {Float32Array} wet @param {boolean} bypass @param {number} n */
  comeBack(dry, wet, bypass, n) {
    const { ring, margins } = this;
    margins[this.period] = Math.min(margins[this.period], ring.outFill - n);
    this.inPeriod += n;
    if (this.inPeriod >= PERIOD) {
      this.inPeriod = 0;
      this.period = (this.period + 1) % PERIODS;
      margins[this.period] = NOT_YET;
    }
    let spare = ring.get(H.DELAY) - this.least;
    if (spare < LEAST_RETURN || this.wetGain !== (bypass ? 0 : 1)) return 0;
    for (let k = 0; k < PERIODS; k++) spare = Math.min(spare, margins[k] - n); // a block stays for what did not come yet
    const step = Math.min(HOP, spare);
    if (step < LEAST_RETURN || ring.ready(step + n) < step + n) return 0;
    const ahead = (this.ahead = grown(this.ahead, 0, step + n));
    if (bypass) ring.dry(ahead, step + n, this.latency);
    else ring.wet(ahead, step + n);
    const limit = Math.max(SILENT, QUIET * this.loudest);
    for (let i = 0; i < step + n; i++) if (Math.abs(ahead[i]) > limit) return 0;
    const now = bypass ? dry : wet;
    for (let i = 0; i < n; i++) now[i] += ((i + 1) / n) * (ahead[step + i] - now[i]);
    this.shiftMargins(-step);
    return step;
  }

  // What is played later, or sooner, has more margin, or less.
  /** @param {number} samples */
  shiftMargins(samples) {
    for (let k = 0; k < PERIODS; k++) this.margins[k] += samples;
  }

  // After long digital silence the worker is woken now and then. What it owes then is silence, too: nothing is missed. Returns
  // whether that is so for this block.
  /** @param {boolean} ready @param {Float32Array} dry @param {number} n */
  resting(ready, dry, n) {
    const soundCame = this.still < REST_AFTER;
    if (ready) this.rests = !soundCame;
    return this.rests && (this.rests = silent(dry, n));
  }

  /** @param {Float32Array} out @param {number} n */
  playNothing(out, n) {
    out.fill(0, 0, n);
    this.lastOut = this.residual = 0;
    this.ring.played(n);
  }

  /** @param {number} n */
  meter(n) {
    if (this.wetGain === 1) this.late = false;
    this.metered += n;
    if (this.metered < METER_SAMPLES) return;
    this.metered = 0;
    this.ring.set(H.PEAK_IN, Math.min(2e9, this.peakIn * 1e6));
    this.ring.set(H.PEAK_OUT, Math.min(2e9, this.peakOut * 1e6));
    this.peakIn = this.peakOut = 0;
    if (this.shared) return;
    const enhancing = this.here ? this.ring.written("worker") : undefined;
    send(this.port, FROM_PROCESSOR, "header", { values: this.ring.written("processor"), enhancing });
  }

  // Tell the worker that a hop is complete; while this rests, only that many are. As messages, silence need not go at all: where
  // sound comes again, what the model looks back to goes before it.
  announce() {
    const { ring, worker } = this;
    const rests = this.rests && this.still === REST_AFTER;
    if (this.shared) {
      if (!rests || ring.waitingHops >= REST_HOPS) ring.knock();
    } else if (rests) ring.taken(HOP * Math.max(0, ring.waitingHops - Math.ceil(this.latency / HOP)));
    else if (worker) {
      while (ring.waitingHops > 0) {
        const samples = this.spare.pop() ?? new Float32Array(HOP);
        const at = ring.place;
        ring.waiting(samples, HOP);
        ring.taken(HOP);
        send(worker, TO_STREAM, "hop", { at, samples }, [samples.buffer]);
      }
    }
  }
}

registerProcessor("pyenhance-denoiser", DenoiserProcessor);

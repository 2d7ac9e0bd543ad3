// The audio thread's side: writes what it hears into the input ring and plays enhanced sound at a constant delay. When enhanced
// sound is not there in time it plays the dry signal of the same moment, so speech is never lost.
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

const FADE = 1 / 240; // a sample: 5 ms from dry to enhanced
const TURN = 1 / 480; // a sample: 10 ms from one latency to another
const DECAY = 0.985; // a sample: what a sudden change leaves behind dies away in some milliseconds
const MAX_DELAY = 12 * HOP;
const MAX_STEP = 4 * HOP; // one long pause of the machine must not cost delay for good
const METER_SAMPLES = 4800;

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
    this.played = new Float32Array(8192);
    this.dry = new Float32Array(8192);
    this.otherDry = new Float32Array(8192);
    this.wet = new Float32Array(8192);
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
    this.peakIn = this.peakOut = 0;
    this.metered = this.sinceHop = 0;
    this.alive = true;
    /** @type {Float32Array<ArrayBuffer>[]} */
    this.spare = [];
    this.port.onmessageerror = () => this.tell(unreadable(TO_PROCESSOR));
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

  /** @param {{ type: string, field: keyof typeof H, value: number, port: MessagePort }} message */
  receive({ type, field, value, port }) {
    if (type === "control") this.ring.set(H[field], value);
    if (type === "dispose") this.alive = false;
    if (type === "connect") {
      this.worker = port;
      this.ring.begin();
      port.onmessageerror = () => this.tell(unreadable(FROM_STREAM));
      port.onmessage = ({ data }) => this.guarded(() => this.receiveAnswer(received(FROM_STREAM, data)));
    }
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
    ring.set(H.BLOCK, n);
    this.played = grown(this.played, 0, m);
    this.play(this.down ? this.played : channels[0], m);
    if (this.down) this.resampled(this.down, channels[0], m);
    for (let c = 1; c < channels.length; c++) channels[c].set(channels[0]);
    this.meter(m);
    this.sinceHop += m;
    if (this.sinceHop >= HOP) {
      this.sinceHop %= HOP;
      this.announce();
    }
    return this.alive && ring.get(H.QUIT) === 0;
  }

  // All input channels, mixed to one.
  /** @param {Float32Array[]} input @param {number} n */
  listen(input, n) {
    const mono = this.mono;
    mono.fill(0, 0, n);
    const scale = 1 / Math.max(1, input.length);
    for (let c = 0; c < input.length; c++) {
      const channel = input[c];
      for (let i = 0; i < n; i++) mono[i] += scale * channel[i];
    }
    for (let i = 0; i < n; i++) this.peakIn = Math.max(this.peakIn, Math.abs(mono[i]));
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
    const bypass = ring.get(H.BYPASS) === 1 || !running || ring.latency !== this.latency;
    const ready = ring.ready(n);
    const moved = this.behind > 0 && ready === n && this.wait();
    const dry = this.drySound(n);
    if (moved) {
      this.residual = this.lastOut - dry[0];
      this.wetGain = 0;
    }
    // Enhanced sound must cover the whole block to be started, and its first sample to go on.
    if (!this.primed && running && ready === n && ring.begun) this.primed = true;
    const wet = (this.wet = grown(this.wet, 0, n));
    if (this.primed) ring.wet(wet, n);
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
      this.peakOut = Math.max(this.peakOut, Math.abs(out[i]));
    }
    ring.played(n);
    if (missed) this.underrun(missed, n - ready);
  }

  // The untouched sound of this block, as late as enhanced sound is. Where the model turns out to have another latency than it was
  // declared to have, one passes over into the other once no enhanced sound is heard.
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
    if (this.turned === 1) {
      this.turned = 0;
      this.latency = latency;
      ring.set(H.HEARD_LATENCY, latency);
    }
    return dry;
  }

  /** @param {number} missed @param {number} behind */
  underrun(missed, behind) {
    const ring = this.ring;
    ring.add(H.UNDERRUN_SAMPLES, missed);
    if (!this.late) ring.add(H.UNDERRUNS, 1);
    this.late = true;
    this.behind = Math.max(this.behind, behind);
  }

  // The underrun is over. The machine delivers sound in larger portions than allowed for: from now on wait for as much longer
  // as it was late. Returns whether the sound has moved.
  wait() {
    const step = Math.min(MAX_DELAY - this.ring.get(H.DELAY), MAX_STEP, Math.ceil(this.behind / HOP) * HOP);
    this.behind = 0;
    if (step <= 0) return false;
    this.ring.playLater(step);
    return true;
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
    if (!this.shared) send(this.port, FROM_PROCESSOR, "header", { values: this.ring.written("processor") });
  }

  // Tell the worker that a hop is complete.
  announce() {
    const { ring, worker } = this;
    if (this.shared) ring.knock();
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

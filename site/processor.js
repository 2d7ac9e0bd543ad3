// The audio thread's side: writes what it hears into the input ring and plays enhanced sound at a constant delay. When enhanced
// sound is not there in time it plays the dry signal of the same moment, so speech is never lost.
import { Resampler, SLACK, grown } from "./resample.js";
import { CAPACITY, H, HOP, LATENCY, PROCESSOR_FIELDS, Ring, SAMPLE_RATE, STATE, put } from "./ring.js";

const MASK = CAPACITY - 1;
const FADE = 1 / 240; // a sample: 5 ms from dry to enhanced
const DECAY = 0.985; // a sample: what a sudden change leaves behind dies away in some milliseconds
const MAX_DELAY = 12 * HOP;
const MAX_STEP = 4 * HOP; // one long pause of the machine must not cost delay for good
const METER_SAMPLES = 4800;

class DenoiserProcessor extends AudioWorkletProcessor {
  constructor(options) {
    super();
    const { buffer, delay } = options.processorOptions;
    this.shared = Boolean(buffer);
    this.ring = buffer ? new Ring(buffer) : Ring.create(false);
    this.ring.set(H.DELAY, delay);
    this.mono = new Float32Array(4096);
    this.played = new Float32Array(8192);
    if (sampleRate !== SAMPLE_RATE) {
      this.up = new Resampler(sampleRate, SAMPLE_RATE);
      this.down = new Resampler(SAMPLE_RATE, sampleRate);
      this.waiting = new Float32Array(8192); // at the context's rate
      this.waits = SLACK;
    }
    this.wetGain = 0;
    this.residual = 0; // what is left of a jump
    this.lastOut = 0;
    this.primed = false;
    this.behind = 0; // samples that enhanced sound came too late by, in this underrun
    this.peakIn = this.peakOut = 0;
    this.metered = this.sinceHop = 0;
    this.alive = true;
    this.port.onmessage = ({ data }) => this.receive(data);
    if (!this.shared) this.spare = [];
  }

  receive(message) {
    if (message.control) this.ring.set(message.control[0], message.control[1]);
    if (message.worker) {
      this.worker = message.worker;
      this.ring.set(H.IN_READ, (this.ring.get(H.IN_WRITE) - this.sinceHop) | 0); // begin with the next whole hop
      this.worker.onmessage = ({ data }) => this.receiveHops(data);
    }
    if (message.dispose) this.alive = false;
  }

  // Without shared memory: enhanced hops arrive as messages, their buffers are used again.
  receiveHops({ at, samples, state }) {
    this.ring.set(H.STATE, state);
    if (!samples) return; // the stream has ended
    put(this.ring.output, at, samples, 0, samples.length);
    this.ring.set(H.OUT_WRITE, (at + samples.length) | 0);
    if (samples.length === HOP) this.spare.push(samples);
  }

  process(inputs, outputs) {
    const ring = this.ring;
    const channels = outputs[0];
    const n = channels[0].length;
    this.mono = grown(this.mono, 0, n);
    this.listen(inputs[0], n);
    const sound = this.up ? this.up.process(this.mono, n) : this.mono;
    const m = this.up ? sound.length : n; // at 48 kHz
    const heard = ring.get(H.IN_WRITE);
    put(ring.input, heard, sound, 0, m);
    ring.set(H.IN_WRITE, (heard + m) | 0);
    ring.set(H.BLOCK, n);
    this.played = grown(this.played, 0, m);
    this.play(this.down ? this.played : channels[0], m, (heard - ring.get(H.DELAY)) | 0);
    if (this.down) this.resampled(channels[0], m);
    for (let c = 1; c < channels.length; c++) channels[c].set(channels[0]);
    this.meter(m);
    this.sinceHop += m;
    if (this.sinceHop >= HOP) {
      this.sinceHop %= HOP;
      this.announce(heard + m);
    }
    return this.alive && ring.get(H.QUIT) === 0;
  }

  // All input channels, mixed to one.
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
  resampled(out, m) {
    const fresh = this.down.process(this.played, m);
    this.waiting = grown(this.waiting, this.waits, this.waits + fresh.length);
    this.waiting.set(fresh, this.waits);
    this.waits += fresh.length;
    const n = Math.min(out.length, this.waits);
    out.set(this.waiting.subarray(0, n));
    this.waiting.copyWithin(0, n, this.waits);
    this.waits -= n;
  }

  play(out, n, at) {
    const ring = this.ring;
    const running = ring.get(H.STATE) === STATE.RUNNING;
    const bypass = ring.get(H.BYPASS) === 1 || !running;
    const ready = Math.min(n, (ring.get(H.OUT_WRITE) - at) | 0);
    if (this.behind && ready === n) at = this.wait(at);
    // Enhanced sound must cover the whole block to be started, and its first sample to go on.
    if (!this.primed && running && ready === n) this.primed = true;
    let missed = 0;
    for (let i = 0; i < n; i++) {
      const dry = ring.input[(at + i - LATENCY) & MASK];
      let value = dry;
      if (i < ready && this.primed) {
        this.wetGain = bypass ? Math.max(0, this.wetGain - FADE) : Math.min(1, this.wetGain + FADE);
        value += this.wetGain * (ring.output[(at + i) & MASK] - dry);
      } else if (this.wetGain > 0) {
        this.residual = this.lastOut - dry;
        this.wetGain = 0;
      }
      if (i >= ready && this.primed && !bypass) missed++;
      this.residual *= DECAY;
      this.lastOut = out[i] = value + this.residual;
      this.peakOut = Math.max(this.peakOut, Math.abs(out[i]));
    }
    ring.set(H.OUT_READ, (at + n) | 0);
    if (missed) this.underrun(missed, n - ready);
  }

  underrun(missed, behind) {
    const ring = this.ring;
    ring.add(H.UNDERRUN_SAMPLES, missed);
    if (!this.late) ring.add(H.UNDERRUNS, 1);
    this.late = true;
    this.behind = Math.max(this.behind, behind);
  }

  // The underrun is over. The machine delivers sound in larger portions than allowed for: from now on wait for as much longer
  // as it was late. Returns the place to go on from.
  wait(at) {
    const ring = this.ring;
    const delay = ring.get(H.DELAY);
    const step = Math.min(MAX_DELAY - delay, MAX_STEP, Math.ceil(this.behind / HOP) * HOP);
    this.behind = 0;
    if (step <= 0) return at;
    ring.set(H.DELAY, delay + step);
    const dry = ring.input[(at - step - LATENCY) & MASK];
    this.residual = this.lastOut - dry;
    this.wetGain = 0;
    return (at - step) | 0;
  }

  meter(n) {
    if (this.wetGain === 1) this.late = false;
    this.metered += n;
    if (this.metered < METER_SAMPLES) return;
    this.metered = 0;
    this.ring.set(H.PEAK_IN, Math.min(2e9, this.peakIn * 1e6));
    this.ring.set(H.PEAK_OUT, Math.min(2e9, this.peakOut * 1e6));
    this.peakIn = this.peakOut = 0;
    if (!this.shared) this.port.postMessage(PROCESSOR_FIELDS.map((field) => this.ring.get(field)));
  }

  // Tell the worker that a hop is complete.
  announce(heard) {
    const ring = this.ring;
    if (this.shared) {
      ring.add(H.DOORBELL, 1);
      Atomics.notify(ring.head, H.DOORBELL);
    } else if (this.worker) {
      const read = ring.get(H.IN_READ);
      const whole = Math.floor(((heard - read) | 0) / HOP) * HOP;
      for (let k = 0; k < whole; k += HOP) {
        const samples = this.spare.pop() ?? new Float32Array(HOP);
        for (let i = 0; i < HOP; i++) samples[i] = ring.input[(read + k + i) & MASK];
        this.worker.postMessage({ at: (read + k) | 0, samples }, [samples.buffer]);
      }
      ring.set(H.IN_READ, (read + whole) | 0);
    }
  }
}

registerProcessor("pyenhance-denoiser", DenoiserProcessor);

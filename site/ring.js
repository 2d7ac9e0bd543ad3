// The memory that the audio processor and the worker share: an Int32 header and two float32 rings in one buffer.
//
// Every field has one writer. Counters are free-running uint32 and double as sample clocks: output sample n belongs to input
// sample n - LATENCY, so the dry signal for an A/B comparison is found in the input ring and never copied.
// In a page without SharedArrayBuffer each side holds a buffer of its own and samples travel as messages.

export const VERSION = 1;
export const HOP = 480;
export const SAMPLE_RATE = 48000;
export const LATENCY = 1440;
export const CAPACITY = 65536; // samples a ring: a power of two, 1.4 s

// Header fields. Each has one writer: C the page's control, P the processor, W the worker.
export const H = {
  VERSION: 0, // C
  BYPASS: 1, // C   1: play the dry signal, aligned
  STRENGTH: 2, // C   largest attenuation in hundredths of a dB, -1: no limit
  QUIT: 3, // C   1: the stream ends
  IN_WRITE: 4, // P   samples heard
  OUT_READ: 5, // P   samples played: IN_WRITE less the transport's delay
  DOORBELL: 6, // P   rung when a hop is waiting
  UNDERRUNS: 7, // P   times that enhanced sound came too late and the dry signal was played
  UNDERRUN_SAMPLES: 8, // P
  DELAY: 9, // P   samples that the transport adds to LATENCY
  PEAK_IN: 10, // P   highest sample of the last tenth of a second, millionths
  PEAK_OUT: 11, // P
  BLOCK: 12, // P   samples of the last block
  STATE: 13, // W   see STATE
  IN_READ: 14, // W   samples taken
  OUT_WRITE: 15, // W   samples enhanced
  HOPS: 16, // W   hops done
  LEAN_HOPS: 17, // W   of these, on the lean path
  DROPPED_HOPS: 18, // W   of these, passed on untouched
  OVERRUN_SAMPLES: 19, // W   samples lost to a full input ring
  US_MEAN: 20, // W   microseconds a hop over the last seconds, and since the start:
  US_P50: 21, // W
  US_P99: 22, // W
  US_MAX: 23, // W
  PITCH: 24, // W   pitch period in samples
  VOICE: 25, // W   voice activity, thousandths
  HEAP_KB: 26, // W   memory of the Python engine
  GAINS: 27, // W   34 fields: the band gains of the last hop, thousandths
};
export const BANDS = 34;
export const PROCESSOR_FIELDS = [4, 5, 6, 7, 8, 9, 10, 11, 12];
export const WORKER_FIELDS = Array.from({ length: H.GAINS + BANDS - H.STATE }, (_, i) => H.STATE + i);
export const HEADER_INTS = 64;
export const STATE = { LOADING: 0, RUNNING: 1, BYPASSED: 2, FAILED: 3, ENDED: 4 };

export class Ring {
  // buffer: ArrayBuffer or SharedArrayBuffer of Ring.bytes(); new ones are zeroed by the platform.
  constructor(buffer) {
    this.buffer = buffer;
    this.head = new Int32Array(buffer, 0, HEADER_INTS);
    this.input = new Float32Array(buffer, 4 * HEADER_INTS, CAPACITY);
    this.output = new Float32Array(buffer, 4 * (HEADER_INTS + CAPACITY), CAPACITY);
  }

  static bytes() {
    return 4 * (HEADER_INTS + 2 * CAPACITY);
  }

  static create(shared) {
    const ring = new Ring(shared ? new SharedArrayBuffer(Ring.bytes()) : new ArrayBuffer(Ring.bytes()));
    Atomics.store(ring.head, H.VERSION, VERSION);
    Atomics.store(ring.head, H.STRENGTH, -1);
    return ring;
  }

  get(field) {
    return Atomics.load(this.head, field);
  }

  set(field, value) {
    Atomics.store(this.head, field, value);
  }

  add(field, value) {
    Atomics.store(this.head, field, (Atomics.load(this.head, field) + value) | 0);
  }

  // Samples from one free-running counter to another, negative when the first is behind.
  distance(ahead, behind) {
    return (this.get(ahead) - this.get(behind)) | 0;
  }
}

// Copy n samples into a ring at a counter's place.
export function put(ring, at, source, offset, n) {
  const start = (at >>> 0) & (CAPACITY - 1);
  const first = Math.min(n, CAPACITY - start);
  for (let i = 0; i < first; i++) ring[start + i] = source[offset + i];
  for (let i = first; i < n; i++) ring[i - first] = source[offset + i];
}

// Copy n samples out of a ring.
export function take(ring, at, target, offset, n) {
  const start = (at >>> 0) & (CAPACITY - 1);
  const first = Math.min(n, CAPACITY - start);
  for (let i = 0; i < first; i++) target[offset + i] = ring[start + i];
  for (let i = first; i < n; i++) target[offset + i] = ring[i - first];
}

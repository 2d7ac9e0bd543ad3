// Sample-rate conversion for contexts that do not run at 48 kHz: a polyphase windowed-sinc filter with an exact rational ratio, so
// that input and output never drift apart.

const HALF_LOBES = 16; // of the sinc on either side, at the lower of the two rates
const KAISER_BETA = 8; // about 80 dB of attenuation
const PASS = 0.92; // of the lower rate's half

/** @param {number} a @param {number} b @returns {number} */
const gcd = (a, b) => (b ? gcd(b, a % b) : a);

/** Modified Bessel function of the first kind, order zero, by its series. @param {number} x */
function bessel(x) {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-12 * sum; k++) {
    term *= (x / 2 / k) ** 2;
    sum += term;
  }
  return sum;
}

// Samples that wait between two conversions: a block gives one more or one less than the one before.
export const SLACK = 4;

/** Input samples on either side of an output. @param {number} from @param {number} to */
const reach = (from, to) => Math.ceil((HALF_LOBES * from) / Math.min(from, to));

/** Seconds that the way from `rate` to `inner` and back takes. @param {number} rate @param {number} inner */
export function conversionDelay(rate, inner) {
  return rate === inner ? 0 : reach(rate, inner) / rate + reach(inner, rate) / inner + SLACK / rate;
}

/** An array with room for `needed` samples, whose first `kept` are the old one's. @param {Float32Array<ArrayBuffer>} array @param {number} kept @param {number} needed */
export function grown(array, kept, needed) {
  if (array.length >= needed) return array;
  const larger = new Float32Array(2 * needed);
  larger.set(array.subarray(0, kept));
  return larger;
}

export class Resampler {
  /** @param {number} from @param {number} to Hz, whole numbers */
  constructor(from, to) {
    const common = gcd(from, to);
    this.up = to / common;
    this.down = from / common;
    this.half = reach(from, to);
    this.taps = 2 * this.half;
    this.filter = this.phases((PASS * Math.min(from, to)) / from);
    this.buffer = new Float32Array(this.taps + 4096);
    this.kept = this.taps - 1; // samples of the past at the front of the buffer
    this.at = 0; // where in the buffer the next output's taps begin
    this.phase = 0;
    this.output = new Float32Array(4096);
  }

  // Samples by which the output is late, at its own rate.
  get delay() {
    return Math.floor((this.half * this.up) / this.down);
  }

  /** One row of taps for each place of an output between two inputs. @param {number} cutoff */
  phases(cutoff) {
    const { up, half, taps } = this;
    const filter = new Float32Array(up * taps);
    const peak = bessel(KAISER_BETA);
    for (let phase = 0; phase < up; phase++) {
      for (let j = 0; j < taps; j++) {
        const t = j - half + 1 - phase / up; // in input samples, from the middle
        const window = bessel(KAISER_BETA * Math.sqrt(Math.max(0, 1 - (t / half) ** 2))) / peak;
        const x = Math.PI * cutoff * t;
        filter[phase * taps + j] = cutoff * (x ? Math.sin(x) / x : 1) * window;
      }
    }
    return filter;
  }

  /** All that n more samples make possible; the result is valid until the next call. @param {Float32Array} x @param {number} [n] */
  process(x, n = x.length) {
    const { taps, filter, up, down } = this;
    this.buffer = grown(this.buffer, this.kept, this.kept + n);
    this.output = grown(this.output, 0, Math.ceil((n * up) / down) + 1);
    const { buffer, output } = this;
    buffer.set(n === x.length ? x : x.subarray(0, n), this.kept);
    const end = this.kept + n;
    let count = 0;
    while (this.at + taps <= end) {
      const row = this.phase * taps;
      let sum = 0;
      for (let j = 0; j < taps; j++) sum += filter[row + j] * buffer[this.at + j];
      output[count++] = sum;
      this.phase += down;
      while (this.phase >= up) {
        this.phase -= up;
        this.at++;
      }
    }
    const used = Math.min(this.at, end);
    buffer.copyWithin(0, used, end);
    this.kept = end - used;
    this.at -= used;
    return output.subarray(0, count);
  }
}

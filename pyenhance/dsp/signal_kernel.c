// The signal path as compiled code: what dsp.analyse and dsp.synthesise do with numpy, one call each for frames in a row. Each function
// names the numpy function that it follows; sums may be added up in another order.
//
// Freestanding plain C, which the compiler turns into SIMD: no libc, no Python. Built by wasm/build_kernel.sh for the browser and by
// pyenhance/native.py for the machine itself; called through ctypes on numpy's memory (kernels.py). Spectra are complex float32: real
// and imaginary part in turn.
#include <stdint.h>

#define API __attribute__((visibility("default")))
#ifdef __clang__
#define SUM _Pragma("clang fp reassociate(on) contract(fast)")  // in any order
#define UNROLL _Pragma("clang loop unroll(full)")
#else  // gcc takes the order of sums for the file as a whole
#pragma GCC optimize("associative-math", "no-signed-zeros", "no-trapping-math")
#define SUM
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
  HOP = 480, WINDOW = 960, BINS = 481, BANDS = 34, FEATURES = 70, AHEAD = 2,
  DECIMATION = 4, DECIMATED_HOP = HOP / DECIMATION, TAPS = 64,
  MIN_LAG = 24, MAX_LAG = 192, LAGS = MAX_LAG - MIN_LAG + 1, CORRELATED = 320, BLOCK = CORRELATED + MAX_LAG,
  REACH = 12, MIN_PERIOD = 96, MAX_PERIOD = 768, REFINE = 4, REFINED = 1440, ORDER = 5,
  HISTORY = ORDER * MAX_PERIOD + WINDOW + (AHEAD - 1) * HOP,
};

// Addresses of numpy's arrays, in the order of _arrays in kernels.py. K is how many frames they hold.
struct arrays {
  const float *window, *roots;                                     // [960]; [960][2]: e^(-2 pi i k / 960)
  const float *filter, *bias, *step_cost, *taps;                   // [TAPS]; [LAGS]; [2 REACH + 1][LAGS]; [periods][2 ORDER + 1]
  const int32_t *peak;                                             // [34]: the bins of the bands' peaks
  const double *constants;                                         // JUMP and the others below
  float *signal;                                                   // [HISTORY + 480 K]: past and new samples
  float *decimated, *score; int32_t *previous; double *level;      // [BLOCK - 120]; [LAGS + 2 REACH]; [LAGS]; [2]: sum and weight
  float *spectra, *energies;                                       // [2 + K][481] complex; [2 + K][34]: the two before, and the new
  float *comb_spectra, *coherence;                                 // [K][481] complex; [K][34]
  int32_t *period; float *correlation, *features;                  // [K]; [K]; [K][70]
  float *gain, *strength, *shaped, *tail, *out;                    // [K][34]; [K][34]; [481] complex; [480]; [K][480]
};
enum { JUMP, LEVEL_MEMORY, LEVEL_FLOOR, ENERGY_FLOOR };

static inline float root(float x) { return __builtin_sqrtf(x); }
static inline float largest(float a, float b) { return a > b ? a : b; }
static inline float smallest(float a, float b) { return a < b ? a : b; }

static inline float dot(const float *a, const float *b, int n) {
  SUM
  float sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static int argmax(const float *x, int n) {
  int best = 0;
  for (int i = 1; i < n; i++) if (x[i] > x[best]) best = i;
  return best;
}

// One pass of Stockham's FFT of 480 points, radix p, `done` the product of the radices before: x -> y, real and imaginary parts apart.
static inline __attribute__((always_inline)) void fft_pass(const float *roots, int p, int done, const float *xr, const float *xi, float *yr, float *yi) {
  int rest = HOP / done / p;
  for (int q = 0; q < rest; q++) {
    for (int i = 0; i < p; i++) {
      const float *turn = roots + 4 * (q * i * done % HOP);
      float cr[5], ci[5];  // of each input: its root of unity, turned
      UNROLL
      for (int j = 0; j < p; j++) {
        const float *root = roots + 4 * (i * j % p * (HOP / p));
        cr[j] = root[0] * turn[0] - root[1] * turn[1];
        ci[j] = root[0] * turn[1] + root[1] * turn[0];
      }
      int to = done * (p * q + i);
      for (int k = 0; k < done; k++) {
        float re = 0, im = 0;
      UNROLL
        for (int j = 0; j < p; j++) {
          int from = k + done * (q + rest * j);
          re += xr[from] * cr[j] - xi[from] * ci[j];
          im += xr[from] * ci[j] + xi[from] * cr[j];
        }
        yr[to + k] = re;
        yi[to + k] = im;
      }
    }
  }
}

// z (real parts, imaginary parts) becomes its transform; the other two are scratch.
static void fft480(const float *roots, float *zr, float *zi, float *ar, float *ai) {
  fft_pass(roots, 5, 1, zr, zi, ar, ai);
  fft_pass(roots, 4, 5, ar, ai, zr, zi);
  fft_pass(roots, 4, 20, zr, zi, ar, ai);
  fft_pass(roots, 3, 80, ar, ai, zr, zi);
  fft_pass(roots, 2, 240, zr, zi, ar, ai);
  for (int k = 0; k < HOP; k++) zr[k] = ar[k], zi[k] = ai[k];
}

// stft.stft, one frame: the spectrum of 960 samples, windowed. Even and odd samples go through one complex transform of half the length.
static void rfft(const struct arrays *a, const float *frame, float *spectrum) {
  float zr[HOP], zi[HOP], ar[HOP], ai[HOP];
  for (int n = 0; n < HOP; n++) zr[n] = frame[2 * n] * a->window[2 * n], zi[n] = frame[2 * n + 1] * a->window[2 * n + 1];
  fft480(a->roots, zr, zi, ar, ai);
  for (int k = 0; k <= HOP; k++) {
    int j = k == HOP ? 0 : k, m = k ? HOP - k : 0;
    const float *root = a->roots + 2 * k;
    float er = 0.5f * (zr[j] + zr[m]), ei = 0.5f * (zi[j] - zi[m]);
    float or = 0.5f * (zi[j] + zi[m]), oi = 0.5f * (zr[m] - zr[j]);
    spectrum[2 * k] = er + or * root[0] - oi * root[1];
    spectrum[2 * k + 1] = ei + or * root[1] + oi * root[0];
  }
}

// stft.istft, one frame: added to the tail of the frame before.
static void overlap_add(const struct arrays *a, const float *spectrum, float *out) {
  float zr[HOP], zi[HOP], ar[HOP], ai[HOP];
  const float *x = spectrum;
  for (int k = 0; k < HOP; k++) {
    const float *y = spectrum + 2 * (HOP - k), *root = a->roots + 2 * k;
    float xi = k ? x[2 * k + 1] : 0, yi = k ? y[1] : 0;  // a real signal has no others there
    float er = x[2 * k] + y[0], ei = xi - yi, dr = x[2 * k] - y[0], di = xi + yi;
    float or = dr * root[0] + di * root[1], oi = di * root[0] - dr * root[1];
    zi[k] = er - oi;  // real and imaginary part change places: a forward transform then goes backwards
    zr[k] = ei + or;
  }
  fft480(a->roots, zr, zi, ar, ai);
  for (int n = 0; n < HOP / 2; n++) {
    out[2 * n] = zi[n] * a->window[2 * n] / WINDOW + a->tail[2 * n];
    out[2 * n + 1] = zr[n] * a->window[2 * n + 1] / WINDOW + a->tail[2 * n + 1];
  }
  for (int n = HOP / 2; n < HOP; n++) {
    a->tail[2 * n - HOP] = zi[n] * a->window[2 * n] / WINDOW;
    a->tail[2 * n + 1 - HOP] = zr[n] * a->window[2 * n + 1] / WINDOW;
  }
}

// pitch.lag_correlation: local[LAGS] from the newest BLOCK samples at 12 kHz, with `bias` added.
static void correlate(const float *block, const float *bias, float *local) {
  const float *newest = block + MAX_LAG;
  double energy = 0, total = 0, shifted = 0;
  for (int i = 0; i < BLOCK; i++) total += (double)block[i] * block[i];
  for (int i = MAX_LAG; i < BLOCK; i++) energy += (double)block[i] * block[i];
  for (int i = MAX_LAG - MIN_LAG; i < BLOCK - MIN_LAG; i++) shifted += (double)block[i] * block[i];
  for (int l = 0; l < LAGS; l++) {
    int first = MAX_LAG - MIN_LAG - l;
    double product = shifted * energy;
    float norm = (float)(__builtin_sqrt(product > 0 ? product : 0) + 1e-3 * total + 1e-12);
    local[l] = dot(newest, block + first, CORRELATED) / norm + bias[l];
    if (first) shifted += (double)block[first - 1] * block[first - 1] - (double)block[first - 1 + CORRELATED] * block[first - 1 + CORRELATED];
  }
}

// pitch.track, one hop: the index of the lag two hops ago. score has REACH entries of minus infinity at either end.
static int track(float *score, int32_t *previous, const float *step_cost, float jump_cost, const float *local) {
  float *inner = score + REACH, next[LAGS];
  int32_t pointer[LAGS];
  int best = argmax(inner, LAGS);
  float jump = inner[best] - jump_cost;
  for (int l = 0; l < LAGS; l++) {
    float stay = score[l] + step_cost[l];
    int step = 0;
    for (int s = 1; s <= 2 * REACH; s++) {  // costs lie by step, so that lags are neighbours
      float option = score[l + s] + step_cost[s * LAGS + l];
      if (option > stay) stay = option, step = s;
    }
    pointer[l] = stay >= jump ? l + step - REACH : best;
    next[l] = largest(stay, jump) + local[l];
  }
  int now = argmax(next, LAGS);
  float top = next[now];
  for (int l = 0; l < LAGS; l++) inner[l] = next[l] - top;
  int chosen = previous[pointer[now]];
  for (int l = 0; l < LAGS; l++) previous[l] = pointer[l];
  return chosen;
}

// pitch.refine, one frame: its period, and the correlation at it.
static int refine(const float *signal, int centre, int lag, float *correlation) {
  int rough = DECIMATION * lag;
  if (rough < MIN_PERIOD + REFINE) rough = MIN_PERIOD + REFINE;
  if (rough > MAX_PERIOD - REFINE) rough = MAX_PERIOD - REFINE;
  const float *later = signal + centre - REFINED / 2 + rough / 2, *earlier = later - rough - REFINE;
  float best = -1e30f;
  int index = 0;
  for (int c = 0; c <= 2 * REFINE; c++) {  // from the longest period to the shortest
    float score = dot(later, earlier + c, REFINED) / root(dot(earlier + c, earlier + c, REFINED) + 1e-12f);
    if (score > best) best = score, index = c;
  }
  *correlation = smallest(largest(best / root(dot(later, later, REFINED) + 1e-12f), 0), 1);
  return rough + REFINE - index;
}

// comb.comb_filter, one frame: the mean of `frame` and its copies whole periods away; the future ends `ahead` samples after it.
static void comb(const float *frame, const float *taps, int period, int ahead, float *out) {
  SUM
  const float *copy[2 * ORDER + 1];
  for (int j = 0; j <= 2 * ORDER; j++) {
    int shift = (ORDER - j) * period;
    copy[j] = frame + (shift < ahead ? shift : ahead);
  }
  for (int n = 0; n < WINDOW; n++) {
    float sum = 0;
      UNROLL
    for (int j = 0; j <= 2 * ORDER; j++) sum += taps[j] * copy[j][n];
    out[n] = sum;
  }
}

// bands.band_sums of Re(a* b). peak int32 [BANDS]: the bins of the bands' peaks.
static void band_dot(const float *a, const float *b, const int32_t *peak, float *out) {
  SUM
  for (int band = 0; band < BANDS; band++) out[band] = 0;
  for (int band = 0; band + 1 < BANDS; band++) {
    int low = peak[band], width = peak[band + 1] - low;
    const float *u = a + 2 * low, *v = b + 2 * low;
    float sum = 0, rise = 0;
    for (int i = 0; i < width; i++) {
      float product = u[2 * i] * v[2 * i] + u[2 * i + 1] * v[2 * i + 1];
      sum += product;
      rise += product * i;
    }
    rise /= width;
    out[band] += sum - rise;
    out[band + 1] += rise;
  }
  int top = 2 * peak[BANDS - 1];
  out[BANDS - 1] += a[top] * b[top] + a[top + 1] * b[top + 1];
}

// comb.coherence of P and Y, whose band energies are given.
static void cohere(const float *p, const float *y, const float *energy, const int32_t *peak, float *coherence) {
  float own[BANDS];
  band_dot(p, p, peak, own);
  band_dot(p, y, peak, coherence);
  for (int b = 0; b < BANDS; b++) coherence[b] = smallest(largest(coherence[b] / root(own[b] * energy[b] + 1e-30f), 0), 1);
}

// log2(x), x > 0, to 1e-7: exponent, and the series of the logarithm's area function for the rest.
static inline float log_2(float x) {
  union { float value; int32_t bits; } u = {x};
  int exponent = (u.bits - 0x3f3504f3) >> 23;  // so that what is left lies between the roots of 1/2 and 2
  u.bits -= exponent << 23;
  float t = (u.value - 1) / (u.value + 1), s = t * t;
  return exponent + 2.88539008f * t * (1 + s * (1.0f / 3 + s * (1.0f / 5 + s * (1.0f / 7 + s * (1.0f / 9)))));
}

// features._levels and _network_input, one frame, from the newest frame's band energies.
static void network_input(const struct arrays *a, const float *energy, const float *coherence, int period, float correlation, float *features) {
  float sum = 0;
  for (int b = 0; b < BANDS; b++) sum += energy[b];
  double memory = a->constants[LEVEL_MEMORY];
  a->level[0] = memory * a->level[0] + (1 - memory) * sum;
  a->level[1] = memory * a->level[1] + (1 - memory);
  float level = largest((float)(a->level[0] / a->level[1]), (float)a->constants[LEVEL_FLOOR]);
  for (int b = 0; b < BANDS; b++) {
    features[b] = 0.5f * 0.301029996f * log_2(energy[b] / level + (float)a->constants[ENERGY_FLOOR]) + 1.5f;
    features[BANDS + b] = 2 * coherence[b] - 1;
  }
  features[FEATURES - 2] = log_2((float)period / MIN_PERIOD) * (2.0f / 3) - 1;  // three octaves
  features[FEATURES - 1] = 2 * correlation - 1;
}

// features.analyse: from `signal` to spectra, energies, comb_spectra, coherence, period, correlation and features of so many frames.
API void analyse(const struct arrays *a, int frames) {
  float block[BLOCK], local[LAGS], combed[WINDOW];
  for (int i = 0; i < BLOCK - DECIMATED_HOP; i++) block[i] = a->decimated[i];
  for (int k = 0; k < frames; k++) {
    const float *newest = a->signal + HISTORY + HOP * k - HOP, *frame = newest - AHEAD * HOP, *hop = newest + HOP - (TAPS - DECIMATION);
    float *spectrum = a->spectra + 2 * BINS * k, *comb_spectrum = a->comb_spectra + 2 * BINS * k;
    float *energy = a->energies + BANDS * k, *coherence = a->coherence + BANDS * k;
    rfft(a, newest, spectrum + AHEAD * 2 * BINS);
    band_dot(spectrum + AHEAD * 2 * BINS, spectrum + AHEAD * 2 * BINS, a->peak, energy + AHEAD * BANDS);
    for (int i = 0; i < DECIMATED_HOP; i++) block[BLOCK - DECIMATED_HOP + i] = dot(hop + DECIMATION * i, a->filter, TAPS);
    correlate(block, a->bias, local);
    int lag = MIN_LAG + track(a->score, a->previous, a->step_cost, (float)a->constants[JUMP], local);
    int period = a->period[k] = refine(frame, HOP, lag, a->correlation + k);
    comb(frame, a->taps + (period - MIN_PERIOD) * (2 * ORDER + 1), period, AHEAD * HOP, combed);
    rfft(a, combed, comb_spectrum);
    cohere(comb_spectrum, spectrum, energy, a->peak, coherence);
    network_input(a, energy + AHEAD * BANDS, coherence, period, a->correlation[k], a->features + FEATURES * k);
    for (int i = 0; i < BLOCK - DECIMATED_HOP; i++) block[i] = block[i + DECIMATED_HOP];
  }
  for (int i = 0; i < BLOCK - DECIMATED_HOP; i++) a->decimated[i] = block[i];
}

// sin(x) for x in [0, pi/2], to 1e-7: its series.
static inline float sine(float x) {
  float s = x * x;
  return x * (1 + s * (-1.0f / 6 + s * (1.0f / 120 + s * (-1.0f / 5040 + s * (1.0f / 362880 - s * (1.0f / 39916800))))));
}

// postfilter.envelope_postfilter, one frame, in place.
static void postfilter(float *gain, const float *energy, float beta) {
  SUM
  float warped[BANDS], before = 1e-30f, after = 1e-30f;
  for (int b = 0; b < BANDS; b++) {
    warped[b] = gain[b] * sine(1.57079633f * gain[b]);
    before += gain[b] * gain[b] * energy[b];
    after += warped[b] * warped[b] * energy[b];
  }
  float ratio = before / after, scale = root((1 + beta) * ratio / (1 + beta * ratio * ratio));
  for (int b = 0; b < BANDS; b++) gain[b] = warped[b] * scale;
}

// shaping.shape, one frame: post-filter (unless beta is below zero), mix with the comb-filtered spectrum, gains, the untouched share.
static void shape(const float *y, const float *p, const float *energy, float *gain, const float *strength, const int32_t *peak, float *out,
                  float beta, float dry) {
  if (beta >= 0) postfilter(gain, energy, beta);
  for (int i = 0; i < 2 * BINS; i++) out[i] = y[i];
  int last = BANDS - 1, top = 2 * peak[last];
  if (strength) {
    for (int band = 0; band < last; band++) {
      int low = peak[band], width = peak[band + 1] - low;
      float slope = (strength[band + 1] - strength[band]) / width;
      for (int i = 0; i < width; i++) {
        float r = strength[band] + slope * i;
        int at = 2 * (low + i);
        out[at] += r * (p[at] - y[at]);
        out[at + 1] += r * (p[at + 1] - y[at + 1]);
      }
    }
    out[top] += strength[last] * (p[top] - y[top]);
    out[top + 1] += strength[last] * (p[top + 1] - y[top + 1]);
    float mixed[BANDS];
    band_dot(out, out, peak, mixed);
    for (int b = 0; b < BANDS; b++) gain[b] *= root((energy[b] + 1e-20f) / (mixed[b] + 1e-20f));
  }
  float wet = 1 - dry;
  for (int band = 0; band < last; band++) {
    int low = peak[band], width = peak[band + 1] - low;
    float slope = (gain[band + 1] - gain[band]) / width;
    for (int i = 0; i < width; i++) {
      float g = wet * (gain[band] + slope * i);
      int at = 2 * (low + i);
      out[at] = g * out[at] + dry * y[at];
      out[at + 1] = g * out[at + 1] + dry * y[at + 1];
    }
  }
  out[top] = wet * gain[last] * out[top] + dry * y[top];
  out[top + 1] = wet * gain[last] * out[top + 1] + dry * y[top + 1];
  for (int i = top + 2; i < 2 * BINS; i++) out[i] = dry * y[i];  // no band, no gain
}

// synthesis.synthesise: from spectra, comb_spectra, energies, gain (overwritten) and strength to `out`, with `tail` between frames.
API void synthesise(const struct arrays *a, int frames, int with_comb, float beta, float dry) {
  for (int k = 0; k < frames; k++) {
    int bin = 2 * BINS * k, band = BANDS * k;
    const float *strength = with_comb ? a->strength + band : 0;
    shape(a->spectra + bin, a->comb_spectra + bin, a->energies + band, a->gain + band, strength, a->peak, a->shaped, beta, dry);
    overlap_add(a, a->shaped, a->out + HOP * k);
  }
}

// The signal path: what dsp.analyse and dsp.synthesise do with numpy, for frames in a row. Each function names the
// numpy function that it follows; sums may be added up in another order. Plain C, which the compiler turns into SIMD.
// Spectra are complex float32: real and imaginary part in turn.
#ifdef __clang__
#ifdef __wasm__  // relaxed SIMD would fuse products and sums: results would no longer be those of plain SIMD
#define SUM _Pragma("clang fp reassociate(on)")  // in any order
#else
#define SUM _Pragma("clang fp reassociate(on) contract(fast)")
#endif
#define UNROLL _Pragma("clang loop unroll(full)")
#else  // gcc takes the order of sums for the file as a whole
#pragma GCC optimize("associative-math", "no-signed-zeros", "no-trapping-math")
#define SUM
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
  DECIMATED_HOP = HOP / DECIMATION,
  LAGS = MAX_LAG - MIN_LAG + 1,
  BLOCK = CORRELATED + MAX_LAG,
  OLD = BLOCK - DECIMATED_HOP,
  SIDE = 24,  // lags at once
};

static inline float root(float x) { return __builtin_sqrtf(x); }
static inline float largest(float a, float b) { return a > b ? a : b; }
static inline float smallest(float a, float b) { return a < b ? a : b; }

static inline float dot(const float *a, const float *b, int n) {
  SUM float sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static int argmax(const float *x, int n) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (x[i] > x[best]) best = i;
  return best;
}

// A complex number.
typedef struct { float re, im; } point;

static inline point plus(point a, point b) { return (point){a.re + b.re, a.im + b.im}; }
static inline point minus(point a, point b) { return (point){a.re - b.re, a.im - b.im}; }
static inline point scaled(float s, point a) { return (point){s * a.re, s * a.im}; }
static inline point turned(point a, point b) { return (point){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
static inline point turned_back(point a) { return (point){a.im, -a.re}; }  // by a quarter

// Transforms of 3, 4, 5 and 6 points.
static inline void dft3(point a, point b, point c, point *y) {
  point sum = plus(b, c), mean = minus(a, scaled(0.5f, sum)), side = turned_back(scaled(0.866025404f, minus(b, c)));
  y[0] = plus(a, sum), y[1] = plus(mean, side), y[2] = minus(mean, side);
}

static inline void dft4(const point *x, point *y) {
  point a = plus(x[0], x[2]), b = minus(x[0], x[2]), c = plus(x[1], x[3]), d = turned_back(minus(x[1], x[3]));
  y[0] = plus(a, c), y[1] = plus(b, d), y[2] = minus(a, c), y[3] = minus(b, d);
}

static inline void dft5(const point *x, point *y) {
  const float c1 = 0.309016994f, c2 = -0.809016994f, s1 = 0.951056516f, s2 = 0.587785252f;  // of 72 and 144 degrees
  point a = plus(x[1], x[4]), b = plus(x[2], x[3]), c = minus(x[1], x[4]), d = minus(x[2], x[3]);
  point e = plus(x[0], plus(scaled(c1, a), scaled(c2, b))), f = plus(x[0], plus(scaled(c2, a), scaled(c1, b)));
  point g = turned_back(plus(scaled(s1, c), scaled(s2, d))), h = turned_back(minus(scaled(s2, c), scaled(s1, d)));
  y[0] = plus(x[0], plus(a, b)), y[1] = plus(e, g), y[2] = plus(f, h), y[3] = minus(f, h), y[4] = minus(e, g);
}

static inline void dft6(const point *x, point *y) {  // Good and Thomas: twice three, no roots between
  point a[3], b[3];
  dft3(x[0], x[2], x[4], a);
  dft3(x[3], x[5], x[1], b);
  y[0] = plus(a[0], b[0]), y[1] = minus(a[1], b[1]), y[2] = plus(a[2], b[2]);
  y[3] = minus(a[0], b[0]), y[4] = plus(a[1], b[1]), y[5] = minus(a[2], b[2]);
}

// One pass of Stockham's FFT of `points` points, in `columns` columns side by side: radix p, `done` the product of the
// radices before; x -> y, real and imaginary parts apart.
static inline __attribute__((always_inline)) void fft_pass(const float *roots, int p, int points, int done, int columns,
                                                           const float *restrict xr, const float *restrict xi,
                                                           float *restrict yr, float *restrict yi) {
  int rest = points / done / p, row = done * columns;
  for (int q = 0; q < rest; q++) {
    for (int k = 0; k < row; k++) {
      point x[6], y[6];
      UNROLL
      for (int j = 0; j < p; j++) x[j] = (point){xr[k + row * (q + rest * j)], xi[k + row * (q + rest * j)]};
      if (p == 4) dft4(x, y);
      if (p == 5) dft5(x, y);
      if (p == 6) dft6(x, y);
      UNROLL
      for (int i = 0; i < p; i++) {
        const float *root = roots + 2 * (WINDOW / points) * (q * i * done);
        point out = q ? turned(y[i], (point){root[0], root[1]}) : y[i];
        yr[k + row * (p * q + i)] = out.re;
        yi[k + row * (p * q + i)] = out.im;
      }
    }
  }
}

// The transform of 480 complex numbers z, in a; z is used up. Cooley and Tukey's four steps: 24 columns of 20, turned,
// and as many rows of 24, which are columns by then. So each pass has neighbours that want the same.
static void fft480(const float *roots, float *restrict zr, float *restrict zi, float *restrict ar, float *restrict ai) {
  enum { ROWS = 20, COLUMNS = HOP / ROWS };
  fft_pass(roots, 5, ROWS, 1, COLUMNS, zr, zi, ar, ai);
  fft_pass(roots, 4, ROWS, 5, COLUMNS, ar, ai, zr, zi);
  for (int b = 0; b < COLUMNS; b++) {
    for (int c = 0; c < ROWS; c++) {
      const float *root = roots + 4 * b * c;
      point out = turned((point){zr[COLUMNS * c + b], zi[COLUMNS * c + b]}, (point){root[0], root[1]});
      ar[ROWS * b + c] = out.re;
      ai[ROWS * b + c] = out.im;
    }
  }
  fft_pass(roots, 6, COLUMNS, 1, ROWS, ar, ai, zr, zi);
  fft_pass(roots, 4, COLUMNS, 6, ROWS, zr, zi, ar, ai);
}

// stft.stft, one frame: the spectrum of 960 samples, windowed. Even and odd samples go through one complex transform of
// half the length.
static void rfft(const struct signal *g, const float *frame, float *spectrum) {
  float zr[HOP], zi[HOP], ar[HOP], ai[HOP];
  for (int n = 0; n < HOP; n++)
    zr[n] = frame[2 * n] * g->window[2 * n], zi[n] = frame[2 * n + 1] * g->window[2 * n + 1];
  fft480(g->roots, zr, zi, ar, ai);
  for (int k = 0; k <= HOP; k++) {
    int j = k == HOP ? 0 : k, m = k ? HOP - k : 0;
    const float *root = g->roots + 2 * k;
    float er = 0.5f * (ar[j] + ar[m]), ei = 0.5f * (ai[j] - ai[m]);
    float or = 0.5f * (ai[j] + ai[m]), oi = 0.5f * (ar[m] - ar[j]);
    spectrum[2 * k] = er + or * root[0] - oi * root[1];
    spectrum[2 * k + 1] = ei + or * root[1] + oi * root[0];
  }
}

// stft.istft, one frame: added to the tail of the frame before.
static void overlap_add(const struct signal *g, const float *spectrum, float *tail, float *out) {
  float zr[HOP], zi[HOP], ar[HOP], ai[HOP];
  const float *x = spectrum;
  for (int k = 0; k < HOP; k++) {
    const float *y = spectrum + 2 * (HOP - k), *root = g->roots + 2 * k;
    float xi = k ? x[2 * k + 1] : 0, yi = k ? y[1] : 0;  // a real signal has no others there
    float er = x[2 * k] + y[0], ei = xi - yi, dr = x[2 * k] - y[0], di = xi + yi;
    float or = dr * root[0] + di * root[1], oi = di * root[0] - dr * root[1];
    zi[k] = er - oi;  // real and imaginary part change places: a forward transform then goes backwards
    zr[k] = ei + or;
  }
  fft480(g->roots, zr, zi, ar, ai);
  for (int n = 0; n < HOP / 2; n++) {
    out[2 * n] = ai[n] * g->window[2 * n] / WINDOW + tail[2 * n];
    out[2 * n + 1] = ar[n] * g->window[2 * n + 1] / WINDOW + tail[2 * n + 1];
  }
  for (int n = HOP / 2; n < HOP; n++) {
    tail[2 * n - HOP] = ai[n] * g->window[2 * n] / WINDOW;
    tail[2 * n + 1 - HOP] = ar[n] * g->window[2 * n + 1] / WINDOW;
  }
}

// Sums over i of a[i] * b[i + j] for as many j side by side as registers hold.
static void slide(const float *a, const float *b, int n, float *sums) {
  SUM float sum[SIDE] = {0};
  for (int i = 0; i < n; i++) {
    UNROLL
    for (int j = 0; j < SIDE; j++) sum[j] += a[i] * b[i + j];
  }
  for (int j = 0; j < SIDE; j++) sums[j] = sum[j];
}

// pitch.lag_correlation: local[LAGS] from the newest BLOCK samples at 12 kHz, with `bias` added.
static void correlate(const struct signal *g, const float *block, float *local) {
  const float *newest = block + MAX_LAG;
  float sums[LAGS];  // from the longest lag to the shortest
  for (int from = 0; from + SIDE <= LAGS; from += SIDE) slide(newest, block + from, CORRELATED, sums + from);
  for (int from = LAGS - LAGS % SIDE; from < LAGS; from++) sums[from] = dot(newest, block + from, CORRELATED);
  double energy = 0, total = 0, shifted = 0;
  for (int i = 0; i < BLOCK; i++) total += (double)block[i] * block[i];
  for (int i = MAX_LAG; i < BLOCK; i++) energy += (double)block[i] * block[i];
  for (int i = MAX_LAG - MIN_LAG; i < BLOCK - MIN_LAG; i++) shifted += (double)block[i] * block[i];
  for (int l = 0; l < LAGS; l++) {
    int first = MAX_LAG - MIN_LAG - l;
    double product = shifted * energy;
    float norm = (float)(__builtin_sqrt(product > 0 ? product : 0) + g->norm_floor * total + 1e-12);
    local[l] = sums[first] / norm + g->bias[l];
    if (first)
      shifted += (double)block[first - 1] * block[first - 1] -
                 (double)block[first - 1 + CORRELATED] * block[first - 1 + CORRELATED];
  }
}

// pitch.track, one hop: the index of the lag as many hops ago as the look-ahead. score has REACH entries of minus
// infinity at either end; previous [ahead - 1][LAGS] holds the pointers of the hops before, the newest first.
static int track(const struct signal *g, float *score, int32_t *previous, const float *local) {
  float *inner = score + REACH, next[LAGS];
  int32_t pointer[LAGS];
  int best = argmax(inner, LAGS);
  float jump = inner[best] - (float)g->jump;
  for (int l = 0; l < LAGS; l++) {
    float stay = score[l] + g->step_cost[l];
    int step = 0;
    for (int s = 1; s <= 2 * REACH; s++) {  // costs lie by step, so that lags are neighbours
      float option = score[l + s] + g->step_cost[s * LAGS + l];
      if (option > stay) stay = option, step = s;
    }
    pointer[l] = stay >= jump ? l + step - REACH : best;
    next[l] = largest(stay, jump) + local[l];
  }
  int lag = argmax(next, LAGS), rows = g->ahead - 1;
  float top = next[lag];
  for (int l = 0; l < LAGS; l++) inner[l] = next[l] - top;
  if (g->ahead > 0) lag = pointer[lag];
  for (int r = 0; r < rows; r++) lag = previous[r * LAGS + lag];
  for (int i = rows * LAGS - 1; i >= LAGS; i--) previous[i] = previous[i - LAGS];
  if (rows > 0)
    for (int l = 0; l < LAGS; l++) previous[l] = pointer[l];
  return lag;
}

// pitch.refine, one frame: its period, and the correlation at it.
static int refine(const struct signal *g, const float *frame, int lag, float *correlation) {
  int rough = DECIMATION * lag;
  if (rough < MIN_PERIOD + REFINE) rough = MIN_PERIOD + REFINE;
  if (rough > MAX_PERIOD - REFINE) rough = MAX_PERIOD - REFINE;
  int late = HOP - REFINED / 2 + rough / 2, newest = WINDOW + g->ahead * HOP - REFINED;
  const float *later = frame + (late < newest ? late : newest), *earlier = later - rough - REFINE;
  float best = -1e30f;
  int index = 0;
  const float *shared = earlier + 2 * REFINE;  // by all the stretches that are tried
  float middle = dot(shared, shared, REFINED - 2 * REFINE);
  for (int c = 0; c <= 2 * REFINE; c++) {  // from the longest period to the shortest
    float energy = middle;
    for (int i = c; i < 2 * REFINE; i++) energy += earlier[i] * earlier[i];
    for (int i = REFINED; i < REFINED + c; i++) energy += earlier[i] * earlier[i];
    float score = dot(later, earlier + c, REFINED) / root(energy + 1e-12f);
    if (score > best) best = score, index = c;
  }
  *correlation = smallest(largest(best / root(dot(later, later, REFINED) + 1e-12f), 0), 1);
  return rough + REFINE - index;
}

// comb.comb_filter, one frame: the mean of `frame` and its copies whole periods away; the future ends `ahead` samples
// after it.
static void comb(const float *frame, const float *taps, int period, int ahead, float *out) {
  SUM const float *copy[2 * ORDER + 1];
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

// bands.band_dot.
static void band_dot(const struct signal *g, const float *a, const float *b, float *out) {
  SUM const int32_t *peak = g->peak;
  int last = g->bands - 1;
  for (int band = 0; band <= last; band++) out[band] = 0;
  for (int band = 0; band < last; band++) {
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
  int top = 2 * peak[last];
  out[last] += a[top] * b[top] + a[top + 1] * b[top + 1];
}

// comb.coherence of P and Y, whose band energies are given.
static void cohere(const struct signal *g, const float *p, const float *y, const float *energy, float *coherence) {
  float own[MAX_BANDS];
  band_dot(g, p, p, own);
  band_dot(g, p, y, coherence);
  for (int b = 0; b < g->bands; b++)
    coherence[b] = smallest(largest(coherence[b] / root(own[b] * energy[b] + 1e-30f), 0), 1);
}

// log2(x), x > 0, to 1e-7: exponent, and the series of the logarithm's area function for the rest.
static inline float log_2(float x) {
  union {
    float value;
    int32_t bits;
  } u = {x};
  int exponent = (u.bits - 0x3f3504f3) >> 23;  // so that what is left lies between the roots of 1/2 and 2
  u.bits -= exponent << 23;
  float t = (u.value - 1) / (u.value + 1), s = t * t;
  return exponent + 2.88539008f * t * (1 + s * (1.0f / 3 + s * (1.0f / 5 + s * (1.0f / 7 + s * (1.0f / 9)))));
}

// features._loudness, one energy.
static inline float loudness(const struct signal *g, float energy, float level) {
  return 0.5f * 0.301029996f * log_2(energy / level + (float)g->energy_floor) + 1.5f;
}

// features._levels and _network_input, one frame, from the newest frame's spectrum and band energies.
static void network_input(const struct signal *g, double *level, const float *spectrum, const float *energy,
                          const float *coherence, int period, float correlation, float *features) {
  int bands = g->bands;
  float sum = 0;
  for (int b = 0; b < bands; b++) sum += energy[b];
  double memory = g->level_memory;
  level[0] = memory * level[0] + (1 - memory) * sum;
  level[1] = memory * level[1] + (1 - memory);
  float mean = largest((float)(level[0] / level[1]), (float)g->level_floor);
  for (int b = 0; b < bands; b++) {
    features[b] = loudness(g, energy[b], mean);
    features[bands + b] = 2 * coherence[b] - 1;
  }
  features[2 * bands] = log_2((float)period / MIN_PERIOD) * (2.0f / 3) - 1;  // three octaves
  features[2 * bands + 1] = 2 * correlation - 1;
  for (int k = 1; k <= g->fine; k++) {
    float re = spectrum[2 * k], im = spectrum[2 * k + 1];
    features[2 * bands + 1 + k] = loudness(g, re * re + im * im, mean);
  }
}

// features.analyse: from s->input to the buffers of s->signal.
static void analyse_frames(struct stream *s, int frames) {
  const struct signal *g = s->signal;
  int bands = g->bands, ahead = g->ahead, kept = 2 * BINS * ahead;
  float block[BLOCK], local[LAGS], combed[WINDOW], *raw = s->raw;
  int32_t *filtered = s->filtered;
  copy(g->spectra, s->spectra, kept);
  copy(g->energies, s->energies, bands * ahead);
  copy(block, s->decimated, OLD);
  for (int k = 0; k < frames; k++) {
    const float *newest = s->samples + g->history + HOP * k - HOP, *frame = newest - ahead * HOP;
    const float *hop = newest + HOP - (TAPS - DECIMATION), *x = s->input + HOP * k;
    float *spectrum = g->spectra + 2 * BINS * k, *comb_spectrum = g->comb_spectra + 2 * BINS * k;
    float *energy = g->energies + bands * k, *coherence = g->coherence + bands * k;
    float *newest_energy = energy + ahead * bands, *untouched = g->untouched + 2 * BINS * k;
    move_back(raw, raw + HOP, HOP * (ahead + 1));
    copy(raw + HOP * (ahead + 1), x, HOP);
    for (int i = 0; i < ahead + 2; i++) filtered[i] = filtered[i + 1];
    take_out(g, s->sections, s->rumble, filtered + ahead + 1, x, s->samples + g->history + HOP * k);
    rfft(g, newest, spectrum + kept);
    if (filtered[ahead + 1]) mend(g, spectrum + kept);
    copy(untouched, spectrum, 2 * BINS);
    if (filtered[0] | filtered[1] | filtered[2]) rfft(g, raw, untouched);
    band_dot(g, spectrum + kept, spectrum + kept, newest_energy);
    for (int i = 0; i < DECIMATED_HOP; i++) block[OLD + i] = dot(hop + DECIMATION * i, g->filter, TAPS);
    correlate(g, block, local);
    int lag = MIN_LAG + track(g, s->score, s->previous, local);
    int period = g->period[k] = refine(g, frame, lag, g->correlation + k);
    comb(frame, g->taps + (period - MIN_PERIOD) * (2 * ORDER + 1), period, ahead * HOP, combed);
    rfft(g, combed, comb_spectrum);
    if (filtered[1]) mend(g, comb_spectrum);
    cohere(g, comb_spectrum, spectrum, energy, coherence);
    network_input(g, s->level, spectrum + kept, newest_energy, coherence, period, g->correlation[k],
                  g->features + g->feature_stride * k);
    move_back(block, block + DECIMATED_HOP, OLD);
  }
  copy(s->decimated, block, OLD);
  copy(s->spectra, g->spectra + 2 * BINS * frames, kept);
  copy(s->energies, g->energies + bands * frames, bands * ahead);
  move_back(s->samples, s->samples + HOP * frames, g->history);
}

// sin(x) for x in [0, pi/2], to 1e-7: its series.
static inline float sine(float x) {
  float s = x * x;
  return x *
         (1 + s * (-1.0f / 6 + s * (1.0f / 120 + s * (-1.0f / 5040 + s * (1.0f / 362880 - s * (1.0f / 39916800))))));
}

// postfilter.envelope_postfilter, one frame, in place.
static void postfilter(const struct signal *g, float *gain, const float *energy) {
  SUM float beta = (float)g->beta, warped[MAX_BANDS], before = 1e-30f, after = 1e-30f;
  for (int b = 0; b < g->bands; b++) {
    warped[b] = gain[b] * sine(1.57079633f * gain[b]);
    before += gain[b] * gain[b] * energy[b];
    after += warped[b] * warped[b] * energy[b];
  }
  float ratio = before / after, scale = root((1 + beta) * ratio / (1 + beta * ratio * ratio));
  for (int b = 0; b < g->bands; b++) gain[b] = warped[b] * scale;
}

// synthesis.synthesise, one frame up to its spectrum: mix with the comb-filtered spectrum, gains, the untouched share.
static void shape(const struct signal *g, const float *y, const float *p, const float *untouched, const float *energy,
                  float *gain, const float *strength, float dry, float *out) {
  const int32_t *peak = g->peak;
  int last = g->bands - 1, top = 2 * peak[last];
  for (int i = 0; i < 2 * BINS; i++) out[i] = y[i];
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
    float mixed[MAX_BANDS];
    band_dot(g, out, out, mixed);
    for (int b = 0; b < g->bands; b++) gain[b] *= root((energy[b] + 1e-20f) / (mixed[b] + 1e-20f));
  }
  float wet = 1 - dry;
  for (int band = 0; band < last; band++) {
    int low = peak[band], width = peak[band + 1] - low;
    float slope = (gain[band + 1] - gain[band]) / width;
    for (int i = 0; i < width; i++) {
      float weight = wet * (gain[band] + slope * i);
      int at = 2 * (low + i);
      out[at] = weight * out[at] + dry * untouched[at];
      out[at + 1] = weight * out[at + 1] + dry * untouched[at + 1];
    }
  }
  out[top] = wet * gain[last] * out[top] + dry * untouched[top];
  out[top + 1] = wet * gain[last] * out[top + 1] + dry * untouched[top + 1];
  for (int i = top + 2; i < 2 * BINS; i++) out[i] = dry * untouched[i];  // no band, no gain
}

// synthesis.synthesise: from the buffers of s->signal to s->output, with s->tail between frames.
static void synthesise_frames(struct stream *s, int frames, int with_comb, int with_postfilter) {
  const struct signal *g = s->signal;
  for (int k = 0; k < frames; k++) {
    int bin = 2 * BINS * k, band = g->bands * k;
    if (with_postfilter) postfilter(g, g->gain + band, g->energies + band);
    shape(g, g->spectra + bin, g->comb_spectra + bin, g->untouched + bin, g->energies + band, g->gain + band,
          with_comb ? g->strength + band : 0, s->dry, g->shaped);
    overlap_add(g, g->shaped, s->tail, s->output + HOP * k);
  }
}

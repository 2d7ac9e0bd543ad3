// The network, all layers in one call: int8 weights times int8 activations, summed exactly, then scale, bias and
// activation; and GRUs, which are two such products with their gates. Activations between layers are whole numbers in
// [-127, 127] held in float32. Apart from the products it is plain C, which compilers turn into SIMD.

// Of each machine: `cells`, 16 activations; `weights`, 16 of a row, or of two where PARTS is 2; `lanes`, parts of the
// sums of their products, PARTS of them for four rows. And row_of_floats, a row times features, sixteen sums at a time:
// compilers convert the weights one by one.
#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
enum { PARTS = 4 };
typedef v128_t lanes;
#ifdef __wasm_relaxed_simd__
// The relaxed product wants its second operand within [0, 127]: the sign of the activation goes to the weight, which is
// never -128.
typedef int8_t cell;
typedef v128_t weights;
typedef struct { v128_t magnitude, sign; } cells;
static inline weights load_weights(const int8_t *w) { return wasm_v128_load(w); }
static inline cells load_cells(const cell *x) {
  v128_t v = wasm_v128_load(x);
  return (cells){wasm_i8x16_abs(v), wasm_i8x16_shr(v, 7)};
}
static inline lanes add_products(lanes sum, weights w, cells x) {
  return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_i8x16_sub(wasm_v128_xor(w, x.sign), x.sign), x.magnitude, sum);
}
#else
typedef int16_t cell;
typedef struct { v128_t low, high; } weights, cells;
static inline weights load_weights(const int8_t *w) {
  return (weights){wasm_i16x8_load8x8(w), wasm_i16x8_load8x8(w + 8)};
}
static inline cells load_cells(const cell *x) { return (cells){wasm_v128_load(x), wasm_v128_load(x + 8)}; }
static inline lanes add_products(lanes sum, weights w, cells x) {
  return wasm_i32x4_add(sum, wasm_i32x4_add(wasm_i32x4_dot_i16x8(w.low, x.low), wasm_i32x4_dot_i16x8(w.high, x.high)));
}
#endif
static inline void store_sums(int32_t *to, const lanes *s) {
  v128_t a = wasm_i32x4_add(wasm_i32x4_shuffle(s[0], s[1], 0, 4, 1, 5), wasm_i32x4_shuffle(s[0], s[1], 2, 6, 3, 7));
  v128_t b = wasm_i32x4_add(wasm_i32x4_shuffle(s[2], s[3], 0, 4, 1, 5), wasm_i32x4_shuffle(s[2], s[3], 2, 6, 3, 7));
  wasm_v128_store(to, wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7)));
}

static inline float row_of_floats(const int8_t *w, const float *x, int inputs) {
  v128_t sum[4] = {0};
  for (int k = 0; k < inputs; k += 16) {
    v128_t low = wasm_i16x8_load8x8(w + k), high = wasm_i16x8_load8x8(w + k + 8);
    v128_t wide[4] = {wasm_i32x4_extend_low_i16x8(low), wasm_i32x4_extend_high_i16x8(low),
                      wasm_i32x4_extend_low_i16x8(high), wasm_i32x4_extend_high_i16x8(high)};
    for (int j = 0; j < 4; j++) {
      v128_t products = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(wide[j]), wasm_v128_load(x + k + 4 * j));
      sum[j] = wasm_f32x4_add(sum[j], products);
    }
  }
  v128_t all = wasm_f32x4_add(wasm_f32x4_add(sum[0], sum[2]), wasm_f32x4_add(sum[1], sum[3]));
  return wasm_f32x4_extract_lane(all, 0) + wasm_f32x4_extract_lane(all, 2) +
         (wasm_f32x4_extract_lane(all, 1) + wasm_f32x4_extract_lane(all, 3));
}
#else
typedef int8_t cell;
#ifdef __AVX2__
#include <immintrin.h>
enum { PARTS = 2 };
// Bytes without a sign times bytes with one, in pairs: the activation's sign goes to the weight, and since neither is
// ever -128, two products are at most 2 * 127^2, which 16 bits hold.
typedef __m256i lanes, weights;
typedef struct { __m256i signed_, magnitude; } cells;
static inline weights load_weights(const int8_t *w) { return _mm256_loadu_si256((const __m256i *)w); }
static inline cells load_cells(const cell *x) {
  __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)x));
  return (cells){v, _mm256_abs_epi8(v)};
}
static inline lanes add_products(lanes sum, weights w, cells x) {
  __m256i pairs = _mm256_maddubs_epi16(x.magnitude, _mm256_sign_epi8(w, x.signed_));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline void store_sums(int32_t *to, const lanes *s) {
  __m256i sum = _mm256_hadd_epi32(s[0], s[1]);  // of rows 0 and 2 in the low half, 1 and 3 in the high one
  sum = _mm256_hadd_epi32(sum, sum);
  __m128i even = _mm256_castsi256_si128(sum), odd = _mm256_extracti128_si256(sum, 1);
  _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi32(even, odd));
}
static inline __m256 eight_floats(const int8_t *w, const float *x) {
  __m256 wide = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)w)));
  return _mm256_mul_ps(wide, _mm256_loadu_ps(x));
}
static inline float row_of_floats(const int8_t *w, const float *x, int inputs) {
  __m256 low = _mm256_setzero_ps(), high = low;
  for (int k = 0; k < inputs; k += 16) {
    low = _mm256_add_ps(low, eight_floats(w + k, x + k));
    high = _mm256_add_ps(high, eight_floats(w + k + 8, x + k + 8));
  }
  low = _mm256_add_ps(low, high);
  __m128 all = _mm_add_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
  return all[0] + all[2] + (all[1] + all[3]);
}
#else
static inline float row_of_floats(const int8_t *w, const float *x, int inputs) {
  float part[16] = {0}, sum = 0;
  for (int k = 0; k < inputs; k += 16)
    for (int j = 0; j < 16; j++) part[j] += w[k + j] * x[k + j];
  for (int j = 0; j < 16; j++) sum += part[j];
  return sum;
}
#endif
#endif

// The sums of four rows of weights times each of `count` inputs, 1 or AT_ONCE, which lie `stride` apart; each of them
// has its sums `rows` after those of the one before. The rows take turns in memory, 16 weights each. `inputs` is a
// multiple of 16: what lies beyond a layer's own does not matter, for its weights are zero.
static inline __attribute__((always_inline)) void four_rows(const int8_t *w, const cell *x, int stride, int count,
                                                            int inputs, int32_t *sums, int rows) {
#if defined(__wasm_simd128__) || defined(__AVX2__)
  lanes sum[AT_ONCE][PARTS] = {0};
  for (int k = 0; k < inputs; k += 16) {
    cells seen[AT_ONCE];
    for (int j = 0; j < count; j++) seen[j] = load_cells(x + j * stride + k);
    for (int p = 0; p < PARTS; p++) {
      weights part = load_weights(w + 4 * k + 64 / PARTS * p);
      for (int j = 0; j < count; j++) sum[j][p] = add_products(sum[j][p], part, seen[j]);
    }
  }
  for (int j = 0; j < count; j++) store_sums(sums + j * rows, sum[j]);
#else
  for (int j = 0; j < count; j++)
    for (int r = 0; r < 4; r++) {
      const int8_t *row = w + 16 * r;
      const cell *seen = x + j * stride;
      int32_t sum = 0;
      for (int k = 0; k < inputs; k += 16)
        for (int i = 0; i < 16; i++) sum += row[4 * k + i] * seen[k + i];
      sums[j * rows + r] = sum;
    }
#endif
}

// To the nearest whole number, halves to even, for |x| < 2^22: a sum of this size holds no fraction.
static inline float nearest(float x) { return (x + 12582912.0f) - 12582912.0f; }

static inline float clamp(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

union number {
  float value;
  int32_t bits;
};

// The same as int32, for the last bits of that sum are the number's.
static inline int32_t whole(float x) {
  union number sum = {x + 12582912.0f};
  return sum.bits - 0x4b400000;
}

// 2^t: 2^n 2^f with |f| <= 1/2, 2^f = e^(f ln 2) by its series. What t loses in being rounded is nothing to the gates,
// which are flat where it is large.
static inline float power_of_two(float t) {
  t = clamp(t, -126, 126);
  union number sum = {t + 12582912.0f}, power;
  float f = t - (sum.value - 12582912.0f);
  float p =
      1 + f * (6.931471806e-01f +
               f * (2.402265070e-01f +
                    f * (5.550410866e-02f + f * (9.618129108e-03f + f * (1.333355815e-03f + f * 1.540353039e-04f)))));
  power.bits = (int32_t)((uint32_t)(sum.bits + 127) << 23);
  return p * power.value;
}

static inline float sigmoid(float x) { return 1 / (1 + power_of_two(-1.44269504f * x)); }
static inline float tangent(float x) { return 1 - 2 / (1 + power_of_two(2.88539008f * x)); }  // the hyperbolic one

// Whole numbers in [-127, 127] for values in [-1, 1].
static inline float quantise(float x) { return nearest(127 * x); }

static void activate(float *x, int n, int activation) {
  switch (activation) {
    case CLAMP:
      for (int k = 0; k < n; k++) x[k] = quantise(clamp(x[k], 0, 1));
      break;
    case TANH:
      for (int k = 0; k < n; k++) x[k] = quantise(tangent(x[k]));
      break;
    case SIGMOID:
      for (int k = 0; k < n; k++) x[k] = sigmoid(x[k]);
      break;
  }
}

static void to_cells(cell *to, const float *from, int n) {
  for (int k = 0; k < n; k++) to[k] = (cell)whole(from[k]);
}

// The frame's inputs into `seen`, band after band, after those that a convolution remembers, which then remembers
// these; zeros on either side of a frame where a band sees its neighbours.
static void gather(const struct layer *l, float *memory, int t, cell *seen) {
  int edge = l->reach * (l->inputs / l->bands), row = l->inputs + 2 * edge, past = l->frames - 1;
  for (int f = 0; f < past; f++) to_cells(seen + f * row + edge, memory + f * l->inputs, l->inputs);
  cell *to = seen + past * row + edge;
  for (int b = 0; b < l->bands; b++)
    for (int s = 0; s < l->num_sources; s++) {
      const struct source *source = l->sources + s;
      int width = source->width / l->bands;
      to_cells(to, source->from + t * source->stride + b * width, width);
      to += width;
    }
  for (int f = 0; f < past; f++)
    for (int k = 0; k < l->inputs; k++) memory[f * l->inputs + k] = seen[(f + 1) * row + edge + k];
  for (int f = 0; f < l->frames; f++)
    for (int k = 0; k < edge; k++) seen[f * row + k] = seen[(f + 1) * row - 1 - k] = 0;
}

// What each band sees lies in one piece, and overlaps with its neighbours'; of several frames it is put together.
static const cell *windows(const struct network *n, const struct layer *l, int *stride) {
  int band = l->inputs / l->bands, window = (2 * l->reach + 1) * band, row = l->inputs + 2 * l->reach * band;
  const cell *seen = n->seen;
  *stride = band;
  if (l->frames == 1 || l->bands == 1) return seen;
  *stride = l->affines->columns;
  for (int b = 0; b < l->bands; b++)
    for (int f = 0; f < l->frames; f++) {
      cell *restrict to = (cell *)n->second + b * *stride + f * window;
      const cell *restrict from = seen + f * row + b * band;
      for (int k = 0; k < window; k++) to[k] = from[k];
    }
  return n->second;
}

// Of `count` bands all rows.
static void products(const struct affine *a, const cell *x, int stride, int count, int32_t *sums) {
  for (int m = 0; m < a->rows; m += 4) {
    const int8_t *w = a->weight + (intptr_t)m * a->columns;
    if (count == AT_ONCE)
      four_rows(w, x, stride, AT_ONCE, a->columns, sums + m, a->rows);
    else
      for (int j = 0; j < count; j++) four_rows(w, x + j * stride, 0, 1, a->columns, sums + j * a->rows + m, 0);
  }
}

static void to_values(const int32_t *restrict sums, const float *restrict scale, const float *restrict bias,
                      float *restrict out, int n) {
  for (int m = 0; m < n; m++) out[m] = (float)sums[m] * scale[m] + bias[m];
}

// Bands taken at once, from band b on.
static inline int at_once(const struct layer *l, int b) { return l->bands - b < AT_ONCE ? l->bands - b : AT_ONCE; }

// The same weights for all bands, a bias of each one's own.
static void affine(const struct network *n, const struct layer *l, float *out) {
  const struct affine *a = l->affines;
  int channels = l->units / l->bands, stride;
  const cell *x = windows(n, l, &stride);
  for (int b = 0; b < l->bands; b += AT_ONCE) {
    int count = at_once(l, b);
    products(a, x + b * stride, stride, count, n->sums);
    for (int j = 0; j < count; j++) {
      int first = (b + j) * channels;
      to_values(n->sums + j * a->rows, a->scale, a->bias + first, out + first, channels);
    }
  }
}

// The same of features, which are no whole numbers.
static void affine_floats(const struct affine *a, const float *x, float *out) {
  for (int m = 0; m < a->rows; m++)
    out[m] = row_of_floats(a->weight + (intptr_t)m * a->columns, x, a->columns) * a->scale[m] + a->bias[m];
}

// What lean frames go on from: of a full frame what the layer saw, and the sums that it made of it.
static void keep(float *restrict kept, const cell *restrict seen, int width, const float *restrict sums, int count) {
  for (int k = 0; k < width; k++) kept[k] = seen[k];
  for (int k = 0; k < count; k++) kept[width + k] = sums[k];
}

// The same sums as they go on: by lean_out (lean_in (seen - kept)), `lean` points to both. Overwrites `seen`.
static void go_on(const struct network *n, const struct affine *lean, int rank, const float *restrict kept,
                  cell *restrict seen, int width, float *restrict sums, int count) {
  const struct affine *in = lean, *out = lean + 1;
  cell *restrict brief = (cell *)n->second;
  for (int k = 0; k < width; k++) seen[k] = (cell)whole(clamp((float)seen[k] - kept[k], -127, 127));
  products(in, seen, 0, 1, n->sums);
  for (int k = 0; k < rank; k++) brief[k] = (cell)whole(127 * clamp((float)n->sums[k] * in->scale[k], -1, 1));
  products(out, brief, 0, 1, n->sums);
  for (int k = 0; k < count; k++) sums[k] = kept[width + k] + (float)n->sums[k] * out->scale[k];
}

// A convolution that may be lean: its sums into out.
static void affine_by_turns(const struct network *n, const struct layer *l, int full, float *kept, float *out) {
  cell *seen = (cell *)n->seen;
  int width = l->frames * l->inputs;
  if (full) {
    affine(n, l, out);
    keep(kept, seen, width, out, l->units);
  } else {
    go_on(n, l->affines + 1, l->lean, kept, seen, width, out, l->units);
  }
}

// One step, from the sums of r and z, of what n says of the input, and of what it says of the state. Gates r and z come
// first, by themselves: less waits for what was just computed.
static void step(float *restrict sums, int channels, float *restrict h, float *restrict out) {
  const float *restrict of_r = sums, *restrict of_z = sums + channels;
  const float *restrict of_input = of_z + channels, *restrict of_state = of_input + channels;
  for (int k = 0; k < 2 * channels; k++) sums[k] = sigmoid(sums[k]);
  for (int k = 0; k < channels; k++) {
    float c = tangent(of_state[k] * of_r[k] + of_input[k]);
    h[k] = (h[k] - c) * of_z[k] + c;
    out[k] = quantise(h[k]);
  }
}

// All sums of `count` bands, four for each channel.
static void gate_sums(const struct network *n, const struct layer *l, const cell *seen, const cell *state, int count) {
  int channels = l->units / l->bands;
  const struct affine *input = l->affines, *hidden = l->affines + 1;
  products(input, seen, l->inputs / l->bands, count, n->sums);
  for (int j = 0; j < count; j++)
    to_values(n->sums + j * input->rows, input->scale, input->bias, n->gates + j * 4 * channels, 3 * channels);
  products(hidden, state, channels, count, n->sums);
  for (int j = 0; j < count; j++) {
    const int32_t *restrict of = n->sums + j * hidden->rows;
    float *restrict gates = n->gates + j * 4 * channels;
    for (int k = 0; k < 2 * channels; k++) gates[k] = (float)of[k] * hidden->scale[k] + gates[k];
    int n_first = 2 * channels;
    to_values(of + n_first, hidden->scale + n_first, hidden->bias + n_first, gates + 3 * channels, channels);
  }
}

// The state before a step as the weights meet it; `out` has it as whole numbers meanwhile.
static void see_state(const struct layer *l, const float *h, float *out, cell *state) {
  for (int k = 0; k < l->units; k++) out[k] = quantise(h[k]);
  to_cells(state, out, l->units);
}

// PyTorch's gated recurrent unit, once for each band; h stays float, its copy that meets the weights is int8.
static void gru(const struct network *n, const struct layer *l, float *h, float *out) {
  int channels = l->units / l->bands, inputs = l->inputs / l->bands;
  cell *state = (cell *)n->second;
  see_state(l, h, out, state);
  for (int b = 0; b < l->bands; b += AT_ONCE) {
    int count = at_once(l, b);
    gate_sums(n, l, (const cell *)n->seen + b * inputs, state + b * channels, count);
    for (int j = 0; j < count; j++)
      step(n->gates + j * 4 * channels, channels, h + (b + j) * channels, out + (b + j) * channels);
  }
}

// One that may be lean, of one band.
static void gru_by_turns(const struct network *n, const struct layer *l, int full, float *kept, float *h, float *out) {
  cell *seen = (cell *)n->seen, *state = seen + l->inputs;
  int width = l->inputs + l->units;
  see_state(l, h, out, state);
  if (full) {
    gate_sums(n, l, seen, state, 1);
    keep(kept, seen, width, n->gates, 4 * l->units);
  } else {
    go_on(n, l->affines + 2, l->lean, kept, seen, width, n->gates, 4 * l->units);
  }
  step(n->gates, l->units, h, out);
}

// Which frames are full ones: see `choose` in nn/network.py.
static void choose(const struct network *n, float *memory, int frames, float backlog, int effort) {
  float *turn = memory + n->turn;
  for (int t = 0; t < frames; t++) {
    int full = n->turn < 0 || effort == FULL || *turn == 0 || (effort == AUTO && backlog < 1 && *turn >= FULL_EVERY);
    n->full[t] = full;
    if (n->turn >= 0) *turn = effort == FULL ? 0 : full ? 1 : clamp(*turn + 1, 0, FULL_EVERY);
  }
}

// Layer after layer, each over all frames, so that its weights are read from memory once.
static void run_layers(const struct network *n, float *memory, int frames, float backlog, int effort) {
  choose(n, memory, frames, backlog, effort);
  for (const struct layer *l = n->layers; l < n->layers + n->num_layers; l++) {
    for (int t = 0; t < frames; t++) {
      float *out = l->out + t * l->stride, *own = memory + l->memory, *kept = memory + l->full_frame;
      int by_turns = l->lean && effort != FULL;
      if (l->floats)
        affine_floats(l->affines, l->sources->from + t * l->sources->stride, out);
      else
        gather(l, own, t, n->seen);
      switch (l->kind) {
        case DENSE:
        case CONV:
        case BAND_CONV:
          if (by_turns)
            affine_by_turns(n, l, n->full[t], kept, out);
          else if (!l->floats)
            affine(n, l, out);
          activate(out, l->units, l->activation);
          break;
        case GRU:
        case BAND_GRU:
          if (by_turns)
            gru_by_turns(n, l, n->full[t], kept, own, out);
          else
            gru(n, l, own, out);
          break;
      }
    }
  }
}

// The network, all layers in one call: int8 weights times int8 activations, summed exactly, then scale, bias and
// activation; and GRUs, which are two such products with their gates. Activations between layers are whole numbers in
// [-127, 127] held in float32. Apart from the products it is plain C, which compilers turn into SIMD.

// four_rows: the int32 sums of four rows of weights times x; `inputs` is a multiple of 16.
#ifdef __wasm_simd128__
#include <wasm_simd128.h>
// Sums of 16 products in four lanes: v is a row's weights, x the activations.
#ifdef __wasm_relaxed_simd__
// The relaxed product wants its second operand within [0, 127]: the sign of the activation goes to the weight, which is
// never -128.
typedef int8_t cell;
struct cells { v128_t magnitude, sign; };
static inline struct cells load_cells(const cell *x) {
  v128_t v = wasm_v128_load(x);
  return (struct cells){wasm_i8x16_abs(v), wasm_i8x16_shr(v, 7)};
}
static inline v128_t add_products(v128_t sum, v128_t v, struct cells x) {
  return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_i8x16_sub(wasm_v128_xor(v, x.sign), x.sign), x.magnitude, sum);
}
#else
typedef int16_t cell;
struct cells { v128_t low, high; };
static inline struct cells load_cells(const cell *x) {
  return (struct cells){wasm_v128_load(x), wasm_v128_load(x + 8)};
}
static inline v128_t add_products(v128_t sum, v128_t v, struct cells x) {
  return wasm_i32x4_add(sum, wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(v), x.low),
                                            wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(v), x.high)));
}
#endif
// The rows take turns, 16 weights each: memory is read from one end to the other.
static inline void four_rows(const int8_t *w, const cell *x, int inputs, int32_t *sums) {
  v128_t sum[4] = {wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0),
                   wasm_i32x4_const_splat(0)};
  for (int k = 0; k < inputs; k += 16) {
    struct cells cells = load_cells(x + k);
#pragma clang loop unroll(full)
    for (int r = 0; r < 4; r++) sum[r] = add_products(sum[r], wasm_v128_load(w + 4 * k + 16 * r), cells);
  }
  // Four sums of four lanes each become one vector of four sums.
  v128_t a =
      wasm_i32x4_add(wasm_i32x4_shuffle(sum[0], sum[1], 0, 4, 2, 6), wasm_i32x4_shuffle(sum[0], sum[1], 1, 5, 3, 7));
  v128_t b =
      wasm_i32x4_add(wasm_i32x4_shuffle(sum[2], sum[3], 0, 4, 2, 6), wasm_i32x4_shuffle(sum[2], sum[3], 1, 5, 3, 7));
  wasm_v128_store(sums, wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7)));
}
#else
// The rows lie one after another.
typedef int16_t cell;  // for the 16-bit products with 32-bit sums that processors have
static inline void four_rows(const int8_t *restrict w, const cell *restrict x, int inputs, int32_t *sums) {
  for (int r = 0; r < 4; r++, w += inputs) {
    int32_t sum = 0;
    for (int k = 0; k < inputs; k++) sum += w[k] * x[k];
    sums[r] = sum;
  }
}
#endif

// To the nearest whole number, halves to even, for |x| < 2^22: a sum of this size holds no fraction.
static inline float nearest(float x) { return (x + 12582912.0f) - 12582912.0f; }

static inline float clamp(float x, float low, float high) {
  x = x > low ? x : low;
  return x < high ? x : high;
}

// e^x to 2e-7, relative: 2^n e^f with |f| <= ln(2)/2, e^f by its series.
static inline float exponential(float x) {
  x = clamp(x, -87, 87);
  float n = nearest(x * 1.44269504f), f = x - n * 0.693145752f - n * 1.42860677e-6f;
  float p = 1 + f * (1 + f * (0.5f + f * (1.0f / 6 + f * (1.0f / 24 + f * (1.0f / 120 + f * (1.0f / 720))))));
  union {
    int32_t bits;
    float value;
  } power = {((int32_t)n + 127) << 23};
  return p * power.value;
}

static inline float sigmoid(float x) { return 1 / (1 + exponential(-x)); }
static inline float tangent(float x) { return 1 - 2 / (1 + exponential(2 * x)); }  // the hyperbolic one

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
  for (int k = 0; k < n; k++) to[k] = (cell)(int)from[k];
}

// The frame's inputs into `seen`, after those that a convolution remembers; it then remembers these.
static void gather(const struct layer *l, float *memory, int t, cell *seen) {
  int remembered = (l->frames - 1) * l->inputs, at = remembered, columns = l->affines[0].columns;
  if (l->kind == CONV) to_cells(seen, memory, remembered);
  for (int s = 0; s < l->num_sources; s++) {
    const struct source *source = l->sources + s;
    to_cells(seen + at, source->from + t * source->stride, source->width);
    at += source->width;
  }
  if (l->kind == CONV)
    for (int k = 0; k < remembered; k++) memory[k] = seen[l->inputs + k];
  for (; at < columns; at++) seen[at] = 0;
}

// The rows from `first` to `end`, and those that make up fours with them.
static void products(const struct affine *a, const cell *x, int32_t *sums, int first, int end) {
  for (int m = first & ~3; m < end; m += 4) four_rows(a->weight + (intptr_t)m * a->columns, x, a->columns, sums + m);
}

static void affine(const struct affine *a, const cell *x, int32_t *restrict sums, float *restrict out, int first,
                   int end) {
  products(a, x, sums, first, end);
  const float *restrict scale = a->scale, *restrict bias = a->bias;
  for (int m = first; m < end; m++) out[m] = (float)sums[m] * scale[m] + bias[m];
}

// The same of features, which are no whole numbers; sixteen sums at a time.
static void affine_floats(const struct affine *a, const float *x, float *out) {
  for (int m = 0; m < a->rows; m++) {
    const int8_t *row = a->weight + m * a->columns;
    float part[16] = {0}, sum = 0;
    for (int k = 0; k < a->columns; k += 16)
      for (int j = 0; j < 16; j++) part[j] += row[k + j] * x[k + j];
    for (int j = 0; j < 16; j++) sum += part[j];
    out[m] = sum * a->scale[m] + a->bias[m];
  }
}

// PyTorch's gated recurrent unit; h stays float, its copy that meets the weights is int8. The first `updated` units
// take a step, the others hold their state.
static void gru(const struct network *n, const struct layer *l, int updated, float *restrict h, float *restrict out) {
  int units = l->units;
  const struct affine *hidden = l->affines + 1;
  int32_t *sums = n->sums;
  cell *seen = n->seen_hidden;
  for (int k = 0; k < units; k++) out[k] = quantise(h[k]);
  to_cells(seen, out, units);
  for (int k = units; k < hidden->columns; k++) seen[k] = 0;
  // Rows of one gate follow those of another: all of them at once, or a part of each.
  int gates = updated < units ? 3 : 1, end = updated < units ? updated : 3 * units;
  for (int g = 0; g < gates; g++) affine(l->affines, n->seen, sums, n->gates, g * units, g * units + end);
  for (int g = 0; g < gates; g++) products(hidden, seen, sums, g * units, g * units + end);
  const float *restrict of_r = n->gates, *restrict of_z = of_r + units, *restrict of_n = of_z + units;
  const float *restrict scale = hidden->scale, *restrict bias_n = hidden->bias + 2 * units;
  for (int k = 0; k < updated; k++) {
    float r = sigmoid((float)sums[k] * scale[k] + of_r[k]);
    float z = sigmoid((float)sums[units + k] * scale[units + k] + of_z[k]);
    float c = tangent(((float)sums[2 * units + k] * scale[2 * units + k] + bias_n[k]) * r + of_n[k]);
    h[k] = (h[k] - c) * z + c;
    out[k] = quantise(h[k]);
  }
}

// Shares of 1, 4, 16 and 64 hops, at most 1.
static void show_backlog(float *to, float hops) {
  for (int k = 0; k < BACKLOG_WIDTH; k++, hops *= 0.25f) to[k] = quantise(clamp(hops, 0, 1));
}

// Whether a frame is a full one: what the arbitrator says, or is made to say.
static inline int is_full(const struct network *n, int t) {
  const struct layer *arbitrator = n->layers + n->arbitrator;
  return n->arbitrator < 0 || arbitrator->out[t * arbitrator->stride] > 0.5f;
}

// Layer after layer, each over all frames, so that its weights are read from memory once.
static void run_layers(const struct network *n, float *memory, int frames, float backlog, int effort) {
  show_backlog(n->backlog, backlog);
  for (const struct layer *l = n->layers; l < n->layers + n->num_layers; l++) {
    for (int t = 0; t < frames; t++) {
      float *out = l->out + t * l->stride, *own = memory + l->memory;
      if (l->floats)
        affine_floats(l->affines, l->sources->from + t * l->sources->stride, out);
      else
        gather(l, own, t, n->seen);
      switch (l->kind) {
        case DENSE:
        case CONV:
          if (!l->floats) affine(l->affines, n->seen, n->sums, out, 0, l->affines->rows);
          activate(out, l->units, l->activation);
          break;
        case GRU: gru(n, l, l->lean && !is_full(n, t) ? l->lean : l->units, own, out); break;
      }
      if (l - n->layers == n->arbitrator && effort != AUTO) *out = effort == FULL;
    }
  }
}

// The network for WebAssembly SIMD, all layers in one call: int8 weights times int8 activations, summed exactly, then scale, bias and
// activation; and GRUs, which are two such products with their gates.
//
// Freestanding: no libc, no Python. Built by build_kernel.sh, for SIMD and for relaxed SIMD; called through ctypes on numpy's memory
// (pyenhance/nn/kernels.py). Activations between layers are whole numbers in [-127, 127] held in float32.
#include <stdint.h>
#include <wasm_simd128.h>

#define API __attribute__((visibility("default")))

// An activation beside the weights, and sums of 16 products in four lanes: v is a row's weights, x the activations.
#ifdef __wasm_relaxed_simd__
// The relaxed product wants its second operand within [0, 127]: the sign of the activation goes to the weight, which is never -128.
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
static inline struct cells load_cells(const cell *x) { return (struct cells){wasm_v128_load(x), wasm_v128_load(x + 8)}; }
static inline v128_t add_products(v128_t sum, v128_t v, struct cells x) {
  return wasm_i32x4_add(sum, wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(v), x.low),
                                            wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(v), x.high)));
}
#endif

// Four rows of weights times x: four sums, int32, as float32.
static inline v128_t four_rows(const int8_t *w, const cell *x, int inputs) {
  v128_t sum[4] = {wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0)};
  for (int k = 0; k < inputs; k += 16) {
    struct cells cells = load_cells(x + k);
#pragma clang loop unroll(full)
    for (int r = 0; r < 4; r++) sum[r] = add_products(sum[r], wasm_v128_load(w + r * inputs + k), cells);
  }
  // Four sums of four lanes each become one vector of four sums.
  v128_t a = wasm_i32x4_add(wasm_i32x4_shuffle(sum[0], sum[1], 0, 4, 2, 6), wasm_i32x4_shuffle(sum[0], sum[1], 1, 5, 3, 7));
  v128_t b = wasm_i32x4_add(wasm_i32x4_shuffle(sum[2], sum[3], 0, 4, 2, 6), wasm_i32x4_shuffle(sum[2], sum[3], 1, 5, 3, 7));
  return wasm_f32x4_convert_i32x4(wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 1, 4, 5), wasm_i32x4_shuffle(a, b, 2, 3, 6, 7)));
}

static inline v128_t splat(float x) { return wasm_f32x4_splat(x); }
static inline v128_t add(v128_t a, v128_t b) { return wasm_f32x4_add(a, b); }
static inline v128_t mul(v128_t a, v128_t b) { return wasm_f32x4_mul(a, b); }

// e^x to 2e-7, relative: 2^n e^f with |f| <= ln(2)/2, e^f by its series.
static inline v128_t exponential(v128_t x) {
  x = wasm_f32x4_min(wasm_f32x4_max(x, splat(-87.0f)), splat(87.0f));
  v128_t n = wasm_f32x4_nearest(mul(x, splat(1.44269504f)));
  v128_t f = wasm_f32x4_sub(wasm_f32x4_sub(x, mul(n, splat(0.693145752f))), mul(n, splat(1.42860677e-6f)));
  v128_t p = splat(1.0f / 720);
  p = add(mul(p, f), splat(1.0f / 120));
  p = add(mul(p, f), splat(1.0f / 24));
  p = add(mul(p, f), splat(1.0f / 6));
  p = add(mul(p, f), splat(0.5f));
  p = add(mul(p, f), splat(1.0f));
  p = add(mul(p, f), splat(1.0f));
  v128_t power = wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n), wasm_i32x4_splat(127)), 23);
  return mul(p, power);
}

static inline v128_t sigmoid(v128_t x) { return wasm_f32x4_div(splat(1), add(splat(1), exponential(wasm_f32x4_neg(x)))); }
static inline v128_t tanh4(v128_t x) { return wasm_f32x4_sub(splat(1), wasm_f32x4_div(splat(2), add(splat(1), exponential(add(x, x))))); }

// Whole numbers in [-127, 127] for values in [-1, 1].
static inline v128_t quantise(v128_t x) { return wasm_f32x4_nearest(mul(x, splat(127))); }

enum { NONE, CLAMP, TANH, SIGMOID };

static inline v128_t activate(v128_t x, int activation) {
  switch (activation) {
    case CLAMP: return quantise(wasm_f32x4_min(wasm_f32x4_max(x, splat(0)), splat(1)));
    case TANH: return quantise(tanh4(x));
    case SIGMOID: return sigmoid(x);
    default: return x;
  }
}

typedef intptr_t word;

// What a layer sees of another's output, or of the features: `width` numbers of each frame, `stride` apart from frame to frame.
struct source { const float *from; word width, stride; };

// In the order of kernels.py's rows. Outputs and columns are padded, with zeros, to multiples of 4 and 16; a GRU's units are one of 16.
struct layer {
  word kind, activation, window, inputs, columns, outputs, sources;  // window: frames side by side; columns >= window * inputs
  struct source source[5];                                           // side by side they are the inputs
  const int8_t *weight; const float *scale, *bias;                   // [outputs][columns]; [outputs]: value of a step of the sums; [outputs]
  const int8_t *weight_hh; const float *scale_hh, *bias_n;           // of a GRU: [3 units][units]; [3 units]; [units], in the reset gate
  float *memory, *out;                                               // frames before, [window - 1][inputs], or h; [frames][outputs]
};
enum { FLOATS, INTEGERS, RECURRENT };  // what `kind` says of the inputs; the weights of a GRU have 3 units rows: gates r, z, n

enum { WIDEST = 4096 };  // model.Topology allows no more
static cell seen[5 * WIDEST], seen_hidden[WIDEST];
static float gates[3 * WIDEST], rounded[WIDEST];

static void whole(cell *to, const float *from, int n) {
  for (int k = 0; k < n; k++) to[k] = (cell)from[k];
}

// The frame's inputs into `seen`, after those that a convolution remembers; it then remembers these.
static void gather(const struct layer *l, int t) {
  int remembered = (l->window - 1) * l->inputs, at = remembered;
  whole(seen, l->memory, remembered);
  for (int s = 0; s < l->sources; s++) {
    whole(seen + at, l->source[s].from + t * l->source[s].stride, l->source[s].width);
    at += l->source[s].width;
  }
  if (l->window > 1)
    for (int k = 0; k < remembered; k++) l->memory[k] = seen[l->inputs + k];
  for (; at < l->columns; at++) seen[at] = 0;
}

static inline v128_t scaled(v128_t sums, const float *scale, const float *bias) {
  return add(mul(sums, wasm_v128_load(scale)), wasm_v128_load(bias));
}

// activation(scale * (weight seen) + bias)
static void affine(const struct layer *l, float *out) {
  for (int m = 0; m < l->outputs; m += 4)
    wasm_v128_store(out + m, activate(scaled(four_rows(l->weight + m * l->columns, seen, l->columns), l->scale + m, l->bias + m), l->activation));
}

// The same of features, which are no whole numbers.
static void affine_floats(const struct layer *l, const float *x, float *out) {
#pragma clang fp reassociate(on) contract(fast)
  for (int m = 0; m < l->outputs; m++) {
    const int8_t *row = l->weight + m * l->columns;
    float sum = 0;
    for (int k = 0; k < l->columns; k++) sum += row[k] * x[k];
    out[m] = sum;
  }
  for (int m = 0; m < l->outputs; m += 4) wasm_v128_store(out + m, activate(scaled(wasm_v128_load(out + m), l->scale + m, l->bias + m), l->activation));
}

// PyTorch's gated recurrent unit; h stays float, its copy that meets the weights is int8.
static void gru(const struct layer *l, float *out) {
  int units = l->outputs;
  float *h = l->memory;
  for (int m = 0; m < 3 * units; m += 4)
    wasm_v128_store(gates + m, scaled(four_rows(l->weight + m * l->columns, seen, l->columns), l->scale + m, l->bias + m));
  for (int k = 0; k < units; k += 4) wasm_v128_store(rounded + k, quantise(wasm_v128_load(h + k)));
  whole(seen_hidden, rounded, units);
  for (int m = 0; m < units; m += 4) {
    v128_t part[3];
    for (int g = 0; g < 3; g++) {
      int row = g * units + m;
      part[g] = mul(four_rows(l->weight_hh + row * units, seen_hidden, units), wasm_v128_load(l->scale_hh + row));
    }
    v128_t r = sigmoid(add(part[0], wasm_v128_load(gates + m)));
    v128_t z = sigmoid(add(part[1], wasm_v128_load(gates + units + m)));
    v128_t n = tanh4(add(mul(add(part[2], wasm_v128_load(l->bias_n + m)), r), wasm_v128_load(gates + 2 * units + m)));
    v128_t next = add(mul(wasm_f32x4_sub(wasm_v128_load(h + m), n), z), n);
    wasm_v128_store(h + m, next);
    wasm_v128_store(out + m, quantise(next));
  }
}

// Layer after layer, each over all frames, so that its weights are read from memory once.
API void network(const struct layer *l, int count, int frames) {
  for (; count; count--, l++)
    for (int t = 0; t < frames; t++) {
      float *out = l->out + t * l->outputs;
      if (l->kind == FLOATS) { affine_floats(l, l->source[0].from + t * l->source[0].stride, out); continue; }
      gather(l, t);
      if (l->kind == RECURRENT) gru(l, out); else affine(l, out);
    }
}

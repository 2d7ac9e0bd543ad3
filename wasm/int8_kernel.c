// The network's layers for WebAssembly SIMD: int8 weights times int8 activations, summed exactly, then scale, bias and activation;
// and a GRU, which is two such products with its gates.
//
// Freestanding: no libc, no Python. Built by build_kernel.sh, called through ctypes on numpy's memory (pyenhance/nn/kernels.py).
// Weights are int8 [rows][inputs], inputs a multiple of 16. Activations are whole numbers in [-127, 127] held in float32.
#include <stdint.h>
#include <wasm_simd128.h>

#define API __attribute__((visibility("default")))

// Whole numbers as int16, eight at a time.
static inline v128_t to_int16(v128_t low, v128_t high) {
  return wasm_i16x8_narrow_i32x4(wasm_i32x4_trunc_sat_f32x4(low), wasm_i32x4_trunc_sat_f32x4(high));
}

// Four rows of weights times x (int16 [inputs]): four sums, int32, as float32.
static inline v128_t four_rows(const int8_t *w, const int16_t *x, int inputs) {
  v128_t sum[4] = {wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0)};
  for (int k = 0; k < inputs; k += 16) {
    v128_t x0 = wasm_v128_load(x + k), x1 = wasm_v128_load(x + k + 8);
#pragma clang loop unroll(full)
    for (int r = 0; r < 4; r++) {
      v128_t bytes = wasm_v128_load(w + r * inputs + k);
      v128_t products = wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(bytes), x0),
                                       wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(bytes), x1));
      sum[r] = wasm_i32x4_add(sum[r], products);
    }
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

static void to_int16_row(int16_t *to, const float *from, int n) {
  for (int k = 0; k < n; k += 8) wasm_v128_store(to + k, to_int16(wasm_v128_load(from + k), wasm_v128_load(from + k + 4)));
}

// y[t] = activation(scale * (weight x[t]) + bias); CLAMP and TANH answer with whole numbers.
//   outputs a multiple of 4; scale, bias float32 [outputs]; x float32 [frames][inputs]; scratch int16 [inputs]
//   y float32 [frames][outputs]
API void int8_affine(const int8_t *weight, const float *scale, const float *bias, const float *x, int16_t *scratch, float *y,
                     int frames, int outputs, int inputs, int activation) {
  for (int t = 0; t < frames; t++, x += inputs, y += outputs) {
    to_int16_row(scratch, x, inputs);
    for (int m = 0; m < outputs; m += 4) {
      v128_t sums = four_rows(weight + m * inputs, scratch, inputs);
      wasm_v128_store(y + m, activate(add(mul(sums, wasm_v128_load(scale + m)), wasm_v128_load(bias + m)), activation));
    }
  }
}

// A GRU over frames, gates r, z, n as PyTorch orders them; units a multiple of 16.
//   weight_ih int8 [3 units][inputs], weight_hh int8 [3 units][units]; scale_* float32 [3 units], of their sums
//   bias float32 [3 units], of the gates but for n's hidden part; bias_n float32 [units], of that
//   x float32 [frames][inputs]; h float32 [units], updated; scratch int16 [inputs or units, the larger]; gates float32 [3 units]
//   out float32 [frames][units]: h as whole numbers in [-127, 127]
API void int8_gru(const int8_t *weight_ih, const float *scale_ih, const float *bias, const int8_t *weight_hh, const float *scale_hh,
                  const float *bias_n, const float *x, float *h, int16_t *scratch, float *gates, float *out, int frames, int inputs,
                  int units) {
  for (int t = 0; t < frames; t++, x += inputs, out += units) {
    int8_affine(weight_ih, scale_ih, bias, x, scratch, gates, 1, 3 * units, inputs, NONE);
    for (int k = 0; k < units; k += 8)
      wasm_v128_store(scratch + k, to_int16(quantise(wasm_v128_load(h + k)), quantise(wasm_v128_load(h + k + 4))));
    for (int m = 0; m < units; m += 4) {
      v128_t part[3];
      for (int g = 0; g < 3; g++) {
        int row = g * units + m;
        part[g] = mul(four_rows(weight_hh + row * units, scratch, units), wasm_v128_load(scale_hh + row));
      }
      v128_t r = sigmoid(add(part[0], wasm_v128_load(gates + m)));
      v128_t z = sigmoid(add(part[1], wasm_v128_load(gates + units + m)));
      v128_t n = tanh4(add(mul(add(part[2], wasm_v128_load(bias_n + m)), r), wasm_v128_load(gates + 2 * units + m)));
      v128_t next = add(mul(wasm_f32x4_sub(wasm_v128_load(h + m), n), z), n);
      wasm_v128_store(h + m, next);
      wasm_v128_store(out + m, quantise(next));
    }
  }
}

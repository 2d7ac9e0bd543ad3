// The product that the network spends its time on, for WebAssembly SIMD: int8 weights times int8 activations, summed exactly.
//
// Freestanding: no libc, no Python. Built by build_kernel.sh, called through ctypes on numpy's memory (pyenhance/nn/kernels.py).
#include <stdint.h>
#include <wasm_simd128.h>

// y[t][m] = sum over k of weight[m][k] * x[t][k]
//   weight  int8 [outputs][inputs]; outputs a multiple of 4, inputs a multiple of 16 (padded with zeros)
//   x       float32 [frames][inputs], whole numbers in [-127, 127]
//   scratch int16 [inputs]
//   y       float32 [frames][outputs]: int32 sums, rounded only when they pass 2^24
__attribute__((visibility("default"))) void int8_product(const int8_t *weight, const float *x, int16_t *scratch, float *y,
                                                         int frames, int outputs, int inputs) {
  for (int t = 0; t < frames; t++) {
    const float *row = x + t * inputs;
    for (int k = 0; k < inputs; k += 8) {
      v128_t low = wasm_i32x4_trunc_sat_f32x4(wasm_v128_load(row + k));
      v128_t high = wasm_i32x4_trunc_sat_f32x4(wasm_v128_load(row + k + 4));
      wasm_v128_store(scratch + k, wasm_i16x8_narrow_i32x4(low, high));
    }
    for (int m = 0; m < outputs; m += 4) {
      const int8_t *w = weight + m * inputs;
      v128_t sum[4] = {wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0), wasm_i32x4_const_splat(0)};
      for (int k = 0; k < inputs; k += 16) {
        v128_t x0 = wasm_v128_load(scratch + k), x1 = wasm_v128_load(scratch + k + 8);
#pragma clang loop unroll(full)
        for (int r = 0; r < 4; r++) {
          v128_t bytes = wasm_v128_load(w + r * inputs + k);
          v128_t products = wasm_i32x4_add(wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(bytes), x0),
                                           wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(bytes), x1));
          sum[r] = wasm_i32x4_add(sum[r], products);
        }
      }
      // Four sums of four lanes each become one vector of four sums.
      v128_t even = wasm_i32x4_add(wasm_i32x4_shuffle(sum[0], sum[1], 0, 4, 2, 6), wasm_i32x4_shuffle(sum[0], sum[1], 1, 5, 3, 7));
      v128_t odd = wasm_i32x4_add(wasm_i32x4_shuffle(sum[2], sum[3], 0, 4, 2, 6), wasm_i32x4_shuffle(sum[2], sum[3], 1, 5, 3, 7));
      v128_t total = wasm_i32x4_add(wasm_i32x4_shuffle(even, odd, 0, 1, 4, 5), wasm_i32x4_shuffle(even, odd, 2, 3, 6, 7));
      wasm_v128_store(y + t * outputs + m, wasm_f32x4_convert_i32x4(total));
    }
  }
}

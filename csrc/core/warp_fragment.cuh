// Matrix products of one warp: 32 x 32 sums in registers, operands given as functions.
#pragma once
#include "core/device_prims.cuh"

namespace csmri {
namespace warp {

__device__ __forceinline__ int lane_of_thread() { return static_cast<int>(threadIdx.x) % 32; }
__device__ __forceinline__ int warp_of_thread() { return static_cast<int>(threadIdx.x) / 32; }

// 32 x 32 sums of a warp. Element (m, n, e) of a lane = 4 g + t is row 16 m + g + 8 (e / 2), column 8 n + 2 t + e % 2.
template <class S>
struct Fragment {
  S sum[2][4][4] = {};

  static __device__ int row(int m, int e) { return 16 * m + lane_of_thread() / 4 + e / 2 * 8; }
  static __device__ int column(int n, int e) { return 8 * n + lane_of_thread() % 4 * 2 + e % 2; }

  template <class F>
  __device__ __forceinline__ void each(const F& f) {  // f(row, column, element)
    CSMRI_UNROLL
    for (int m = 0; m < 2; ++m) {
      CSMRI_UNROLL
      for (int n = 0; n < 4; ++n) {
        CSMRI_UNROLL
        for (int e = 0; e < 4; ++e) f(row(m, e), column(n, e), sum[m][n][e]);
      }
    }
  }

  // sum += A B for A (32, 32) and B (32, 32), given as functions a(row, k) and b(k, column). float32: one product of
  // numbers rounded to tf32, or three of numbers split in two, as exact as float32 products; float64: plain.
  template <bool kTf32, class A, class B>
  __device__ __forceinline__ void multiply(const A& a, const B& b) {
    if constexpr (sizeof(S) == 8) {
      CSMRI_DEVICE_LOOP
      for (int k = 0; k < 32; ++k) each([&](int row, int column, S& value) { value += a(row, k) * b(k, column); });
    } else {
      const int g = lane_of_thread() / 4, t = lane_of_thread() % 4;
      CSMRI_DEVICE_LOOP
      for (int k = 0; k < 32; k += 8) {
        unsigned b_high[4][2], b_low[4][2];
        CSMRI_DEVICE_UNROLL
        for (int n = 0; n < 4; ++n) {
          CSMRI_DEVICE_UNROLL
          for (int h = 0; h < 2; ++h) split<kTf32>(b(k + t + 4 * h, 8 * n + g), b_high[n][h], b_low[n][h]);
        }
        CSMRI_DEVICE_UNROLL
        for (int m = 0; m < 2; ++m) {
          unsigned a_high[4], a_low[4];
          CSMRI_DEVICE_UNROLL
          for (int i = 0; i < 4; ++i) split<kTf32>(a(16 * m + g + i % 2 * 8, k + t + i / 2 * 4), a_high[i], a_low[i]);
          CSMRI_DEVICE_UNROLL
          for (int n = 0; n < 4; ++n) {
            if constexpr (!kTf32) {
              mma_tf32(sum[m][n], a_low, b_high[n]);
              mma_tf32(sum[m][n], a_high, b_low[n]);
            }
            mma_tf32(sum[m][n], a_high, b_high[n]);
          }
        }
      }
    }
  }

 private:
  template <bool kTf32>
  static __device__ __forceinline__ void split(float value, unsigned& high, [[maybe_unused]] unsigned& low) {
    high = tf32_bits(value);
    if constexpr (!kTf32) low = tf32_bits(value - __uint_as_float(high));
  }
};

}  // namespace warp
}  // namespace csmri

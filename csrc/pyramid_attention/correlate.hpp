// Correlation of a gradient with padded input rows: the weight gradient of one input channel.
//
// A row of the input meets the K rows of the gradient whose outputs it served. Every loaded vector of it serves K
// multiply-adds, and every loaded vector of the gradient as many as there are columns of the kernel in registers, so
// the multiply-adds, not the loads, are the limit. Where the gradient has no row there are zeros.
#pragma once
#include <cstdint>

#include "pyramid_attention/tile.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr std::int64_t kWeightRows = 64;  // rows of a tile: the fewer, the more products with the zeros around it
constexpr std::int64_t kZeroRows = 8;     // above and below a plane of the gradient: those of one follow the other's
constexpr std::int64_t kGradientPlane = (kWeightRows + kZeroRows) * kPitch;

// Columns of the kernel, from `first` on, whose sums are in registers together: 16 registers hold 12 sums, 32 hold 24.
template <int K>
constexpr int columns_together(int first) {
  constexpr int kMost = (kSimd == Simd::avx512 ? 21 : 10) / K;
  const int left = K - first;
  return left == kMost + 1 && kMost > 2 ? kMost - 1 : left < kMost ? left : kMost < 1 ? 1 : kMost;
}

// sums[o][ky][kx] += sum over the tile of g_o(y, x) in(y + ky, x + kx). in: the corner that the first output sees.
template <int K, int kOutputs, int kFirst, class T>
inline void correlate_columns(const T* in, std::int64_t pitch, const T* g, std::int64_t rows, std::int64_t columns,
                              double* sums, std::int64_t sums_per_output) {
  constexpr int kColumns = columns_together<K>(kFirst);
  Vec<T> acc[kOutputs][K][kColumns];
#pragma GCC unroll 2
  for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 16
    for (int ky = 0; ky < K; ++ky)
#pragma GCC unroll 16
      for (int i = 0; i < kColumns; ++i) acc[o][ky][i] = Vec<T>{};
  for (std::int64_t r = 0; r < rows + K - 1; ++r) {
    const T *p = in + r * pitch + kFirst, *q = g + r * kPitch;
    for (std::int64_t x = 0; x < columns; x += kLanes<T>) {
      Vec<T> value[kColumns];
#pragma GCC unroll 16
      for (int i = 0; i < kColumns; ++i) {
        value[i] = load(p + x + i);
        keep_in_register(value[i]);
      }
#pragma GCC unroll 2
      for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 16
        for (int ky = 0; ky < K; ++ky) {
          Vec<T> grad = load(q + o * kGradientPlane + x - ky * kPitch);
          if constexpr (kColumns > 1) keep_in_register(grad);
#pragma GCC unroll 16
          for (int i = 0; i < kColumns; ++i) acc[o][ky][i] += value[i] * grad;
        }
    }
  }
#pragma GCC unroll 2
  for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 16
    for (int ky = 0; ky < K; ++ky)
#pragma GCC unroll 16
      for (int i = 0; i < kColumns; ++i)
        sums[o * sums_per_output + ky * K + kFirst + i] += static_cast<double>(sum<T>(acc[o][ky][i]));
  if constexpr (kFirst + kColumns < K)
    correlate_columns<K, kOutputs, kFirst + kColumns>(in, pitch, g, rows, columns, sums, sums_per_output);
}

// The same for all outputs of a group.
template <int K, class T>
void correlate_channel(const T* in, const PaddedLayout& layout, const T* g, const Tile& tile, std::int64_t outputs,
                       double* sums, std::int64_t sums_per_output) {
  constexpr int kTogether = kSimd == Simd::avx512 && K == 3 ? 2 : 1;
  const T* const corner = in + (layout.halo - K / 2) * (layout.pitch + 1);
  std::int64_t o = 0;
  for (; o + kTogether <= outputs; o += kTogether)
    correlate_columns<K, kTogether, 0>(corner, layout.pitch, g + o * kGradientPlane, tile.rows, tile.columns,
                                       sums + o * sums_per_output, sums_per_output);
  for (; o < outputs; ++o)
    correlate_columns<K, 1, 0>(corner, layout.pitch, g + o * kGradientPlane, tile.rows, tile.columns,
                               sums + o * sums_per_output, sums_per_output);
}

template <class T, class... Args>
void correlate_channel(int kernel, Args&&... args) {
  switch (kernel) {
    case 3:
      return correlate_channel<3, T>(args...);
    case 5:
      return correlate_channel<5, T>(args...);
    case 7:
      return correlate_channel<7, T>(args...);
    default:
      return correlate_channel<9, T>(args...);
  }
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

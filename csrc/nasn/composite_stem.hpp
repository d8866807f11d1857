// Two 3x3 convolutions in a row as one of 5x5. Output pixels at the border must not see what the first convolution
// would give outside the image; the kernels of the 16 cases leave those positions out.
#pragma once
#include <cstdint>

#include "rows/pixel_tiles.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr int kStemCases = 16;  // (first row, last row) x (first column, last column), a bit each

inline int border_case(std::int64_t i, std::int64_t n) { return (i == 0 ? 1 : 0) + (i == n - 1 ? 2 : 0); }

template <class T>
std::int64_t stem_case_size(std::int64_t in_channels, std::int64_t channels) {
  return groups_of<T>(channels) * 25 * in_channels * kBlock<T>;
}
inline std::int64_t stem_parts(std::int64_t in_channels, std::int64_t channels) { return 81 * in_channels * channels; }

// packed: (cases, groups, 25, in_channels, kBlock); parts: stem_parts doubles.
template <class T>
void pack_stem(const T* first, const T* second, std::int64_t in_channels, std::int64_t channels, double* parts,
               T* packed) {
  // parts[middle tap][o][i][tap of the first] = sum over m of second[o][m][middle tap] first[m][i][tap]
  const std::int64_t n = in_channels * 9, part = channels * n;
  std::fill_n(parts, 9 * part, 0.0);
  for (std::int64_t o = 0; o < channels; ++o)
    for (std::int64_t m = 0; m < channels; ++m)
      for (int tap = 0; tap < 9; ++tap) {
        const double w = static_cast<double>(second[(o * channels + m) * 9 + tap]);
        double* const to = parts + tap * part + o * n;
        for (std::int64_t i = 0; i < n; ++i) to[i] += w * static_cast<double>(first[m * n + i]);
      }
  const auto excluded = [](int which, int tap) { return (which & 1 && tap == 0) || (which & 2 && tap == 2); };
  for (int which = 0; which < kStemCases; ++which, packed += stem_case_size<T>(in_channels, channels)) {
    std::fill_n(packed, stem_case_size<T>(in_channels, channels), T(0));
    for (std::int64_t o = 0; o < channels; ++o)
      for (std::int64_t i = 0; i < in_channels; ++i) {
        double sums[25] = {};
        for (int tap = 0; tap < 9; ++tap) {
          if (excluded(which / 4, tap / 3) || excluded(which % 4, tap % 3)) continue;
          for (int k = 0; k < 9; ++k)
            sums[(tap / 3 + k / 3) * 5 + tap % 3 + k % 3] += parts[tap * part + o * n + i * 9 + k];
        }
        for (int k = 0; k < 25; ++k)
          packed[((o / kBlock<T> * 25 + k) * in_channels + i) * kBlock<T> + o % kBlock<T>] = static_cast<T>(sums[k]);
      }
  }
}

// emit(offset in a padded row, value) as in sum_of_terms_row; rows: five of the image, y - 2 ... y + 2.
template <class T, class Emit>
void stem_row(const T* const* rows, const T* packed, std::int64_t in_channels, std::int64_t channels, std::int64_t y,
              std::int64_t ny, std::int64_t nx, std::int64_t x0, std::int64_t x1, const Emit& emit) {
  const std::int64_t group = group_size<T>(nx), tap_size = in_channels * kBlock<T>;
  const T* const of_row = packed + border_case(y, ny) * 4 * stem_case_size<T>(in_channels, channels);
  for (std::int64_t x = x0; x < x1; x += kTilePixels)
    for (std::int64_t g = 0; g < groups_of<T>(channels); ++g) {
      TileSums<T> sums;
      clear<T>(sums);
      for (int k = 0; k < 25; ++k)
        add_all_products<T>(sums, rows[k / 5] + (x + k % 5 - 2) * kBlock<T>, group, in_channels,
                            of_row + (g * 25 + k) * tap_size);
#pragma GCC unroll 10
      for (int i = 0; i < kTilePixels; ++i) {
        emit(g * group + (x + i) * kBlock<T>, sums[i][0]);
        emit(g * group + (x + i) * kBlock<T> + kLanes<T>, sums[i][1]);
      }
    }
  for (const std::int64_t x : {std::int64_t{0}, nx - 1}) {
    if (x < x0 || x >= x1) continue;
    const T* const w = of_row + border_case(x, nx) * stem_case_size<T>(in_channels, channels);
    for (std::int64_t g = 0; g < groups_of<T>(channels); ++g) {
      Vec<T> low{}, high{};
      for (int k = 0; k < 25; ++k)
        for (std::int64_t i = 0; i < in_channels; ++i) {
          const T value = rows[k / 5][i / kBlock<T> * group + (x + k % 5 - 2) * kBlock<T> + i % kBlock<T>];
          const T* const q = w + (g * 25 + k) * tap_size + i * kBlock<T>;
          low += broadcast(value) * load(q);
          high += broadcast(value) * load(q + kLanes<T>);
        }
      emit(g * group + x * kBlock<T>, low);
      emit(g * group + x * kBlock<T> + kLanes<T>, high);
    }
  }
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

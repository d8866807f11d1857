// Matrix products of a few dozen rows, all of whose operands are in the caches, and transposes between them.
//
// C (rows, columns) = A (rows, n) B (n, columns). A register tile is a few rows by two registers of columns: one
// element of A is broadcast, so A may lie either way round; B must have its columns side by side.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "rows/pixel_rows.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

// Rows come in multiples of kProductRows. Tiles have kTallRows where that leaves such a multiple: with two registers of
// columns 16 accumulators of 32 registers, or 12 of 16, where 8 would just cover the latency of a multiply-add.
constexpr int kProductRows = kSimd == Simd::avx512 ? 8 : 4;
constexpr int kTallRows = kSimd == Simd::avx512 ? 8 : 6;

// Columns of a tensor that is a factor and a result: whole registers and whole tiles of rows.
template <class T>
std::int64_t padded(std::int64_t n) {
  return round_up_to(n, std::max(kLanes<T>, kProductRows));
}

// Element (i, k) of A is at a[i * stride + k], or, across, at a[i + k * stride].
template <bool kAcross, int kRows, int kVectors, class T>
__attribute__((noinline)) void add_tile_products(const T* a, std::int64_t stride, const T* b, std::int64_t b_row,
                                                 std::int64_t n, T* c, std::int64_t c_row, bool add) {
  Vec<T> sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[i][v] = Vec<T>{};
  for (std::int64_t k = 0; k < n; ++k, b += b_row) {
    Vec<T> w[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) w[v] = load(b + v * kLanes<T>);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Vec<T> value = broadcast(kAcross ? a[i + k * stride] : a[i * stride + k]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] += value * w[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* const to = c + i * c_row + v * kLanes<T>;
      store(to, add ? load(to) + sums[i][v] : sums[i][v]);  // short sums first: less rounding
    }
}

// B in panels of kBlock columns: element (k, panel, column) at data[panel * panel_size + k * row + column].
template <class T>
struct Panels {
  const T* data;
  std::int64_t row, panel_size;
};
template <class T>
Panels<T> panels_of_rows(const T* rows, std::int64_t stride) {
  return {rows, stride, kBlock<T>};
}
template <class T>
Panels<T> panels_of_packed(const T* packed, std::int64_t n) {
  return {packed, kBlock<T>, n * kBlock<T>};
}

// C = A B, or C += A B; rows a multiple of kProductRows, columns of kLanes<T>.
template <bool kAcross, class T>
inline void multiply(const T* a, std::int64_t stride, std::int64_t rows, Panels<T> b, std::int64_t n, T* c,
                     std::int64_t c_row, std::int64_t columns, bool add) {
  std::int64_t low = rows - rows % kTallRows;
  while ((rows - low) % kProductRows) low -= kTallRows;
  for (std::int64_t o = 0; o < columns; o += kBlock<T>, b.data += b.panel_size) {
    const auto tiles = [&](auto height, std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; i += height()) {
        const T* const from = kAcross ? a + i : a + i * stride;
        T* const to = c + i * c_row + o;
        if (columns - o >= kBlock<T>)
          add_tile_products<kAcross, height(), 2>(from, stride, b.data, b.row, n, to, c_row, add);
        else
          add_tile_products<kAcross, height(), 1>(from, stride, b.data, b.row, n, to, c_row, add);
      }
    };
    tiles(std::integral_constant<int, kTallRows>{}, 0, low);
    tiles(std::integral_constant<int, kProductRows>{}, low, rows);
  }
}

template <class T>
std::int64_t packed_size(std::int64_t n, std::int64_t columns) {
  return groups_of<T>(columns) * n * kBlock<T>;
}
// `count` numbers `step` apart, times a factor; no data stands for zeros.
template <class T>
struct Line {
  const T* data = nullptr;
  std::int64_t step = 0, count = 0;
  T factor = 0;
  T operator[](std::int64_t i) const { return data && i < count ? data[i * step] * factor : T(0); }
};

// Packs a matrix (n, columns) whose column o is line(o); zeros behind the last column.
template <class T, class F>
void pack_columns(std::int64_t n, std::int64_t columns, T* packed, const F& line) {
  for (std::int64_t o = 0; o < groups_of<T>(columns) * kBlock<T>; ++o) {
    const Line<T> from = o < columns ? line(o) : Line<T>{};
    T* const to = packed + o / kBlock<T> * n * kBlock<T> + o % kBlock<T>;
    for (std::int64_t k = 0; k < n; ++k) to[k * kBlock<T>] = from[k];
  }
}
// The same of a matrix whose row k is line(k).
template <class T, class F>
void pack_rows(std::int64_t n, std::int64_t columns, T* packed, const F& line) {
  for (std::int64_t k = 0; k < n; ++k) {
    const Line<T> from = line(k);
    for (std::int64_t o = 0; o < groups_of<T>(columns); ++o)
      for (std::int64_t i = 0; i < kBlock<T>; ++i) packed[(o * n + k) * kBlock<T> + i] = from[o * kBlock<T> + i];
  }
}

// to[column][row] = from[row][column], kLanes<T> of each: halves of registers change places, then quarters, ...
template <class T>
inline void transpose_square(const T* from, std::int64_t stride, T* to, std::int64_t to_stride) {
  constexpr int n = kLanes<T>;
#if defined(__GNUC__) && !defined(__clang__)
  typedef typename std::conditional<sizeof(T) == 4, std::int32_t, std::int64_t>::type Index;
  typedef Index Indices __attribute__((vector_size(kVecBytes)));
  Vec<T> rows[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) rows[i] = load(from + i * stride);
#pragma GCC unroll 4
  for (int half = n / 2; half > 0; half /= 2) {
    Indices low, high;
#pragma GCC unroll 16
    for (int lane = 0; lane < n; ++lane) {
      low[lane] = lane & half ? n + lane - half : lane;
      high[lane] = lane & half ? n + lane : lane + half;
    }
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) {
      if (i & half) continue;
      const Vec<T> a = rows[i], b = rows[i + half];
      rows[i] = __builtin_shuffle(a, b, low);
      rows[i + half] = __builtin_shuffle(a, b, high);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) store(to + i * to_stride, rows[i]);
#else
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) to[j * to_stride + i] = from[i * stride + j];
#endif
}

// to (columns, kBlock) = transpose of from (rows, columns), rows at most kBlock, zeros for those that are missing;
// columns a multiple of kLanes<T>.
template <class T>
void transpose_to_panel(const T* from, std::int64_t stride, std::int64_t rows, std::int64_t columns, T* to) {
  if (rows < kBlock<T>) {
    for (std::int64_t d = 0; d < columns; ++d)
      for (std::int64_t i = 0; i < kBlock<T>; ++i) to[d * kBlock<T> + i] = i < rows ? from[i * stride + d] : T(0);
    return;
  }
  for (std::int64_t d = 0; d < columns; d += kLanes<T>)
    for (int v = 0; v < 2; ++v)
      transpose_square(from + v * kLanes<T> * stride + d, stride, to + d * kBlock<T> + v * kLanes<T>, kBlock<T>);
}

// The way back: rows of at most kBlock from a panel (columns, kBlock).
template <class T>
void transpose_from_panel(const T* from, std::int64_t rows, std::int64_t columns, T* to, std::int64_t stride) {
  if (rows < kBlock<T>) {
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t d = 0; d < columns; ++d) to[i * stride + d] = from[d * kBlock<T> + i];
    return;
  }
  for (std::int64_t d = 0; d < columns; d += kLanes<T>)
    for (int v = 0; v < 2; ++v)
      transpose_square(from + d * kBlock<T> + v * kLanes<T>, kBlock<T>, to + v * kLanes<T> * stride + d, stride);
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

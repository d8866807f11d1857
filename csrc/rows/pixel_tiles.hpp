// Register tiles on padded rows (rows/pixel_rows.hpp): kTilePixels pixels x one group of channels.
//
// Depth-wise filters run along channels, so a weight is a register and every loaded pixel serves up to three outputs of
// its row. Point-wise products broadcast one input channel at a time against two registers of weights. Both reach the
// multiply-add limit from the L1 cache.
#pragma once
#include <cstdint>

#include "core/fetch.hpp"
#include "rows/pixel_rows.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class T>
using TileSums = Vec<T>[kTilePixels][2];

template <class T>
inline __attribute__((always_inline)) void clear(TileSums<T>& sums) {
#pragma GCC unroll 10
  for (int i = 0; i < kTilePixels; ++i) sums[i][0] = sums[i][1] = Vec<T>{};
}

struct NothingAhead {
  explicit operator bool() const { return false; }
  void operator()() const {}
};

// Brings pixels that are read later into the L1 cache, kTilePixels elements with each input channel of a product: a
// tile of pixels while one tile is computed. Evenly, because a core waits for few requests to memory at a time, and
// those above that number hold up everything behind them.
template <class T>
struct TileAhead {
  const T* at;  // null: nothing

  explicit operator bool() const { return at; }
  inline __attribute__((always_inline)) void operator()() {
    constexpr int kLine = 64 / static_cast<int>(sizeof(T));
    fetch_line(at);
    if constexpr (kTilePixels > kLine) fetch_line(at + kLine);
    at += kTilePixels;
  }
};

// sums[x][o] += sum over c < n of a[x][c] w[c][o]; w: (n, kBlock). ahead() is called once for each c.
template <class T, class Ahead>
inline __attribute__((always_inline)) void add_products(TileSums<T>& sums, const T* a, std::int64_t n, const T* w,
                                                        Ahead& ahead) {
  for (std::int64_t c = 0; c < n; ++c, w += kBlock<T>) {
    ahead();
    const Vec<T> w0 = load(w), w1 = load(w + kLanes<T>);
#pragma GCC unroll 10
    for (int x = 0; x < kTilePixels; ++x) {
      const Vec<T> value = broadcast(a[x * kBlock<T> + c]);
      sums[x][0] += value * w0;
      sums[x][1] += value * w1;
    }
  }
}

// In a function of its own, because in a larger one GCC keeps other things in the registers that the sums need.
template <class T, class Ahead>
__attribute__((noinline)) void add_all_products_apart(TileSums<T>& sums, const T* a, std::int64_t group,
                                                      std::int64_t channels, const T* w, Ahead ahead) {
  TileSums<T> own;
#pragma GCC unroll 10
  for (int x = 0; x < kTilePixels; ++x) {
    own[x][0] = sums[x][0];
    own[x][1] = sums[x][1];
  }
  for (std::int64_t c = 0; c < channels; c += kBlock<T>, a += group)
    add_products<T>(own, a, std::min<std::int64_t>(channels - c, kBlock<T>), w + c * kBlock<T>, ahead);
#pragma GCC unroll 10
  for (int x = 0; x < kTilePixels; ++x) {
    sums[x][0] = own[x][0];
    sums[x][1] = own[x][1];
  }
}

// The same over all groups of `channels` channels; w: (channels, kBlock).
template <class T, class Ahead = NothingAhead>
inline __attribute__((always_inline)) void add_all_products(TileSums<T>& sums, const T* a, std::int64_t group,
                                                            std::int64_t channels, const T* w, Ahead ahead = {}) {
  if constexpr (kSimd != Simd::avx512) return add_all_products_apart<T>(sums, a, group, channels, w, ahead);
  for (std::int64_t c = 0; c < channels; c += kBlock<T>, a += group)
    add_products<T>(sums, a, std::min<std::int64_t>(channels - c, kBlock<T>), w + c * kBlock<T>, ahead);
}

// out[x] = f(sum over ky, kx in {-1, 0, 1} of w[ky][kx] rows[ky][x + kDilation kx]), for one group; w: (9, kBlock).
template <int kDilation, class T, class F>
inline void filter_tile(const T* above, const T* here, const T* below, const T* w, T* out, const F& f) {
  const T* const rows[3] = {above, here, below};
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    Vec<T> sums[kTilePixels];
#pragma GCC unroll 10
    for (int x = 0; x < kTilePixels; ++x) sums[x] = Vec<T>{};
#pragma GCC unroll 3
    for (int r = 0; r < 3; ++r) {
      const T* p = rows[r] + v * kLanes<T>;
      const T* q = w + 3 * r * kBlock<T> + v * kLanes<T>;
      const Vec<T> left = load(q), middle = load(q + kBlock<T>), right = load(q + 2 * kBlock<T>);
#pragma GCC unroll 16
      for (int j = -kDilation; j < kTilePixels + kDilation; ++j) {
        Vec<T> value = load(p + j * kBlock<T>);
        keep_in_register(value);
        if (j + kDilation < kTilePixels) sums[j + kDilation] += value * left;
        if (j >= 0 && j < kTilePixels) sums[j] += value * middle;
        if (j - kDilation >= 0) sums[j - kDilation] += value * right;
      }
    }
#pragma GCC unroll 10
    for (int x = 0; x < kTilePixels; ++x)
      store(out + x * kBlock<T> + v * kLanes<T>, f(sums[x], x * kBlock<T> + v * kLanes<T>));
  }
}

// sums[ky][kx] += sum over the pixels of a segment of g[x] rows[ky][x + kDilation kx], for one group; sums: (9,
// kBlock).
template <int kDilation, class T>
inline void correlate_segment(const T* g, const T* above, const T* here, const T* below, std::int64_t n, T* sums) {
  const T* const rows[3] = {above, here, below};
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    Vec<T> total[9];
#pragma GCC unroll 9
    for (int k = 0; k < 9; ++k) total[k] = Vec<T>{};
    for (std::int64_t first = 0; first < n; first += kTilePixels) {
      Vec<T> grad[kTilePixels];
#pragma GCC unroll 10
      for (int x = 0; x < kTilePixels; ++x) grad[x] = load(g + (first + x) * kBlock<T> + v * kLanes<T>);
#pragma GCC unroll 3
      for (int r = 0; r < 3; ++r) {
        const T* p = rows[r] + first * kBlock<T> + v * kLanes<T>;
#pragma GCC unroll 16
        for (int j = -kDilation; j < kTilePixels + kDilation; ++j) {
          const Vec<T> value = load(p + j * kBlock<T>);
          if (j + kDilation < kTilePixels) total[3 * r] += value * grad[j + kDilation];
          if (j >= 0 && j < kTilePixels) total[3 * r + 1] += value * grad[j];
          if (j - kDilation >= 0) total[3 * r + 2] += value * grad[j - kDilation];
        }
      }
    }
#pragma GCC unroll 9
    for (int k = 0; k < 9; ++k) {
      T* to = sums + k * kBlock<T> + v * kLanes<T>;
      store(to, load(to) + total[k]);  // short sums first: less rounding
    }
  }
}

// out[x] = f(sum over k of w[k] p(k)[x]) with nine taps, down a column (p(k) = rows[k]) or along a row
// (p(k) = row + k - 4 pixels), for one group; w: (9, kBlock).
template <class T, class Tap, class F>
inline void filter_tile_9(const Tap& tap, const T* w, T* out, const F& f) {
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    Vec<T> sums[kTilePixels];
#pragma GCC unroll 10
    for (int x = 0; x < kTilePixels; ++x) sums[x] = Vec<T>{};
    for (int k = 0; k < 9; ++k) {
      const T* p = tap(k) + v * kLanes<T>;
      const Vec<T> weight = load(w + k * kBlock<T> + v * kLanes<T>);
#pragma GCC unroll 10
      for (int x = 0; x < kTilePixels; ++x) sums[x] += load(p + x * kBlock<T>) * weight;
    }
#pragma GCC unroll 10
    for (int x = 0; x < kTilePixels; ++x)
      store(out + x * kBlock<T> + v * kLanes<T>, f(sums[x], x * kBlock<T> + v * kLanes<T>));
  }
}

// sums[k] += sum over n pixels of g[x] tap(k)[x], nine taps, for one group; sums: (9, kBlock).
template <class T, class Tap>
inline void correlate_segment_9(const T* g, const Tap& tap, std::int64_t n, T* sums) {
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    Vec<T> total[9];
    const T* p[9];
#pragma GCC unroll 9
    for (int k = 0; k < 9; ++k) {
      total[k] = Vec<T>{};
      p[k] = tap(k) + v * kLanes<T>;
    }
    for (std::int64_t x = 0; x < n; ++x) {
      const Vec<T> grad = load(g + x * kBlock<T> + v * kLanes<T>);
#pragma GCC unroll 9
      for (int k = 0; k < 9; ++k) total[k] += grad * load(p[k] + x * kBlock<T>);
    }
#pragma GCC unroll 9
    for (int k = 0; k < 9; ++k) {
      T* to = sums + k * kBlock<T> + v * kLanes<T>;
      store(to, load(to) + total[k]);
    }
  }
}

// sums[o][c] += sum over n pixels of g[x][o] r[x][c], o < rows (and some more) and c in one group each;
// sums: (kBlock, kBlock).
template <class T>
inline void add_outer_products(const T* g, const T* r, std::int64_t n, std::int64_t rows, T* sums) {
  constexpr int kTogether = kSimd == Simd::avx512 ? 8 : 4;
  for (int o = 0; o < rows; o += kTogether) {
    Vec<T> total[kTogether][2];
#pragma GCC unroll 8
    for (int i = 0; i < kTogether; ++i) total[i][0] = total[i][1] = Vec<T>{};
    for (std::int64_t x = 0; x < n; ++x) {
      const Vec<T> r0 = load(r + x * kBlock<T>), r1 = load(r + x * kBlock<T> + kLanes<T>);
#pragma GCC unroll 8
      for (int i = 0; i < kTogether; ++i) {
        const Vec<T> value = broadcast(g[x * kBlock<T> + o + i]);
        total[i][0] += value * r0;
        total[i][1] += value * r1;
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kTogether; ++i) {
      T* to = sums + (o + i) * kBlock<T>;
      store(to, load(to) + total[i][0]);
      store(to + kLanes<T>, load(to + kLanes<T>) + total[i][1]);
    }
  }
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

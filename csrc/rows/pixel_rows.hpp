// Rows of an image whose pixels hold their channels side by side (NHWC), padded so that no inner loop sees a border.
//
// A row in scratch is a sequence of groups of kBlock channels (two registers); within a group, pixels follow one
// another: element (group g, pixel x, channel i) at (g * pitch + kPad + x) * kBlock + i. kPad pixels of zeros stand on
// either side of the image, missing channels are zeros, and the pixels round up to whole register tiles. So every
// kernel works on full tiles at constant strides, whatever the width and the number of channels.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/vec.hpp"
#include "core/workspace.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class T>
constexpr int kBlock = 2 * kLanes<T>;                        // channels of a group
constexpr int kTilePixels = kSimd == Simd::avx512 ? 10 : 6;  // x two registers: 20 or 12 accumulators
constexpr int kSegmentPixels = 4 * kTilePixels;              // intermediate results of so many stay in the L1 cache
constexpr int kPad = 4;                                      // the widest kernel has 9 columns

inline std::int64_t round_up_to(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

template <class T>
constexpr std::int64_t groups_of(std::int64_t channels) {
  return (channels + kBlock<T> - 1) / kBlock<T>;
}
inline std::int64_t row_pitch(std::int64_t nx) { return round_up_to(nx, kTilePixels) + 2 * kPad; }
template <class T>
std::int64_t row_size(std::int64_t nx, std::int64_t channels) {
  return groups_of<T>(channels) * row_pitch(nx) * kBlock<T>;
}
template <class T>
std::int64_t group_size(std::int64_t nx) {
  return row_pitch(nx) * kBlock<T>;
}

template <class T>
inline __attribute__((always_inline)) Vec<T> relu(Vec<T> v) {  // NaN stays NaN, as in torch
  return max_or_second<T>(Vec<T>{}, v);
}

// The last `capacity` rows of a tensor of `ny` rows; rows outside the image are one shared row of zeros. Pointers are
// to pixel 0 of group 0.
template <class T>
struct RowRing {
  T* slots;
  const T* zeros;
  std::int64_t ny, capacity, size;

  T* slot(std::int64_t y) const { return slots + y % capacity * size + kPad * kBlock<T>; }
  const T* row(std::int64_t y) const { return y < 0 || y >= ny ? zeros + kPad * kBlock<T> : slot(y); }
};

// One tensor in the caller's memory: (batch, ny, nx, channels) with `pixel` elements from one pixel to the next.
template <class T>
struct PixelTensor {
  T* data;
  std::int64_t channels, pixel;

  T* row(std::int64_t image, std::int64_t y, std::int64_t ny, std::int64_t nx) const {
    return data + (image * ny + y) * nx * pixel;
  }
};

template <class T>
struct CopyPixel {
  Vec<T> operator()(Vec<T> v) const { return v; }
};
template <class T>
struct ReluPixel {
  Vec<T> operator()(Vec<T> v) const { return relu<T>(v); }
};

// Pixels [x0, x1) of the caller's row into scratch, f applied to each register.
template <class T, class F>
inline void load_pixels(const T* from, std::int64_t pixel, std::int64_t channels, std::int64_t group, std::int64_t x0,
                        std::int64_t x1, T* to, const F& f) {
  for (std::int64_t c = 0; c < channels; c += kBlock<T>, to += group) {
    if (channels - c >= kBlock<T>) {
      for (std::int64_t x = x0; x < x1; ++x) {
        const T* p = from + x * pixel + c;
        store(to + x * kBlock<T>, f(load(p)));
        store(to + x * kBlock<T> + kLanes<T>, f(load(p + kLanes<T>)));
      }
      continue;
    }
    const int left = static_cast<int>(channels - c);
    for (std::int64_t x = x0; x < x1; ++x) {
      T block[kBlock<T>] = {};
      std::copy_n(from + x * pixel + c, left, block);
      store(to + x * kBlock<T>, f(load(block)));
      store(to + x * kBlock<T> + kLanes<T>, f(load(block + kLanes<T>)));
    }
  }
}

// Pixels [x0, x1) of a scratch row into the caller's memory: f(vector, offset in the scratch row, offset from the
// caller's pixel 0, lanes that exist). kStream: past the cache, for which `to`, pixel and channels must fit registers.
template <bool kStream, class T, class F>
inline void store_pixels(const T* from, std::int64_t group, std::int64_t channels, std::int64_t x0, std::int64_t x1,
                         T* to, std::int64_t pixel, const F& f) {
  for (std::int64_t c = 0, base = 0; c < channels; c += kBlock<T>, base += group)
    for (std::int64_t x = x0; x < x1; ++x)
      for (int v = 0; v < 2; ++v) {
        const std::int64_t first = c + v * kLanes<T>, inside = base + x * kBlock<T> + v * kLanes<T>;
        const int n = static_cast<int>(std::min<std::int64_t>(channels - first, kLanes<T>));
        if (n <= 0) continue;
        const Vec<T> value = f(load(from + inside), inside, x * pixel + first, n);
        if (kStream)
          stream(to + x * pixel + first, value);
        else if (n == kLanes<T>)
          store(to + x * pixel + first, value);
        else
          store_first(to + x * pixel + first, value, n);
      }
}

// Zeros behind pixel nx, where whole tiles have left results of no pixel.
template <class T>
inline void clear_behind(T* row, std::int64_t nx, std::int64_t channels) {
  const std::int64_t last = row_pitch(nx) - kPad;
  for (std::int64_t g = 0; g < groups_of<T>(channels); ++g)
    std::fill(row + g * group_size<T>(nx) + nx * kBlock<T>, row + g * group_size<T>(nx) + last * kBlock<T>, T(0));
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

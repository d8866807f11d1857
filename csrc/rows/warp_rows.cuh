// Rows of pixels on a GPU. A warp owns 32 neighbouring pixels of a row and 32 channels: a lane a
// channel while filtering (a pixel's channels are side by side, so that every load is one line of 128 bytes), and the
// lanes of a tensor-core fragment while multiplying. What one turns into the other is a tile (pixels, channels) in
// shared memory that belongs to the warp alone: no barrier of the block is needed.
//
// Rows above and below come through the first-level cache, where the other warps of the block, on neighbouring rows,
// find them too.
#pragma once
#include "core/device_prims.cuh"
#include "core/warp_fragment.cuh"
#include "rows/separable.hpp"

namespace csmri {
namespace node {

using namespace warp;

constexpr int kWarps = 8, kThreads = 32 * kWarps;
template <class S>
constexpr int kBlocks = sizeof(S) == 4 ? 2 : 1;  // on a multiprocessor, for what multiplies: 128 registers or 255
constexpr int kPixels = 32, kChunk = 32;         // of a warp; channels
constexpr int kRadius = 4;                       // of 9x1 and 1x9
constexpr int kPitch = kChunk + 4;               // of a tile; 32 banks: fragments of A are read without conflicts
constexpr int kTilePixels = kPixels + 2 * kRadius;
constexpr int kTile = kTilePixels * kPitch;  // elements

CSMRI_HOST_DEVICE constexpr int ceil_div(std::int64_t n, int step) { return static_cast<int>((n + step - 1) / step); }

template <class S>
__device__ __forceinline__ S relu(S value) {  // NaN stays NaN, as in torch
  return value < 0 ? S(0) : value;
}

// One channel of one image; zero outside.
template <class T>
struct Channel {
  const T* at;  // pixel (0, 0)
  int pixel, ny, nx;
  bool live;  // the channel exists

  __device__ Channel(const T* data, std::int64_t pixel_, int image, int ny_, int nx_, int channel,
                     std::int64_t channels)
      : at(data + std::int64_t{image} * ny_ * nx_ * pixel_ + channel),
        pixel(static_cast<int>(pixel_)),
        ny(ny_),
        nx(nx_),
        live(channel < channels) {}
  __device__ Sum<T> operator()(int y, int x) const {
    if (!live || y < 0 || y >= ny || x < 0 || x >= nx) return 0;
    return widen(at[(y * nx + x) * pixel]);
  }
};

template <int kCount, class T>
__device__ __forceinline__ void load_taps(Sum<T> (&taps)[kCount], const T* weights, int channel, bool live) {
  CSMRI_UNROLL
  for (int i = 0; i < kCount; ++i) taps[i] = live ? widen(weights[std::int64_t{channel} * kCount + i]) : Sum<T>(0);
}

// For the pixels i in [0, n) of a row: at(i, window), where window[ky][kx] is relu of pixel x0 + i + (kx - 1) kDilation
// of row y + (ky - 1) kDilation. Pixels of equal residue share loads: three a pixel.
template <int kDilation, class T, class F>
__device__ __forceinline__ void slide_3x3(const Channel<T>& x, int y, int x0, int n, const F& at) {
  for (int residue = 0; residue < kDilation; ++residue) {
    Sum<T> window[3][3];
    const auto load_column = [&](int kx, int column) {
      CSMRI_UNROLL
      for (int ky = 0; ky < 3; ++ky) window[ky][kx] = relu(x(y + (ky - 1) * kDilation, column));
    };
    load_column(1, x0 + residue - kDilation);
    load_column(2, x0 + residue);
    CSMRI_DEVICE_LOOP
    for (int i = residue; i < n; i += kDilation) {
      CSMRI_UNROLL
      for (int ky = 0; ky < 3; ++ky) window[ky][0] = window[ky][1], window[ky][1] = window[ky][2];
      load_column(2, x0 + i + kDilation);
      at(i, window);
    }
  }
}

template <class S>
__device__ __forceinline__ S weigh(const S (&window)[3][3], const S (&taps)[9]) {
  S sum = 0;
  CSMRI_UNROLL
  for (int i = 0; i < 9; ++i) sum += taps[i] * window[i / 3][i % 3];
  return sum;
}

// tile[i][lane] = relu(first * relu(x)) at pixel x0 + i of row y, by the operation; relu(x) where there is no first, x
// for skip. column_row: of the pixels x0 - kRadius + i, kTilePixels of them.
template <class T>
__device__ void fill_tile(Sum<T>* tile, const NodeTerm<T>& term, int image, int ny, int nx, int channel, int y,
                          int x0) {
  using S = Sum<T>;
  const Channel<T> x(term.x, term.pixel, image, ny, nx, channel, term.channels);
  S* const column = tile + lane_of_thread();
  S taps[9];
  if (term.first) load_taps(taps, term.first, channel, x.live);
  const auto store = [&](int i, const S(&window)[3][3]) { column[i * kPitch] = relu(weigh(window, taps)); };
  switch (term.operation) {
    case Separable::dilation1:
      return slide_3x3<1>(x, y, x0, kPixels, store);
    case Separable::dilation2:
      return slide_3x3<2>(x, y, x0, kPixels, store);
    case Separable::dilation3:
      return slide_3x3<3>(x, y, x0, kPixels, store);
    case Separable::column_row:
      CSMRI_DEVICE_LOOP
      for (int i = 0; i < kTilePixels; ++i) {
        S sum = 0;
        CSMRI_UNROLL
        for (int j = 0; j < 9; ++j) sum += taps[j] * relu(x(y + j - kRadius, x0 - kRadius + i));
        const int at = x0 - kRadius + i;
        column[i * kPitch] = at < 0 || at >= nx ? S(0) : relu(sum);
      }
      return;
    default: {
      const bool skip = term.operation == Separable::skip;
      CSMRI_DEVICE_LOOP
      for (int i = 0; i < kPixels; ++i) {
        const S value = x(y, x0 + i);
        column[i * kPitch] = skip ? value : relu(value);
      }
    }
  }
}

// Calls f(whether products are rounded to tf32), as a constant: only float can be made either way.
template <class T, class F>
void with_products(bool tf32, const F& f) {
  if constexpr (std::is_same_v<T, float>) {
    if (tf32) return f(std::true_type{});
  }
  f(std::bool_constant<sizeof(T) == 2>{});
}

// second[output][channel], zero where either does not exist.
template <class T>
__device__ __forceinline__ Sum<T> point_weight(const NodeTerm<T>& term, int outputs, int output, int channel) {
  const int channels = static_cast<int>(term.channels);
  return output < outputs && channel < channels ? widen(term.second[output * channels + channel]) : Sum<T>(0);
}

}  // namespace node
}  // namespace csmri

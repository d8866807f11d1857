// Tiles of the image that stay in the L2 cache while every branch works on them, and the blocks of registers inside.
//
// A block computes kOutputs output channels x kRows rows x two vectors of pixels in registers. Each input vector is
// loaded once per column offset and used for every row of the kernel that meets the block; so the multiply-adds, not
// the loads, are the limit. Shapes: 12 accumulators where there are 16 registers, 16 where there are 32.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/vec.hpp"
#include "pyramid_attention/pyramid_attention.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr std::int64_t kTileY = kSimd == Simd::avx512 ? 16 : 18;  // a multiple of every block's rows
constexpr std::int64_t kTileX = 64;
constexpr std::int64_t kChunk = 24;        // input channels at a time
constexpr std::int64_t kWeightChunk = 12;  // the same for the weight gradient, whose chunks are the tasks
constexpr std::int64_t kExtraRows = 8;     // a block may compute rows below the tile; nobody reads them
constexpr std::int64_t kPitch = kTileX;    // row pitch of an output tile

inline std::int64_t round_up(std::int64_t n, std::int64_t step) { return (n + step - 1) / step * step; }

// Where a tile lies, and how much of it is inside the image.
struct Tile {
  std::int64_t image, y0, x0, rows, columns;
};

struct Tiling {
  std::int64_t rows, per_column, per_row;  // of a tile; tiles along y and x

  explicit Tiling(const PyramidShape& s, std::int64_t rows_of_tile = kTileY)
      : rows(rows_of_tile), per_column((s.ny + rows - 1) / rows), per_row((s.nx + kTileX - 1) / kTileX) {}
  std::int64_t per_image() const { return per_column * per_row; }
  Tile at(const PyramidShape& s, std::int64_t index) const {
    const std::int64_t image = index / per_image(), rest = index % per_image();
    const std::int64_t y0 = rest / per_row * rows, x0 = rest % per_row * kTileX;
    return {image, y0, x0, std::min(rows, s.ny - y0), std::min(kTileX, s.nx - x0)};
  }
};

// The padded copy of a tile: rows [y0 - halo, ...), columns [x0 - halo, ...), zero outside the image.
struct PaddedLayout {
  std::int64_t halo, pitch, rows;
  explicit PaddedLayout(const PyramidShape& s, std::int64_t rows_of_tile = kTileY + kExtraRows) : halo(0) {
    for (int i = 0; i < s.n_branches; ++i) halo = std::max<std::int64_t>(halo, s.kernel[i] / 2);
    pitch = round_up(kTileX + 2 * halo, 16);
    rows = rows_of_tile + 2 * halo;
  }
  std::int64_t plane() const { return rows * pitch; }
};

// Copies scale * (one channel of one image) into its padded tile. `plane` points to (ny, nx).
template <class T>
inline void load_plane(const T* plane, T scale, const PyramidShape& s, const Tile& tile, const PaddedLayout& layout,
                       T* to) {
  const std::int64_t first = std::max<std::int64_t>(tile.x0 - layout.halo, 0);
  const std::int64_t last = std::min(tile.x0 + kTileX + layout.halo, s.nx);
  for (std::int64_t r = 0; r < layout.rows; ++r, to += layout.pitch) {
    const std::int64_t y = tile.y0 - layout.halo + r;
    if (y < 0 || y >= s.ny) {
      std::fill_n(to, layout.pitch, T(0));
      continue;
    }
    T* row = to + (first - (tile.x0 - layout.halo));
    std::fill(to, row, T(0));
    const T* from = plane + y * s.nx + first;
    for (std::int64_t i = 0; i < last - first; ++i) row[i] = scale * from[i];
    std::fill(row + (last - first), to + layout.pitch, T(0));
  }
}

// out(o, r, x) += sum over channels c, ky, kx of w[c][kx][ky][o] in[c][r + ky][x + kx], or = where !accumulate.
template <int K, int kOutputs, int kRows, class T>
inline void convolve_block(const T* in, std::int64_t pitch, std::int64_t plane, std::int64_t n_channels, const T* w,
                           T* out, std::int64_t out_plane, bool accumulate) {
  Vec<T> acc[kOutputs][kRows][2];
#pragma GCC unroll 8
  for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[o][r][0] = acc[o][r][1] = Vec<T>{};
  // Weights that many rows share stay in registers where there are enough; others are read again for every row.
  constexpr bool kKeepsWeights = kSimd == Simd::avx512 && kOutputs == 1;
  for (std::int64_t c = 0; c < n_channels; ++c)
    for (int kx = 0; kx < K; ++kx) {
      const T *p = in + c * plane + kx, *q = w + (c * K + kx) * K * kOutputs;
      Vec<T> kept[kKeepsWeights ? K : 1];
#pragma GCC unroll 16
      for (int ky = 0; ky < (kKeepsWeights ? K : 0); ++ky) {
        kept[ky] = broadcast(q[ky]);
        keep_in_register(kept[ky]);
      }
#pragma GCC unroll 32
      for (int row = 0; row < kRows + K - 1; ++row) {
        // Rows share weights. Left alone, the compiler would keep them all in registers and spill the accumulators.
        const T* weights = q;
        asm volatile("" : "+r"(weights));
        Vec<T> left = load(p + row * pitch), right = load(p + row * pitch + kLanes<T>);
        if constexpr (kKeepsWeights) {  // or every multiply-add reads memory
          keep_in_register(left);
          keep_in_register(right);
        }
#pragma GCC unroll 16
        for (int r = 0; r < kRows; ++r) {
          const int ky = row - r;
          if (ky < 0 || ky >= K) continue;
#pragma GCC unroll 8
          for (int o = 0; o < kOutputs; ++o) {
            const Vec<T> weight = kKeepsWeights ? kept[ky] : broadcast(weights[ky * kOutputs + o]);
            acc[o][r][0] += left * weight;
            acc[o][r][1] += right * weight;
          }
        }
      }
    }
#pragma GCC unroll 8
  for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        T* to = out + o * out_plane + r * kPitch + v * kLanes<T>;
        store(to, accumulate ? load(to) + acc[o][r][v] : acc[o][r][v]);  // short sums first: less rounding
      }
}

template <int K, int kOutputs, int kRows, class T>
void convolve_block_over_tile(const T* in, const PaddedLayout& layout, const Tile& tile, std::int64_t n_channels,
                              const T* w, T* out, std::int64_t out_plane, bool accumulate) {
  const T* corner = in + (layout.halo - K / 2) * (layout.pitch + 1);
  for (std::int64_t y = 0; y < tile.rows; y += kRows)
    for (std::int64_t x = 0; x < tile.columns; x += 2 * kLanes<T>)
      convolve_block<K, kOutputs, kRows>(corner + y * layout.pitch + x, layout.pitch, layout.plane(), n_channels, w,
                                         out + y * kPitch + x, out_plane, accumulate);
}

// The widest block that `outputs` leaves room for; weights are packed in the same order (for_blocks below).
inline int block_outputs(std::int64_t outputs) {
  if (kSimd != Simd::avx512) return outputs >= 2 ? 2 : 1;
  return outputs >= 8 ? 8 : outputs >= 4 ? 4 : 1;
}

// f(first output, outputs in the block), in the order in which the blocks of a group are packed.
template <class F>
inline void for_blocks(std::int64_t outputs, const F& f) {
  for (std::int64_t o = 0, n = 0; o < outputs; o += n) f(o, n = block_outputs(outputs - o));
}

// n_outputs channels of one tile from n_channels padded input planes. w: packed blocks of the group, each holding
// group_channels input channels [c][kx][ky][o], of which the call uses n_channels from first_channel on.
template <int K, class T>
void convolve_tile(const T* in, const PaddedLayout& layout, const Tile& tile, std::int64_t n_channels,
                   std::int64_t first_channel, std::int64_t group_channels, const T* w, T* out, std::int64_t n_outputs,
                   std::int64_t out_plane, bool accumulate) {
  for_blocks(n_outputs, [&](std::int64_t o, int n) {
    const T* block = w + K * K * (o * group_channels + first_channel * n);
    T* to = out + o * out_plane;
    if constexpr (kSimd == Simd::avx512) {
      switch (n) {
        case 8:
          return convolve_block_over_tile<K, 8, 1>(in, layout, tile, n_channels, block, to, out_plane, accumulate);
        case 4:
          return convolve_block_over_tile<K, 4, 2>(in, layout, tile, n_channels, block, to, out_plane, accumulate);
        default:
          return convolve_block_over_tile<K, 1, 8>(in, layout, tile, n_channels, block, to, out_plane, accumulate);
      }
    } else {
      if (n == 2)
        convolve_block_over_tile<K, 2, 3>(in, layout, tile, n_channels, block, to, out_plane, accumulate);
      else
        convolve_block_over_tile<K, 1, 6>(in, layout, tile, n_channels, block, to, out_plane, accumulate);
    }
  });
}

template <class T, class... Args>
void convolve_tile(int kernel, Args&&... args) {
  switch (kernel) {
    case 3:
      return convolve_tile<3, T>(args...);
    case 5:
      return convolve_tile<5, T>(args...);
    case 7:
      return convolve_tile<7, T>(args...);
    default:
      return convolve_tile<9, T>(args...);
  }
}

// packed[block][c][kx][ky][o] of one group with n_outputs outputs and n_channels inputs; weight(o, c, ky, kx) is the
// source.
template <class T, class F>
void pack_group(int kernel, std::int64_t n_outputs, std::int64_t n_channels, T* packed, const F& weight) {
  for_blocks(n_outputs, [&](std::int64_t first, int n) {
    for (std::int64_t c = 0; c < n_channels; ++c)
      for (int kx = 0; kx < kernel; ++kx)
        for (int ky = 0; ky < kernel; ++ky)
          for (int o = 0; o < n; ++o) *packed++ = weight(first + o, c, ky, kx);
  });
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

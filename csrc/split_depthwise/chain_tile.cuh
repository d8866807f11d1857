// What the CUDA kernels of the split depth-wise chain share: tiles of planes in shared memory with the rings around
// them that the convolutions to come will use up, and one 3x3 convolution from a tile into the next.
//
// Rings are recomputed, not exchanged: a convolution whose result goes on to h more convolutions is computed on the
// tile and h rings around it. Outside the image every plane is zero, because each convolution pads its own input; a
// recomputed ring would not be, so it is set to zero there.
//
// A pass makes up to kMaxConvs convolutions. Longer chains (more than four splits) take several, one after another.
#pragma once
#include "core/quads.cuh"
#include "split_depthwise/split_depthwise.hpp"

namespace csmri {
namespace chain {

constexpr int kRows = 32, kColumns = 64, kThreads = 256;
constexpr int kMaxConvs = 3;
constexpr int kMargin = 4;  // columns in shared memory on either side of the tile: a quad, at least kMaxConvs
constexpr int kPitch = kColumns + 2 * kMargin;
static_assert(kMargin >= kMaxConvs);

// Elements of a tile with `rings` rings. Its rows start with ring rows; column kMargin is the first of the tile.
CSMRI_HOST_DEVICE constexpr int tile_size(int rings) { return (kRows + 2 * rings) * kPitch; }
// Where tile i begins if tiles with n, n - 1, n - 2, ... rings follow one another.
CSMRI_HOST_DEVICE constexpr int tile_start(int n, int i) { return i * (kRows + 2 * n + 1 - i) * kPitch; }
static_assert(tile_start(3, 2) == tile_size(3) + tile_size(2));

// The convolutions first, ..., first + n - 1 of a chain of `convs`. Convolution k maps the input of group k + 1 to its
// output; groups are numbered from 0.
struct Pass {
  int first, n, convs;
  int channels, ny, nx, tiles_y, tiles_x;
  bool quads;  // has_quads, for all tensors

  std::int64_t blocks(std::int64_t batch) const { return batch * channels * tiles_y * tiles_x; }
};

template <class Args>
Pass pass_of(const Args& args, bool quads) {
  Pass pass{};
  pass.convs = static_cast<int>(args.splits - 1), pass.channels = static_cast<int>(args.channels);
  pass.ny = static_cast<int>(args.ny), pass.nx = static_cast<int>(args.nx);
  pass.tiles_y = (pass.ny + kRows - 1) / kRows, pass.tiles_x = (pass.nx + kColumns - 1) / kColumns;
  pass.quads = quads;
  return pass;
}

// The tile of a block, and the channel and image that it belongs to. Tiles of one plane are neighbours.
struct Place {
  int tile, y0, x0, channel;
  std::int64_t image;

  __device__ explicit Place(const Pass& pass) {
    const int tiles = pass.tiles_y * pass.tiles_x, block = static_cast<int>(blockIdx.x);
    tile = block % tiles;
    y0 = tile / pass.tiles_x * kRows, x0 = tile % pass.tiles_x * kColumns;
    channel = block / tiles % pass.channels;
    image = block / tiles / pass.channels;
  }
  // First element of the plane of `group` in a tensor (batch, splits * channels, ny, nx).
  __device__ std::int64_t plane(const Pass& pass, int group) const {
    return ((image * (pass.convs + 1) + group) * pass.channels + channel) * (pass.ny * pass.nx);
  }
};

// tile = plane, or plane + other unless that is null; zero outside the image. Asynchronous copies: wait for them.
template <class T>
__device__ __forceinline__ void load_tile(Sum<T>* tile, int rings, const T* plane, const T* other, const Pass& pass,
                                          const Place& place) {
  constexpr int kQuads = kPitch / 4;
  for (int i = static_cast<int>(threadIdx.x); i < (kRows + 2 * rings) * kQuads; i += kThreads) {
    const int y = place.y0 - rings + i / kQuads, x = place.x0 - kMargin + i % kQuads * 4;
    const bool inside = y >= 0 && y < pass.ny;
    const int row = inside ? y * pass.nx : 0;
    const int nx = inside ? pass.nx : 0;
    if (other) {
      Quad<Sum<T> > quad = read_quad(plane + row, x, nx, pass.quads);
      const Quad<Sum<T> > more = read_quad(other + row, x, nx, pass.quads);
      CSMRI_DEVICE_UNROLL
      for (int j = 0; j < 4; ++j) quad.v[j] += more.v[j];
      as_quad(tile + 4 * i) = quad;
    } else {
      copy_quad(tile + 4 * i, plane + row, x, nx, pass.quads);
    }
  }
}

// The tile's part of one plane to another.
template <class T>
__device__ __forceinline__ void copy_plane(const T* from, T* to, const Pass& pass, const Place& place) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kColumns / 4; i += kThreads) {
    const int y = place.y0 + i / (kColumns / 4), x = place.x0 + i % (kColumns / 4) * 4;
    if (y >= pass.ny) continue;
    const int row = y * pass.nx;
    write_quad(to + row, x, pass.nx, pass.quads, read_quad(from + row, x, pass.nx, pass.quads));
  }
}

// A thread's part of a region of height x width positions: a column, or a strip of it. `width` neighbouring threads
// take neighbouring columns.
struct Strip {
  int column, begin, end;

  __device__ Strip(int height, int width) {
    const int t = static_cast<int>(threadIdx.x), strips = kThreads / width, length = (height + strips - 1) / strips;
    column = t % width;
    begin = t / width * length;
    end = t / width >= strips ? begin : begin + length < height ? begin + length : height;
  }
};

// For every row r of the strip: at(r, window), where window(ky, kx) is from[(r + ky) * kPitch + kx].
template <class S, class F>
__device__ __forceinline__ void slide(const Strip& strip, const S* from, const F& at) {
  if (strip.begin >= strip.end) return;
  S rows[3][3];  // row begin + i of `from` is in rows[i % 3]
  const auto load_row = [&](int r, S(&row)[3]) {
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 3; ++i) row[i] = from[r * kPitch + i];
  };
  load_row(strip.begin, rows[0]);
  load_row(strip.begin + 1, rows[1]);
  for (int start = strip.begin; start < strip.end; start += 3) {
    CSMRI_DEVICE_UNROLL
    for (int step = 0; step < 3; ++step) {
      if (start + step >= strip.end) break;
      load_row(start + step + 2, rows[(step + 2) % 3]);
      at(start + step, [&](int ky, int kx) { return rows[(step + ky) % 3][kx]; });
    }
  }
}

// v = d * from on the tile and `rings` rings around it, zero outside the image; `from` has one ring more. Inside the
// tile v goes to `out`, a plane; everywhere v is added to `next`, which has as many rings, unless that is null.
// taps: (3, 3) of d, or of the flipped d.
template <bool kFlipped, class T>
__device__ __forceinline__ void convolve(const Sum<T>* from, int rings, const T* taps, Sum<T>* next, T* out,
                                         const Pass& pass, const Place& place) {
  Sum<T> w[3][3];
  CSMRI_DEVICE_UNROLL
  for (int i = 0; i < 9; ++i) w[i / 3][i % 3] = widen(taps[kFlipped ? 8 - i : i]);
  const Strip strip(kRows + 2 * rings, kColumns + 2 * rings);
  const int column = kMargin - rings + strip.column, x = place.x0 - rings + strip.column;
  const bool column_inside = x >= 0 && x < pass.nx;
  const bool column_of_tile = column_inside && column >= kMargin && column < kMargin + kColumns;
  slide(strip, from + column - 1, [&](int r, const auto& window) {
    Sum<T> v = 0;
    CSMRI_DEVICE_UNROLL
    for (int ky = 0; ky < 3; ++ky) {
      CSMRI_DEVICE_UNROLL
      for (int kx = 0; kx < 3; ++kx) v += w[ky][kx] * window(ky, kx);
    }
    const int y = place.y0 - rings + r;
    const bool inside = column_inside && y >= 0 && y < pass.ny;
    if (next && inside) next[r * kPitch + column] += v;
    if (inside && column_of_tile && r >= rings && r < rings + kRows) out[y * pass.nx + x] = narrow<T>(v);
  });
}

}  // namespace chain
}  // namespace csmri

// CPU forward kernel of the convolution pyramid: tiles of 18 (AVX-512: 16) x 64 pixels; a chunk of input channels is
// copied once, padded, into the L2 cache and feeds all four branches. Per pixel of the paper's first PGSA (96 -> 32
// channels, groups 1, 2, 4, 8) 67 kflop against 512 bytes: bound by multiply-adds.
#include "core/instantiate.hpp"
#include "core/parallel.hpp"
#include "pyramid_attention/pyramid_attention.hpp"
#include "pyramid_attention/scratch.hpp"
#include "pyramid_attention/tile.hpp"

namespace csmri {
namespace {

template <class T>
void pack_weights(const PyramidArgs<T>& a, const PyramidScratch<T>& scratch, T* packed) {
  const PyramidShape& s = a.shape;
  for (int i = 0; i < s.n_branches; ++i) {
    const int k = s.kernel[i];
    const std::int64_t channels = s.in_channels() / s.groups[i], outputs = s.branch_channels / s.groups[i];
    for (std::int64_t g = 0; g < s.groups[i]; ++g) {
      const T* w = a.weight[i] + g * outputs * channels * k * k;
      pack_group(
          k, outputs, channels, packed + scratch.branch_offset(i) + g * outputs * channels * k * k,
          [&](std::int64_t o, std::int64_t c, int ky, int kx) { return w[((o * channels + c) * k + ky) * k + kx]; });
    }
  }
}

// Copies one channel of a finished tile to F, and returns its sum, its maximum and the first place of the maximum.
template <class T>
TileStatistics<T> finish_channel(const T* from, const PyramidShape& s, const Tile& tile, T* features) {
  TileStatistics<T> result{0, from[0], tile.y0 * s.nx + tile.x0};
  for (std::int64_t r = 0; r < tile.rows; ++r, from += kPitch) {
    T* to = features + (tile.y0 + r) * s.nx + tile.x0;
    Vec<T> sums{}, best = broadcast(from[0]);
    std::int64_t x = 0;
    for (; x + kLanes<T> <= tile.columns; x += kLanes<T>) {
      const Vec<T> v = load(from + x);
      store(to + x, v);
      sums += v;
      best = v > best ? v : best;
    }
    T row_sum = sum<T>(sums), row_best = from[0];
    for (int lane = 0; lane < kLanes<T>; ++lane) row_best = best[lane] > row_best ? best[lane] : row_best;
    for (; x < tile.columns; ++x) {
      to[x] = from[x];
      row_sum += from[x];
      row_best = from[x] > row_best ? from[x] : row_best;
    }
    result.sum += row_sum;
    if (row_best > result.maximum) {
      const std::int64_t at = std::find(from, from + tile.columns, row_best) - from;
      result.maximum = row_best;
      result.argmax = (tile.y0 + r) * s.nx + tile.x0 + at;
    }
  }
  return result;
}

template <class T>
void forward_tile(const PyramidArgs<T>& a, const PyramidScratch<T>& scratch, std::int64_t thread, std::int64_t index) {
  const PyramidShape& s = a.shape;
  const PaddedLayout& layout = scratch.layout();
  const Tile tile = Tiling(s).at(s, index);
  T *in = scratch.input_tile(thread), *out = scratch.output_tile(thread);
  const std::int64_t plane = s.ny * s.nx, n_channels = s.in_channels();
  for_chunks(s, [&](std::int64_t c0, std::int64_t c1) {
    for_part_channels(s, c0, c1, [&](int p, std::int64_t local, std::int64_t c) {
      load_plane(a.part[p] + (tile.image * s.part_channels[p] + local) * plane, a.scale[p], s, tile, layout,
                 in + (c - c0) * layout.plane());
    });
    for_groups(s, c0, c1, [&](int i, std::int64_t g, std::int64_t lo, std::int64_t hi) {
      const std::int64_t outputs = s.branch_channels / s.groups[i], width = n_channels / s.groups[i];
      const T* packed =
          scratch.packed() + scratch.branch_offset(i) + g * outputs * PyramidScratch<T>::weights_per_output(s, i);
      convolve_tile<T>(s.kernel[i], in + (lo - c0) * layout.plane(), layout, tile, hi - lo, lo - g * width, width,
                       packed, out + (i * s.branch_channels + g * outputs) * kOutPlane, outputs, kOutPlane,
                       lo > g * width);
    });
  });
  for (std::int64_t c = 0; c < s.out_channels(); ++c)
    scratch.statistics()[index * s.out_channels() + c] =
        finish_channel(out + c * kOutPlane, s, tile, a.features + (tile.image * s.out_channels() + c) * plane);
}

// Tiles in fixed order; of equal maxima the one that comes first in the image.
template <class T>
void reduce_channel(const PyramidArgs<T>& a, const TileStatistics<T>* of_tile, std::int64_t image, std::int64_t c) {
  const PyramidShape& s = a.shape;
  const std::int64_t per_image = Tiling(s).per_image();
  TileStatistics<T> total = of_tile[image * per_image * s.out_channels() + c];
  for (std::int64_t t = 1; t < per_image; ++t) {
    const TileStatistics<T>& next = of_tile[(image * per_image + t) * s.out_channels() + c];
    total.sum += next.sum;
    if (next.maximum > total.maximum || (next.maximum == total.maximum && next.argmax < total.argmax)) {
      total.maximum = next.maximum;
      total.argmax = next.argmax;
    }
  }
  const std::int64_t at = image * s.out_channels() + c;
  a.mean[at] = static_cast<T>(total.sum / static_cast<double>(s.ny * s.nx));
  a.maximum[at] = total.maximum;
  a.argmax[at] = total.argmax;
}

}  // namespace

template <Simd L, class T>
void pyramid_attention_cpu(const PyramidArgs<T>& a, const Workspace& work) {
  const PyramidScratch<T> scratch(a.shape, work.scratch);
  pack_weights(a, scratch, scratch.packed());
  for_each_with_tiles(scratch.tiles(), work.threads,
                      [&](std::int64_t thread, std::int64_t tile) { forward_tile(a, scratch, thread, tile); });
  for (std::int64_t i = 0; i < a.shape.batch * a.shape.out_channels(); ++i)
    reduce_channel(a, scratch.statistics(), i / a.shape.out_channels(), i % a.shape.out_channels());
}

template <Simd L, class T>
std::int64_t pyramid_attention_scratch_bytes(const PyramidArgs<T>& a, int threads) {
  return PyramidScratch<T>(a.shape).bytes(threads);
}

CSMRI_INSTANTIATE_CPU(pyramid_attention, PyramidArgs)

}  // namespace csmri

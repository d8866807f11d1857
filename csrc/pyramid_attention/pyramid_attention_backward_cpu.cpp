// CPU backward kernels of the convolution pyramid. With dF' = dF + dmean / (ny nx) + [pixel is the argmax] dmaximum,
// formed while a tile is loaded,
//   dx_c     = sum over branches and outputs o of the group of c of dF'_o convolved with the flipped kernel: the
//              forward kernel with the roles of inputs and outputs swapped; one task per tile;
//   dW_o,c   = sum over images and pixels of dF'_o(y, x) x_c(y + ky, x + kx): one task per chunk of input channels,
//              which walks all tiles in order, so that the sums do not depend on the number of threads.
#include <algorithm>

#include "core/parallel.hpp"
#include "pyramid_attention/correlate.hpp"
#include "pyramid_attention/pyramid_attention.hpp"
#include "pyramid_attention/scratch.hpp"
#include "pyramid_attention/tile.hpp"

namespace csmri {
namespace {

// The channels of dx take the place of outputs, so that they come in blocks; a chunk of channels may begin or end
// inside a group, so each piece (chunk, group) is packed by itself.
template <class T>
void pack_flipped_weights(const PyramidBackwardArgs<T>& a, const PyramidScratch<T>& scratch, T* packed) {
  const PyramidShape& s = a.shape;
  for_chunks(s, [&](std::int64_t c0, std::int64_t c1) {
    for_groups(s, c0, c1, [&](int i, std::int64_t g, std::int64_t lo, std::int64_t hi) {
      const int k = s.kernel[i];
      const std::int64_t width = s.in_channels() / s.groups[i], outputs = s.branch_channels / s.groups[i];
      const T* w = a.weight[i] + g * outputs * width * k * k;
      pack_group(k, hi - lo, outputs, packed + scratch.branch_offset(i) + lo * outputs * k * k,
                 [&](std::int64_t c, std::int64_t o, int ky, int kx) {
                   return w[((o * width + lo - g * width + c) * k + k - 1 - ky) * k + k - 1 - kx];
                 });
    });
  });
}

// dF' of one channel as a padded tile.
template <class T>
void load_gradient(const PyramidBackwardArgs<T>& a, const Tile& tile, std::int64_t channel, const PaddedLayout& layout,
                   T* to) {
  const PyramidShape& s = a.shape;
  const std::int64_t at = tile.image * s.out_channels() + channel;
  load_plane(a.grad_features + at * s.ny * s.nx, T(1), s, tile, layout, to);
  const std::int64_t left = tile.x0 - layout.halo, top = tile.y0 - layout.halo;
  const T mean = a.grad_mean[at] / static_cast<T>(s.ny * s.nx);
  for (std::int64_t y = std::max<std::int64_t>(top, 0); y < std::min(top + layout.rows, s.ny); ++y)
    for (std::int64_t x = std::max<std::int64_t>(left, 0); x < std::min(left + kTileX + 2 * layout.halo, s.nx); ++x)
      to[(y - top) * layout.pitch + x - left] += mean;
  const std::int64_t y = a.argmax[at] / s.nx - top, x = a.argmax[at] % s.nx - left;
  if (y >= 0 && y < layout.rows && x >= 0 && x < kTileX + 2 * layout.halo)
    to[y * layout.pitch + x] += a.grad_maximum[at];
}

template <class T>
void grad_x_tile(const PyramidBackwardArgs<T>& a, const PyramidScratch<T>& scratch, std::int64_t thread,
                 std::int64_t index) {
  const PyramidShape& s = a.shape;
  const PaddedLayout& layout = scratch.layout();
  const Tile tile = Tiling(s).at(s, index);
  T *in = scratch.input_tile(thread), *out = scratch.output_tile(thread);
  for (std::int64_t c = 0; c < s.out_channels(); ++c) load_gradient(a, tile, c, layout, in + c * layout.plane());
  for_chunks(s, [&](std::int64_t c0, std::int64_t c1) {
    std::fill_n(out, (c1 - c0) * kOutPlane, T(0));  // every branch adds to all channels
    for_groups(s, c0, c1, [&](int i, std::int64_t g, std::int64_t lo, std::int64_t hi) {
      const int k = s.kernel[i];
      const std::int64_t outputs = s.branch_channels / s.groups[i];
      convolve_tile<T>(k, in + (i * s.branch_channels + g * outputs) * layout.plane(), layout, tile, outputs,
                       std::int64_t{0}, outputs, scratch.packed() + scratch.branch_offset(i) + lo * outputs * k * k,
                       out + (lo - c0) * kOutPlane, hi - lo, kOutPlane, true);
    });
    for_part_channels(s, c0, c1, [&](int p, std::int64_t local, std::int64_t c) {
      const T* from = out + (c - c0) * kOutPlane;
      T* to = a.grad_x[p] + ((tile.image * s.part_channels[p] + local) * s.ny + tile.y0) * s.nx + tile.x0;
      for (std::int64_t r = 0; r < tile.rows; ++r) std::copy_n(from + r * kPitch, tile.columns, to + r * s.nx);
    });
  });
}

// The tile's own pixels of dF' and zeros around them, as correlate_channel takes them.
template <class T>
void load_gradient_core(const PyramidBackwardArgs<T>& a, const Tile& tile, std::int64_t channel, T* to) {
  const PyramidShape& s = a.shape;
  const std::int64_t at = tile.image * s.out_channels() + channel;
  const T mean = a.grad_mean[at] / static_cast<T>(s.ny * s.nx);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const T* from = a.grad_features + (at * s.ny + tile.y0 + r) * s.nx + tile.x0;
    T* row = to + r * kPitch;
    for (std::int64_t x = 0; x < tile.columns; ++x) row[x] = from[x] + mean;
    std::fill(row + tile.columns, row + kPitch, T(0));
  }
  std::fill_n(to + tile.rows * kPitch, kZeroRows * kPitch, T(0));
  const std::int64_t y = a.argmax[at] / s.nx - tile.y0, x = a.argmax[at] % s.nx - tile.x0;
  if (y >= 0 && y < tile.rows && x >= 0 && x < tile.columns) to[y * kPitch + x] += a.grad_maximum[at];
}

template <class T>
void grad_weight_chunk(const PyramidBackwardArgs<T>& a, const PyramidScratch<T>& scratch, std::int64_t thread,
                       std::int64_t c0, std::int64_t c1) {
  const PyramidShape& s = a.shape;
  const PaddedLayout& layout = scratch.weight_layout();
  T *in = scratch.input_tile(thread), *g = scratch.output_tile(thread) + kZeroRows * kPitch;
  std::fill(scratch.output_tile(thread), g + s.branch_channels * kGradientPlane, T(0));
  const Tiling tiling(s, kWeightRows);
  // Each thread owns the sums of its input channels: sums[branch][o][c][ky][kx].
  double* sums = scratch.weight_sums();
  const auto sums_of = [&](int i, std::int64_t output, std::int64_t channel) {
    const int k = s.kernel[i];
    return sums + scratch.branch_offset(i) + output * scratch.weights_per_output(s, i) + channel * k * k;
  };
  for_groups(s, c0, c1, [&](int i, std::int64_t group, std::int64_t lo, std::int64_t hi) {
    const std::int64_t outputs = s.branch_channels / s.groups[i], width = s.in_channels() / s.groups[i];
    for (std::int64_t o = group * outputs; o < (group + 1) * outputs; ++o)
      std::fill(sums_of(i, o, lo - group * width), sums_of(i, o, hi - group * width), 0.0);
  });
  for (std::int64_t index = 0; index < s.batch * tiling.per_image(); ++index) {
    const Tile tile = tiling.at(s, index);
    for_part_channels(s, c0, c1, [&](int p, std::int64_t local, std::int64_t c) {
      load_plane(a.part[p] + (tile.image * s.part_channels[p] + local) * s.ny * s.nx, a.scale[p], s, tile, layout,
                 in + (c - c0) * layout.plane());
    });
    for_groups(s, c0, c1, [&](int i, std::int64_t group, std::int64_t lo, std::int64_t hi) {
      const std::int64_t outputs = s.branch_channels / s.groups[i], width = s.in_channels() / s.groups[i];
      for (std::int64_t o = 0; o < outputs; ++o)
        load_gradient_core(a, tile, i * s.branch_channels + group * outputs + o, g + o * kGradientPlane);
      for (std::int64_t c = lo; c < hi; ++c)
        correlate_channel<T>(s.kernel[i], in + (c - c0) * layout.plane(), layout, g, tile, outputs,
                             sums_of(i, group * outputs, c - group * width), scratch.weights_per_output(s, i));
    });
  }
  for_groups(s, c0, c1, [&](int i, std::int64_t group, std::int64_t lo, std::int64_t hi) {
    const std::int64_t outputs = s.branch_channels / s.groups[i], width = s.in_channels() / s.groups[i];
    for (std::int64_t o = group * outputs; o < (group + 1) * outputs; ++o) {
      const double *first = sums_of(i, o, lo - group * width), *last = sums_of(i, o, hi - group * width);
      T* to = a.grad_weight[i] + (first - (sums + scratch.branch_offset(i)));
      for (; first != last; ++first) *to++ = static_cast<T>(*first);
    }
  });
}

}  // namespace

template <Simd L, class T>
void pyramid_attention_backward_cpu(const PyramidBackwardArgs<T>& a, const Workspace& work) {
  const PyramidScratch<T> scratch(a.shape, work.scratch);
  if (a.grad_x[0]) {
    pack_flipped_weights(a, scratch, scratch.packed());
    for_each_with_tiles(scratch.tiles(), work.threads,
                        [&](std::int64_t thread, std::int64_t tile) { grad_x_tile(a, scratch, thread, tile); });
  }
  if (a.grad_weight[0]) {
    const std::int64_t n = a.shape.in_channels(), step = kWeightChunk, chunks = (n + step - 1) / step;
    for_each_with_tiles(chunks, work.threads, [&](std::int64_t thread, std::int64_t i) {
      grad_weight_chunk(a, scratch, thread, i * step, std::min(n, (i + 1) * step));
    });
  }
}

template <Simd L, class T>
std::int64_t pyramid_attention_backward_scratch_bytes(const PyramidBackwardArgs<T>& a, int threads) {
  return PyramidScratch<T>(a.shape).bytes(threads);
}

template std::int64_t pyramid_attention_backward_scratch_bytes<kSimd>(const PyramidBackwardArgs<float>&, int);
template std::int64_t pyramid_attention_backward_scratch_bytes<kSimd>(const PyramidBackwardArgs<double>&, int);
template void pyramid_attention_backward_cpu<kSimd>(const PyramidBackwardArgs<float>&, const Workspace&);
template void pyramid_attention_backward_cpu<kSimd>(const PyramidBackwardArgs<double>&, const Workspace&);

}  // namespace csmri

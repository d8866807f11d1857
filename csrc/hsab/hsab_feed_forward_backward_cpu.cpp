// CPU backward kernel. A task is a band of rows; within it one group of hidden channels (two registers wide) after the
// other walks down the rows, since hidden channels meet only in dx. Rings of three rows of a, gelu'(p), dq and x, 300
// KiB at 256 pixels and 32 channels, stay in the L2 cache, weight gradients of the group in the L1 cache. Rows of a and
// dq beyond a band are computed by both neighbors, with the same bits. Bound by arithmetic: per pixel and
// hidden channel 5 multiply-adds for each channel, 27, two gelu and two gelu', the recomputed ones among them.
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "core/layouts.hpp"
#include "hsab/gelu.hpp"
#include "hsab/hsab_feed_forward.hpp"
#include "rows/separable_rows.hpp"

namespace csmri {
namespace {

constexpr std::int64_t kBandRows = 32;

template <class T>
using Args = HsabFeedForwardBackwardArgs<T>;

template <class T>
std::int64_t n_bands(const Args<T>& a) {
  return (a.ny + kBandRows - 1) / kBandRows;
}

// Weight gradients of one band: per group of hidden channels dD (9, kBlock), then dV (o, k) and dU (k, c) of each group
// of channels, (kBlock, kBlock).
template <class T>
std::int64_t sums_of_group(const Args<T>& a) {
  return 9 * kBlock<T> + 2 * groups_of<T>(a.channels) * kBlock<T> * kBlock<T>;
}
template <class T>
std::int64_t sums_of_band(const Args<T>& a) {
  return groups_of<T>(a.hidden) * sums_of_group(a);
}

template <class T>
struct Layout {
  T *x_ring, *a_ring, *slope_ring, *dq_ring, *zeros, *grad;
  T *h, *slope, *dp, *dx;
  T *expand, *expand_transposed, *depthwise, *depthwise_flipped, *contract_transposed;
  std::int64_t zero_from, bytes;  // the first bytes start as zeros

  Layout(const Args<T>& a, void* scratch) {
    ScratchCursor cursor(scratch);
    const std::int64_t row = row_size<T>(a.nx, a.channels), hidden_row = group_size<T>(a.nx);
    x_ring = cursor.take<T>(3 * row);
    a_ring = cursor.take<T>(3 * hidden_row);
    slope_ring = cursor.take<T>(3 * hidden_row);
    dq_ring = cursor.take<T>(3 * hidden_row);
    zeros = cursor.take<T>(hidden_row);
    grad = cursor.take<T>(row);
    zero_from = cursor.bytes();
    h = cursor.take<T>(kSegmentPixels * kBlock<T>);
    slope = cursor.take<T>(kSegmentPixels * kBlock<T>);
    dp = cursor.take<T>(hidden_row);
    dx = cursor.take<T>(row);
    const std::int64_t hidden_groups = groups_of<T>(a.hidden) * kBlock<T>;
    expand = cursor.take<T>(hidden_groups * a.channels);
    expand_transposed = cursor.take<T>(groups_of<T>(a.channels) * a.hidden * kBlock<T>);
    depthwise = cursor.take<T>(hidden_groups * 9);
    depthwise_flipped = cursor.take<T>(hidden_groups * 9);
    contract_transposed = cursor.take<T>(hidden_groups * a.channels);
    bytes = cursor.bytes();
  }
};

template <class T>
void pack(const Args<T>& a, const Layout<T>& l) {
  pack_pointwise(a.expand, a.hidden, a.channels, a.channels, 1, l.expand);
  pack_pointwise(a.expand, a.channels, 1, a.hidden, a.channels, l.expand_transposed);
  pack_depthwise(a.depthwise, a.hidden, 9, false, l.depthwise);
  pack_depthwise(a.depthwise, a.hidden, 9, true, l.depthwise_flipped);
  pack_pointwise(a.contract, a.hidden, 1, a.channels, a.hidden, l.contract_transposed);
}

// tile[x][o] = products of kTilePixels pixels, times factor[x][o] if there is one.
template <class T>
inline void product_tile(const T* from, std::int64_t group, std::int64_t channels, const T* w, const T* factor,
                         T* tile) {
  TileSums<T> sums;
  clear<T>(sums);
  add_all_products<T>(sums, from, group, channels, w);
#pragma GCC unroll 10
  for (int i = 0; i < kTilePixels; ++i)
    for (int v = 0; v < 2; ++v) {
      const std::int64_t at = i * kBlock<T> + v * kLanes<T>;
      store(tile + at, factor ? sums[i][v] * load(factor + at) : sums[i][v]);
    }
}

// One group of hidden channels in one band [y0, y1) of an image.
template <class T>
class GroupOfBand {
 public:
  GroupOfBand(const Args<T>& a, const Layout<T>& l, std::int64_t image, std::int64_t y0, std::int64_t y1,
              std::int64_t g, T* sums)
      : a_(a),
        l_(l),
        image_(image),
        y0_(y0),
        y1_(y1),
        g_(g),
        first_(g * kBlock<T>),
        width_(std::min<std::int64_t>(kBlock<T>, a.hidden - first_)),
        group_(group_size<T>(a.nx)),
        sums_(sums),
        x_{l.x_ring, nullptr, a.ny, 3, row_size<T>(a.nx, a.channels)},
        activation_{l.a_ring, l.zeros, a.ny, 3, group_},
        slope_{l.slope_ring, nullptr, a.ny, 3, group_},
        dq_{l.dq_ring, l.zeros, a.ny, 3, group_} {}

  void run() {
    const auto inside = [&](std::int64_t y, std::int64_t halo) {
      return y >= std::max<std::int64_t>(y0_ - halo, 0) && y < std::min(y1_ + halo, a_.ny);
    };
    for (std::int64_t y = y0_ - 2; y < y1_ + 2; ++y) {
      if (inside(y, 2)) activate(y);
      if (inside(y - 1, 1)) gradient_of_q(y - 1);
      if (inside(y - 2, 0)) gradient_of_x(y - 2);
    }
  }

 private:
  bool in_band(std::int64_t y) const { return y >= y0_ && y < y1_; }
  std::int64_t offset(std::int64_t y) const { return (image_ * a_.ny + y) * a_.nx * a_.channels; }

  // a and gelu'(p) of row y.
  void activate(std::int64_t y) {
    T *const x_row = x_.slot(y), *const to = activation_.slot(y), *const slope = slope_.slot(y);
    load_pixels(a_.x + offset(y), a_.channels, a_.channels, group_, 0, a_.nx, x_row, CopyPixel<T>{});
    for (std::int64_t x = 0; x < a_.nx; x += kTilePixels) {
      const std::int64_t at = x * kBlock<T>;
      product_tile<T>(x_row + at, group_, a_.channels, l_.expand + first_ * a_.channels, nullptr, to + at);
      if (in_band(y))
        gelu_and_slope(to + at, slope + at, kTilePixels * kBlock<T>);
      else
        gelu_in_place(to + at, kTilePixels * kBlock<T>);
    }
  }

  // dq of row y, and this row's part of dV and dD.
  void gradient_of_q(std::int64_t y) {
    T *const grad = l_.grad + kPad * kBlock<T>, *const dq = dq_.slot(y);
    const T* const rows[3] = {activation_.row(y - 1), activation_.row(y), activation_.row(y + 1)};
    load_pixels(a_.grad_out + offset(y), a_.channels, a_.channels, group_, 0, a_.nx, grad, CopyPixel<T>{});
    for (std::int64_t first = 0; first < a_.nx; first += kSegmentPixels) {
      const std::int64_t n = std::min<std::int64_t>(kSegmentPixels, a_.nx - first), start = first * kBlock<T>;
      for (std::int64_t x = 0; x < n; x += kTilePixels) {
        const std::int64_t at = start + x * kBlock<T>;
        T *const h = l_.h + x * kBlock<T>, *const slope = l_.slope + x * kBlock<T>;
        filter_tile<1>(rows[0] + at, rows[1] + at, rows[2] + at, l_.depthwise + first_ * 9, h,
                       [](Vec<T> v, std::int64_t) { return v; });
        gelu_and_slope(h, slope, kTilePixels * kBlock<T>);
        product_tile<T>(grad + at, group_, a_.channels, l_.contract_transposed + first_ * a_.channels, slope, dq + at);
      }
      if (!in_band(y)) continue;
      correlate_segment<1>(dq + start, rows[0] + start, rows[1] + start, rows[2] + start, round_up_to(n, kTilePixels),
                           sums_);
      for (std::int64_t c = 0; c < a_.channels; c += kBlock<T>)
        add_outer_products(grad + c / kBlock<T> * group_ + start, l_.h, n,
                           std::min<std::int64_t>(kBlock<T>, a_.channels - c), sums_ + (9 + c) * kBlock<T>);
    }
  }

  // This group's part of dx of row y, and the row's part of dU.
  void gradient_of_x(std::int64_t y) {
    const T* const rows[3] = {dq_.row(y - 1), dq_.row(y), dq_.row(y + 1)};
    const T *const slope = slope_.slot(y), *const x_row = x_.slot(y);
    T *const dp = l_.dp + kPad * kBlock<T>, *const dx = l_.dx + kPad * kBlock<T>;
    const std::int64_t channels = round_up_to(a_.channels, kBlock<T>);
    for (std::int64_t first = 0; first < a_.nx; first += kSegmentPixels) {
      const std::int64_t last = std::min<std::int64_t>(first + kSegmentPixels, a_.nx);
      for (std::int64_t x = first; x < last; x += kTilePixels) {
        const std::int64_t at = x * kBlock<T>;
        filter_tile<1>(rows[0] + at, rows[1] + at, rows[2] + at, l_.depthwise_flipped + first_ * 9, dp + at,
                       [&](Vec<T> v, std::int64_t inside) { return v * load(slope + at + inside); });
        for (std::int64_t c = 0; c < a_.channels; c += kBlock<T>)
          product_tile<T>(dp + at, group_, width_, l_.expand_transposed + c * a_.hidden + first_ * kBlock<T>, nullptr,
                          dx + c / kBlock<T> * group_ + at);
      }
      for (std::int64_t c = 0; c < a_.channels; c += kBlock<T>)
        add_outer_products(dp + first * kBlock<T>, x_row + c / kBlock<T> * group_ + first * kBlock<T>, last - first,
                           width_, sums_ + (9 + channels + c) * kBlock<T>);
      T* const to = a_.grad_x + offset(y);
      store_pixels<false>(dx, group_, a_.channels, first, last, to, a_.channels,
                          [&](Vec<T> v, std::int64_t, std::int64_t at, int n) {
                            if (g_ == 0) return v;
                            return v + (n == kLanes<T> ? load(to + at) : load_first(to + at, n));
                          });
    }
  }

  const Args<T>& a_;
  const Layout<T>& l_;
  const std::int64_t image_, y0_, y1_, g_, first_, width_, group_;
  T* const sums_;
  const RowRing<T> x_, activation_, slope_, dq_;
};

// The sums of all bands of all images, in order, in the layout of the weights.
template <class T>
void reduce_partials(const Args<T>& a, const T* partials, int threads) {
  const std::int64_t n = a.batch * n_bands(a), stride = sums_of_band(a), group = sums_of_group(a),
                     channels = round_up_to(a.channels, kBlock<T>);
  parallel_for(a.hidden, threads, [&](std::int64_t k) {
    const std::int64_t base = k / kBlock<T> * group, lane = k % kBlock<T>;
    const auto total = [&](std::int64_t row, std::int64_t column) {
      double sum = 0;
      for (std::int64_t i = 0; i < n; ++i)
        sum += static_cast<double>(partials[i * stride + base + row * kBlock<T> + column]);
      return static_cast<T>(sum);
    };
    for (int tap = 0; tap < 9; ++tap) a.grad_depthwise[k * 9 + tap] = total(tap, lane);
    for (std::int64_t c = 0; c < a.channels; ++c) {
      a.grad_contract[c * a.hidden + k] = total(9 + c, lane);
      a.grad_expand[k * a.channels + c] = total(9 + channels + c / kBlock<T> * kBlock<T> + lane, c % kBlock<T>);
    }
  });
}

// One for each band of each image.
template <class T>
std::int64_t n_partials(const Args<T>& a) {
  return a.batch * n_bands(a) * sums_of_band(a);
}

}  // namespace

template <Simd L, class T>
void hsab_feed_forward_backward_cpu(const HsabFeedForwardBackwardArgs<T>& a, const Workspace& work) {
  const std::int64_t bands = n_bands(a);
  const LayoutsAndPartials<Layout<T>, T> call(a, n_partials(a), work.scratch, work.threads);
  call.run(a, a.batch * bands, work.threads, [&](const Layout<T>& layout, std::int64_t first, std::int64_t last) {
    pack(a, layout);
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t y0 = i % bands * kBandRows, y1 = std::min(a.ny, y0 + kBandRows);
      T* const sums = call.partials() + i * sums_of_band(a);
      for (std::int64_t g = 0; g < groups_of<T>(a.hidden); ++g)
        GroupOfBand<T>(a, layout, i / bands, y0, y1, g, sums + g * sums_of_group(a)).run();
    }
  });
  reduce_partials(a, call.partials(), work.threads);
}

template <Simd L, class T>
std::int64_t hsab_feed_forward_backward_scratch_bytes(const HsabFeedForwardBackwardArgs<T>& a, int threads) {
  return LayoutsAndPartials<Layout<T>, T>(a, n_partials(a), nullptr, threads).bytes();
}

CSMRI_INSTANTIATE_CPU(hsab_feed_forward_backward, Args)

}  // namespace csmri

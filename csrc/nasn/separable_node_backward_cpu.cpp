// CPU backward kernel of one operation, in one pass over the image: x and G are read once, dx is written once. A ring
// keeps the rows of g that first^T still needs, so dx runs `radius` rows behind. Threads take whole bands; rows of g
// beyond a thread's bands are computed by both neighbours, with the same bits.
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "core/layouts.hpp"
#include "nasn/separable_node.hpp"
#include "rows/separable_rows.hpp"

namespace csmri {
namespace {

template <class T>
std::int64_t n_bands(const SeparableNodeBackwardArgs<T>& a) {
  return (a.ny + kBandRows - 1) / kBandRows;
}
// Rows of `second`: of a dense convolution one per output and shift.
template <class T>
std::int64_t n_products(const SeparableNodeBackwardArgs<T>& a) {
  return a.outputs * (a.term.operation == Separable::relu_conv ? 9 : 1);
}
template <class T>
bool has_taps(const SeparableNodeBackwardArgs<T>& a) {  // filters x before the products
  return a.term.operation != Separable::pointwise && a.term.operation != Separable::relu_conv;
}
template <class T>
std::int64_t sums_first(const SeparableNodeBackwardArgs<T>& a) {
  return packed_first_size<T>(a.term.operation, a.term.channels);
}
template <class T>
std::int64_t sums_second(const SeparableNodeBackwardArgs<T>& a) {  // as one group of outputs times one of channels each
  if (a.term.operation == Separable::column_row) return packed_second_size<T>(a.term.operation, a.term.channels, 0);
  return groups_of<T>(n_products(a)) * groups_of<T>(a.term.channels) * kBlock<T> * kBlock<T>;
}

template <class T>
struct Layout {
  T *x_ring, *g_ring, *zeros, *grad, *hidden, *filtered, *result;
  T *first, *first_flipped, *second;
  std::int64_t zero_from, bytes;

  Layout(const SeparableNodeBackwardArgs<T>& a, void* scratch) {
    ScratchCursor cursor(scratch);
    const Separable operation = a.term.operation;
    const std::int64_t rows = has_taps(a) ? 2 * radius_of(operation) + 1 : 1, row = row_size<T>(a.nx, a.term.channels),
                       grad_row = row_size<T>(a.nx, n_products(a));
    x_ring = cursor.take<T>(rows * row);
    g_ring = cursor.take<T>(rows * row);
    zeros = cursor.take<T>(row);
    grad = cursor.take<T>(grad_row);
    hidden = cursor.take<T>(operation == Separable::column_row ? row : 0);
    zero_from = cursor.bytes();
    filtered = cursor.take<T>(filtered_size<T>(a.term.channels));
    result = cursor.take<T>(row);
    first = cursor.take<T>(packed_first_size<T>(operation, a.term.channels));
    first_flipped = cursor.take<T>(packed_first_size<T>(operation, a.term.channels));
    second =
        cursor.take<T>(operation == Separable::column_row ? packed_first_size<T>(operation, a.term.channels)
                                                          : groups_of<T>(a.term.channels) * n_products(a) * kBlock<T>);
    bytes = cursor.bytes();
  }
};

template <class T>
class Rows {
 public:
  Rows(const SeparableNodeBackwardArgs<T>& a, const Layout<T>& l, T* partials, std::int64_t image)
      : a_(a),
        l_(l),
        partials_(partials),
        image_(image),
        channels_(a.term.channels),
        groups_(groups_of<T>(channels_)),
        group_(group_size<T>(a.nx)),
        products_(n_products(a)),
        radius_(has_taps(a) ? radius_of(a.term.operation) : 0),
        x_{l.x_ring, l.zeros, a.ny, 2 * radius_ + 1, row_size<T>(a.nx, channels_)},
        g_{l.g_ring, l.zeros, a.ny, 2 * radius_ + 1, row_size<T>(a.nx, channels_)},
        grad_(l.grad + kPad * kBlock<T>) {}

  // dx of rows [y0, y1), and the weight gradients of these rows.
  void run(std::int64_t y0, std::int64_t y1) {
    const bool wants_x = a_.grad_x != nullptr;
    const std::int64_t first = wants_x ? std::max<std::int64_t>(y0 - radius_, 0) : y0,
                       last = wants_x ? std::min(y1 + radius_, a_.ny) : y1;
    for (std::int64_t y = first - radius_; y < first + radius_; ++y) load_x(y);
    for (std::int64_t y = first; y < (wants_x ? y1 + radius_ : y1); ++y) {
      load_x(y + radius_);
      if (y < last) gradient_row(y, y >= y0 && y < y1 ? partial(y) : nullptr);
      if (wants_x && y - radius_ >= y0) grad_x_row(y - radius_);
    }
  }

 private:
  T* partial(std::int64_t y) const {
    if (!a_.grad_second) return nullptr;
    return partials_ + (image_ * n_bands(a_) + y / kBandRows) * (sums_first(a_) + sums_second(a_));
  }

  void load_x(std::int64_t y) {
    if (y < 0 || y >= a_.ny) return;
    load_pixels(a_.term.x + (image_ * a_.ny + y) * a_.nx * a_.term.pixel, a_.term.pixel, channels_, group_, 0, a_.nx,
                x_.slot(y), ReluPixel<T>{});
  }

  const T* gradient(std::int64_t y) const { return a_.grad + (image_ * a_.ny + y) * a_.nx * a_.grad_pixel; }

  // Output o at shift (ky, kx) sees pixel (y, x) from (y - ky + 1, x - kx + 1).
  void gather_gradient(std::int64_t y) {
    for (std::int64_t i = 0; i < products_; ++i) {
      const std::int64_t tap = i / a_.outputs, row = y - tap / 3 + 1, shift = 1 - tap % 3;
      T* const to = grad_ + i / kBlock<T> * group_ + i % kBlock<T>;
      if (row < 0 || row >= a_.ny) {
        for (std::int64_t x = 0; x < a_.nx; ++x) to[x * kBlock<T>] = T(0);
        continue;
      }
      const T* const from = gradient(row) + i % a_.outputs + shift * a_.grad_pixel;
      const std::int64_t x0 = std::max<std::int64_t>(-shift, 0), x1 = std::min(a_.nx - shift, a_.nx);
      for (std::int64_t x = x0; x < x1; ++x) to[x * kBlock<T>] = from[x * a_.grad_pixel];
      if (x0 > 0) to[0] = T(0);
      if (x1 < a_.nx) to[(a_.nx - 1) * kBlock<T>] = T(0);
    }
  }

  // Row y of g into its ring, and its part of the weight gradients into `sums`, unless null.
  void gradient_row(std::int64_t y, T* sums) {
    if (a_.term.operation == Separable::relu_conv)
      gather_gradient(y);
    else
      load_pixels(gradient(y), a_.grad_pixel, a_.outputs, group_, 0, a_.nx, grad_, CopyPixel<T>{});
    const T* rows[9];
    for (int k = 0; k <= 2 * radius_; ++k) rows[k] = x_.row(y - radius_ + k);
    T* const g = g_.slot(y);
    if (a_.term.operation == Separable::column_row)
      column_row_gradient(rows, g, sums);
    else
      pointwise_gradient(rows, g, sums);
    clear_behind(g, a_.nx, channels_);
    if (!sums || !has_taps(a_)) return;
    for (std::int64_t c = 0; c < groups_; ++c)
      for (std::int64_t x = 0; x < a_.nx; x += kSegmentPixels)
        correlate(g + c * group_ + x * kBlock<T>, rows, c * group_ + x * kBlock<T>,
                  round_up_to(std::min<std::int64_t>(kSegmentPixels, a_.nx - x), kTilePixels),
                  sums + c * 9 * kBlock<T>);
  }

  void correlate(const T* g, const T* const* rows, std::int64_t at, std::int64_t n, T* sums) const {
    switch (a_.term.operation) {
      case Separable::dilation1:
        return correlate_segment<1>(g, rows[0] + at, rows[1] + at, rows[2] + at, n, sums);
      case Separable::dilation2:
        return correlate_segment<2>(g, rows[0] + at, rows[2] + at, rows[4] + at, n, sums);
      case Separable::dilation3:
        return correlate_segment<3>(g, rows[0] + at, rows[3] + at, rows[6] + at, n, sums);
      default:
        return correlate_segment_9(g, [&](int k) { return rows[k] + at; }, n, sums);
    }
  }

  void pointwise_gradient(const T* const* rows, T* g, T* sums) {
    const bool filters = has_taps(a_);
    T* const second_sums = sums ? sums + sums_first(a_) : nullptr;
    for (std::int64_t first = 0; first < a_.nx; first += kSegmentPixels) {
      const std::int64_t n = std::min<std::int64_t>(kSegmentPixels, a_.nx - first);
      for (std::int64_t c = 0; c < groups_; ++c) {
        const T* hidden = rows[0] + c * group_ + first * kBlock<T>;  // relu(t), or relu(x)
        if (filters) {
          T* const to = l_.filtered + c * kSegmentPixels * kBlock<T>;
          for (std::int64_t x = 0; x < n; x += kTilePixels)
            filter_3x3<T>(a_.term.operation, rows, c * group_ + (first + x) * kBlock<T>, l_.first + c * 9 * kBlock<T>,
                          to + x * kBlock<T>, [](Vec<T> v, std::int64_t) { return relu<T>(v); });
          hidden = to;
        }
        for (std::int64_t x = 0; x < n; x += kTilePixels) {
          TileSums<T> tile;
          clear<T>(tile);
          add_all_products<T>(tile, grad_ + (first + x) * kBlock<T>, group_, products_,
                              l_.second + c * products_ * kBlock<T>);
          T* const to = g + c * group_ + (first + x) * kBlock<T>;
#pragma GCC unroll 10
          for (int i = 0; i < kTilePixels; ++i)
#pragma GCC unroll 2
            for (int v = 0; v < 2; ++v) {
              const Vec<T> here = load(hidden + (x + i) * kBlock<T> + v * kLanes<T>);
              store(to + i * kBlock<T> + v * kLanes<T>, masked(tile[i][v], here));
            }
        }
        if (!second_sums) continue;
        for (std::int64_t o = 0; o < groups_of<T>(products_); ++o)
          add_outer_products(grad_ + o * group_ + first * kBlock<T>, hidden, n,
                             std::min<std::int64_t>(kBlock<T>, products_ - o * kBlock<T>),
                             second_sums + (o * groups_ + c) * kBlock<T> * kBlock<T>);
      }
    }
  }

  void column_row_gradient(const T* const* rows, T* g, T* sums) {
    T* const hidden = l_.hidden + kPad * kBlock<T>;
    RowTerm<T> term{a_.term.operation, channels_, {}, l_.first, nullptr};
    std::copy_n(rows, 9, term.rows);
    filter_column(term, group_, 0, round_up_to(a_.nx, kTilePixels), hidden);
    for (std::int64_t c = 0; c < groups_; ++c) {
      for (std::int64_t x = 0; x < a_.nx; x += kTilePixels) {
        const std::int64_t at = c * group_ + x * kBlock<T>;
        filter_along_row(grad_ + at, l_.second + c * 9 * kBlock<T>, g + at,
                         [&](Vec<T> v, std::int64_t offset) { return masked(v, load(hidden + at + offset)); });
      }
      if (!sums) continue;
      for (std::int64_t x = 0; x < a_.nx; x += kSegmentPixels) {
        const std::int64_t at = c * group_ + x * kBlock<T>;
        correlate_segment_9(
            grad_ + at, [&](int k) { return hidden + at + (k - kPad) * kBlock<T>; },
            std::min<std::int64_t>(kSegmentPixels, a_.nx - x), sums + sums_first(a_) + c * 9 * kBlock<T>);
      }
    }
  }

  // v where the activation let it pass.
  static Vec<T> masked(Vec<T> v, Vec<T> activation) { return Vec<T>{} >= activation ? Vec<T>{} : v; }

  void grad_x_row(std::int64_t y) {
    const T* rows[9];
    for (int k = 0; k <= 2 * radius_; ++k) rows[k] = g_.row(y - radius_ + k);
    T* result = l_.result + kPad * kBlock<T>;
    const T* const x_row = x_.row(y);
    for (std::int64_t c = 0; c < groups_ && has_taps(a_); ++c)
      for (std::int64_t x = 0; x < a_.nx; x += kTilePixels) {
        const std::int64_t at = c * group_ + x * kBlock<T>;
        const T* const w = l_.first_flipped + c * 9 * kBlock<T>;
        const auto same = [](Vec<T> v, std::int64_t) { return v; };
        if (a_.term.operation == Separable::column_row)
          filter_tile_9<T>([&](int k) { return rows[k] + at; }, w, result + at, same);
        else
          filter_3x3<T>(a_.term.operation, rows, at, w, result + at, same);
      }
    const T* const from = has_taps(a_) ? result : rows[0];
    T* const to = a_.grad_x + (image_ * a_.ny + y) * a_.nx * a_.grad_x_pixel;
    if (!a_.addend) {
      store_pixels<false>(from, group_, channels_, 0, a_.nx, to, a_.grad_x_pixel,
                          [&](Vec<T> v, std::int64_t at, std::int64_t, int) { return masked(v, load(x_row + at)); });
      return;
    }
    const T* const addend = a_.addend + (image_ * a_.ny + y) * a_.nx * a_.addend_pixel;
    for (std::int64_t x = 0; x < a_.nx; ++x) {
      const T* const own = addend + x * a_.addend_pixel - x * a_.grad_x_pixel;
      store_pixels<false>(from, group_, channels_, x, x + 1, to, a_.grad_x_pixel,
                          [&](Vec<T> v, std::int64_t at, std::int64_t offset, int n) {
                            const Vec<T> more = n == kLanes<T> ? load(own + offset) : load_first(own + offset, n);
                            return more + masked(v, load(x_row + at));
                          });
    }
  }

  const SeparableNodeBackwardArgs<T>& a_;
  const Layout<T>& l_;
  T* const partials_;
  const std::int64_t image_, channels_, groups_, group_, products_;
  const int radius_;
  const RowRing<T> x_, g_;
  T* const grad_;
};

// The sums of all bands of all images, in order, in the layout of the weights.
template <class T>
void reduce_partials(const SeparableNodeBackwardArgs<T>& a, const T* partials) {
  const std::int64_t n_first = sums_first(a), stride = n_first + sums_second(a), n = a.batch * n_bands(a),
                     channels = a.term.channels, groups = groups_of<T>(channels);
  const auto total = [&](std::int64_t at) {
    double sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(partials[i * stride + at]);
    return static_cast<T>(sum);
  };
  const auto taps = [&](T* to, std::int64_t offset) {
    for (std::int64_t c = 0; c < channels; ++c)
      for (int k = 0; k < 9; ++k) to[c * 9 + k] = total(offset + (c / kBlock<T> * 9 + k) * kBlock<T> + c % kBlock<T>);
  };
  if (n_first) taps(a.grad_first, 0);
  if (a.term.operation == Separable::column_row) return taps(a.grad_second, n_first);
  const std::int64_t shifts = n_products(a) / a.outputs;
  for (std::int64_t o = 0; o < n_products(a); ++o)
    for (std::int64_t c = 0; c < channels; ++c) {
      const std::int64_t pair = o / kBlock<T> * groups + c / kBlock<T>;
      a.grad_second[(o % a.outputs * channels + c) * shifts + o / a.outputs] =
          total(n_first + (pair * kBlock<T> + o % kBlock<T>)*kBlock<T> + c % kBlock<T>);
    }
}

template <class T>
void pack(const SeparableNodeBackwardArgs<T>& a, const Layout<T>& l) {
  const NodeTerm<T>& t = a.term;
  if (sums_first(a)) {
    pack_depthwise(t.first, t.channels, 9, false, l.first);
    pack_depthwise(t.first, t.channels, 9, true, l.first_flipped);
  }
  if (t.operation == Separable::column_row)
    pack_depthwise(t.second, t.channels, 9, true, l.second);
  else if (t.operation == Separable::relu_conv)
    pack_taps_transposed(t.second, a.outputs, t.channels, l.second);
  else
    pack_pointwise(t.second, t.channels, 1, a.outputs, t.channels, l.second);
}

// Of each band of each image, if weight gradients are wanted.
template <class T>
std::int64_t n_partials(const SeparableNodeBackwardArgs<T>& a) {
  return a.grad_second ? a.batch * n_bands(a) * (sums_first(a) + sums_second(a)) : 0;
}

}  // namespace

template <Simd L, class T>
void separable_node_backward_cpu(const SeparableNodeBackwardArgs<T>& a, const Workspace& work) {
  const LayoutsAndPartials<Layout<T>, T> call(a, n_partials(a), work.scratch, work.threads);
  call.run(a, a.batch * n_bands(a), work.threads, [&](const Layout<T>& layout, std::int64_t first, std::int64_t last) {
    pack(a, layout);
    for_images(first, last, n_bands(a), [&](std::int64_t image, std::int64_t band0, std::int64_t band1) {
      Rows<T>(a, layout, call.partials(), image).run(band0 * kBandRows, std::min(a.ny, band1 * kBandRows));
    });
  });
  if (a.grad_second) reduce_partials(a, call.partials());
}

template <Simd L, class T>
std::int64_t separable_node_backward_scratch_bytes(const SeparableNodeBackwardArgs<T>& a, int threads) {
  return LayoutsAndPartials<Layout<T>, T>(a, n_partials(a), nullptr, threads).bytes();
}

CSMRI_INSTANTIATE_CPU(separable_node_backward, SeparableNodeBackwardArgs)

}  // namespace csmri

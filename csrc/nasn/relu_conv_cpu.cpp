// CPU forward kernel of the dense 3x3 convolution with few outputs. All nine shifts of a pixel are one point-wise
// product of full registers; three rows of such products stay in the L2 cache and are summed over shifted pixels.
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "core/layouts.hpp"
#include "nasn/relu_conv.hpp"
#include "rows/separable_rows.hpp"

namespace csmri {
namespace {

template <class T>
struct Layout {
  T *products, *zeros, *row, *weight;
  std::int64_t zero_from, bytes;

  Layout(const ReluConvArgs<T>& a, void* scratch) {
    ScratchCursor cursor(scratch);
    products = cursor.take<T>(3 * row_size<T>(a.nx, 9 * a.outputs));
    zeros = cursor.take<T>(row_size<T>(a.nx, 9 * a.outputs));
    row = cursor.take<T>(row_size<T>(a.nx, a.channels));
    zero_from = cursor.bytes();
    weight = cursor.take<T>(packed_second_size<T>(Separable::pointwise, a.channels, 9 * a.outputs));
    bytes = cursor.bytes();
  }
};

template <class T>
void convolve_rows(const ReluConvArgs<T>& a, const Layout<T>& l, std::int64_t image, std::int64_t y0, std::int64_t y1) {
  const std::int64_t group = group_size<T>(a.nx), products = 9 * a.outputs;
  const RowRing<T> ring{l.products, l.zeros, a.ny, 3, row_size<T>(a.nx, products)};
  T* const row = l.row + kPad * kBlock<T>;
  const RowTerm<T> term{Separable::pointwise, a.channels, {row}, nullptr, l.weight};
  for (std::int64_t y = std::max<std::int64_t>(y0 - 1, 0); y <= y1; ++y) {
    if (y < a.ny) {
      load_pixels(a.x + (image * a.ny + y) * a.nx * a.pixel, a.pixel, a.channels, group, 0, a.nx, row, ReluPixel<T>{});
      T* const to = ring.slot(y);
      sum_of_terms_row(&term, 1, a.nx, 0, a.nx, products, RowWork<T>{},
                       [&](std::int64_t at, Vec<T> value) { store(to + at, value); });
      clear_behind(to, a.nx, products);
    }
    if (y - 1 < y0) continue;
    const T* const rows[3] = {ring.row(y - 2), ring.row(y - 1), ring.row(y)};
    const std::int64_t first = (image * a.ny + y - 1) * a.nx;
    sum_taps(rows, group, a.outputs, 0, a.nx, a.residual ? a.residual + first * a.residual_pixel : nullptr,
             a.residual_pixel, a.out + first * a.out_pixel, a.out_pixel);
  }
}

}  // namespace

template <Simd L, class T>
void relu_conv_cpu(const ReluConvArgs<T>& a, const Workspace& work) {
  const auto rows = [&](const Layout<T>& layout, std::int64_t image, std::int64_t y0, std::int64_t y1) {
    convolve_rows(a, layout, image, y0, y1);
  };
  parallel_rows<Layout<T>>(a, work, rows, [&](const Layout<T>& layout) {
    pack_taps(a.weight, a.outputs, 9 * a.channels, a.channels, layout.weight);
  });
}

template <Simd L, class T>
std::int64_t relu_conv_scratch_bytes(const ReluConvArgs<T>& a, int threads) {
  return threads * Layout<T>(a, nullptr).bytes;
}

CSMRI_INSTANTIATE_CPU(relu_conv, ReluConvArgs)

}  // namespace csmri

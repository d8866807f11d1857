// CPU forward kernel. Three rows of a = gelu(U x), all hidden channels of them, stay in the L2 cache (480 KiB at 320
// pixels and 128 hidden channels); a segment of h = gelu(D a) stays in the L1 cache until V has summed it in registers.
// x is read and y is written once. Bound by arithmetic: per pixel and hidden channel 2 multiply-adds for each channel,
// 9, and two gelu of about 20 instructions per register.
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "core/layouts.hpp"
#include "hsab/gelu.hpp"
#include "hsab/hsab_feed_forward.hpp"
#include "rows/separable_rows.hpp"

namespace csmri {
namespace {

constexpr std::int64_t kSegmentBytes = std::int64_t{20} << 10;  // of filtered pixels

template <class T>
std::int64_t segment_pixels(std::int64_t hidden) {
  const std::int64_t tile = kTilePixels * groups_of<T>(hidden) * kBlock<T> * std::int64_t{sizeof(T)};
  return std::max<std::int64_t>(kSegmentBytes / tile, 1) * kTilePixels;
}

template <class T>
struct Layout {
  T *x, *ring, *zeros, *filtered, *out;
  T *expand, *depthwise, *contract;
  std::int64_t zero_from, bytes;  // the first bytes start as zeros

  Layout(const HsabFeedForwardArgs<T>& a, void* scratch) {
    ScratchCursor cursor(scratch);
    const std::int64_t hidden_row = row_size<T>(a.nx, a.hidden);
    x = cursor.take<T>(row_size<T>(a.nx, a.channels));
    ring = cursor.take<T>(3 * hidden_row);
    zeros = cursor.take<T>(hidden_row);
    zero_from = cursor.bytes();
    filtered = cursor.take<T>(groups_of<T>(a.hidden) * segment_pixels<T>(a.hidden) * kBlock<T>);
    out = cursor.take<T>(row_size<T>(a.nx, a.channels));
    expand = cursor.take<T>(groups_of<T>(a.hidden) * a.channels * kBlock<T>);
    depthwise = cursor.take<T>(groups_of<T>(a.hidden) * 9 * kBlock<T>);
    contract = cursor.take<T>(groups_of<T>(a.channels) * a.hidden * kBlock<T>);
    bytes = cursor.bytes();
  }
};

template <class T>
void expand_row(const HsabFeedForwardArgs<T>& a, const Layout<T>& l, const T* from, T* to) {
  const std::int64_t group = group_size<T>(a.nx);
  T* const x_row = l.x + kPad * kBlock<T>;
  load_pixels(from, a.channels, a.channels, group, 0, a.nx, x_row, CopyPixel<T>{});
  for (std::int64_t g = 0; g < groups_of<T>(a.hidden); ++g)
    for (std::int64_t x = 0; x < a.nx; x += kTilePixels) {  // behind nx: gelu(0) = 0
      TileSums<T> sums;
      clear<T>(sums);
      add_all_products<T>(sums, x_row + x * kBlock<T>, group, a.channels, l.expand + g * a.channels * kBlock<T>);
      T* const tile = to + g * group + x * kBlock<T>;
#pragma GCC unroll 10
      for (int i = 0; i < kTilePixels; ++i) {
        store(tile + i * kBlock<T>, sums[i][0]);
        store(tile + i * kBlock<T> + kLanes<T>, sums[i][1]);
      }
      gelu_in_place(tile, kTilePixels * kBlock<T>);
    }
}

template <class T>
void contract_row(const HsabFeedForwardArgs<T>& a, const Layout<T>& l, const T* const* rows, T* to) {
  const std::int64_t group = group_size<T>(a.nx), segment = segment_pixels<T>(a.hidden);
  T* const row = l.out + kPad * kBlock<T>;
  for (std::int64_t first = 0; first < a.nx; first += segment) {
    const std::int64_t last = std::min(first + segment, a.nx);
    for (std::int64_t g = 0; g < groups_of<T>(a.hidden); ++g)
      for (std::int64_t x = first; x < last; x += kTilePixels) {
        const std::int64_t at = g * group + x * kBlock<T>;
        T* const tile = l.filtered + (g * segment + x - first) * kBlock<T>;
        filter_tile<1>(rows[0] + at, rows[1] + at, rows[2] + at, l.depthwise + g * 9 * kBlock<T>, tile,
                       [](Vec<T> v, std::int64_t) { return v; });
        gelu_in_place(tile, kTilePixels * kBlock<T>);
      }
    for (std::int64_t g = 0; g < groups_of<T>(a.channels); ++g)
      for (std::int64_t x = first; x < last; x += kTilePixels) {
        TileSums<T> sums;
        clear<T>(sums);
        add_all_products<T>(sums, l.filtered + (x - first) * kBlock<T>, segment * kBlock<T>, a.hidden,
                            l.contract + g * a.hidden * kBlock<T>);
        T* const tile = row + g * group + x * kBlock<T>;
#pragma GCC unroll 10
        for (int i = 0; i < kTilePixels; ++i) {
          store(tile + i * kBlock<T>, sums[i][0]);
          store(tile + i * kBlock<T> + kLanes<T>, sums[i][1]);
        }
      }
    store_pixels<false>(row, group, a.channels, first, last, to, a.channels,
                        [](Vec<T> v, std::int64_t, std::int64_t, int) { return v; });
  }
}

// Rows [y0, y1) of one image.
template <class T>
void forward_rows(const HsabFeedForwardArgs<T>& a, const Layout<T>& l, std::int64_t image, std::int64_t y0,
                  std::int64_t y1) {
  const RowRing<T> ring{l.ring, l.zeros, a.ny, 3, row_size<T>(a.nx, a.hidden)};
  for (std::int64_t y = y0 - 1; y <= y1; ++y) {
    if (y >= 0 && y < a.ny) expand_row(a, l, a.x + (image * a.ny + y) * a.nx * a.channels, ring.slot(y));
    if (y - 1 < y0) continue;
    const T* const rows[3] = {ring.row(y - 2), ring.row(y - 1), ring.row(y)};
    contract_row(a, l, rows, a.out + (image * a.ny + y - 1) * a.nx * a.channels);
  }
}

}  // namespace

template <Simd L, class T>
void hsab_feed_forward_cpu(const HsabFeedForwardArgs<T>& a, const Workspace& work) {
  const auto rows = [&](const Layout<T>& layout, std::int64_t image, std::int64_t y0, std::int64_t y1) {
    forward_rows(a, layout, image, y0, y1);
  };
  parallel_rows<Layout<T>>(a, work, rows, [&](const Layout<T>& layout) {
    pack_pointwise(a.expand, a.hidden, a.channels, a.channels, 1, layout.expand);
    pack_depthwise(a.depthwise, a.hidden, 9, false, layout.depthwise);
    pack_pointwise(a.contract, a.channels, a.hidden, a.hidden, 1, layout.contract);
  });
}

template <Simd L, class T>
std::int64_t hsab_feed_forward_scratch_bytes(const HsabFeedForwardArgs<T>& a, int threads) {
  return threads * Layout<T>(a, nullptr).bytes;
}

CSMRI_INSTANTIATE_CPU(hsab_feed_forward, HsabFeedForwardArgs)

}  // namespace csmri

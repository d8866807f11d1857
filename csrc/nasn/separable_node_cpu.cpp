// CPU forward kernel. Rows go once from memory into rings of padded rows, relu applied; terms that read the same input
// share a ring. The rings of one thread fit the L2 cache up to about 1000 pixels and two inputs. Bound by arithmetic
// (1312 multiply-adds per pixel of an operation of 32 channels), with the next rows fetched and copied meanwhile and
// results written from registers.
#include <algorithm>
#include <cstdint>

#include "core/fetch.hpp"
#include "core/instantiate.hpp"
#include "core/layouts.hpp"
#include "nasn/separable_node.hpp"
#include "rows/separable_rows.hpp"

namespace csmri {
namespace {

// Which terms read the same rows: source[i] is the first of those of term i, whose ring serves all of them.
template <class T>
struct Sharing {
  int source[kMaxTerms];
  int radius[kMaxTerms];  // of a source: the largest of its terms

  explicit Sharing(const SeparableNodeArgs<T>& a) {
    for (int i = 0; i < a.n_terms; ++i) {
      const NodeTerm<T>& t = a.term[i];
      source[i] = i, radius[i] = radius_of(t.operation);
      for (int j = 0; j < i; ++j) {
        const NodeTerm<T>& s = a.term[j];
        if (source[j] != j || s.x != t.x || s.pixel != t.pixel || s.channels != t.channels ||
            (s.operation == Separable::skip) != (t.operation == Separable::skip))
          continue;
        source[i] = j, radius[j] = std::max(radius[j], radius[i]);
        break;
      }
    }
  }
};

template <class T>
struct Layout {
  Sharing<T> sharing;
  T* rings[kMaxTerms];
  T *zeros, *filtered, *column;
  T *first[kMaxTerms], *second[kMaxTerms];
  std::int64_t zero_from;  // elements of rings, zeros and column rows, which start as zeros
  std::int64_t bytes;

  Layout(const SeparableNodeArgs<T>& a, void* scratch) : sharing(a) {
    ScratchCursor cursor(scratch);
    std::int64_t widest = a.outputs, n_filtered = 0;
    bool columns = false;
    for (int i = 0; i < a.n_terms; ++i) {
      const NodeTerm<T>& t = a.term[i];
      widest = std::max(widest, t.channels);
      n_filtered += filtered_size<T>(t.channels);
      columns = columns || t.operation == Separable::column_row;
      if (sharing.source[i] == i) rings[i] = cursor.take<T>(rows(i) * row_size<T>(a.nx, t.channels));
    }
    zeros = cursor.take<T>(row_size<T>(a.nx, widest));
    column = cursor.take<T>(columns ? a.n_terms * row_size<T>(a.nx, a.outputs) : 0);
    zero_from = cursor.bytes();
    filtered = cursor.take<T>(n_filtered);
    for (int i = 0; i < a.n_terms; ++i) {
      const NodeTerm<T>& t = a.term[i];
      first[i] = cursor.take<T>(packed_first_size<T>(t.operation, t.channels));
      second[i] = cursor.take<T>(packed_second_size<T>(t.operation, t.channels, a.outputs));
    }
    bytes = cursor.bytes();
  }

  int rows(int source) const { return 2 * sharing.radius[source] + 2; }  // one more than are read, for the next
};

template <class T>
void pack_term(const NodeTerm<T>& t, std::int64_t outputs, T* first, T* second) {
  if (packed_first_size<T>(t.operation, t.channels)) pack_depthwise(t.first, t.channels, 9, false, first);
  if (t.operation == Separable::column_row)
    pack_depthwise(t.second, t.channels, 9, false, second);
  else if (t.operation != Separable::skip)
    pack_pointwise(t.second, outputs, t.channels, t.channels, 1, second);
}

// A row of a term's input on its way into the ring, a few pixels at a time.
template <class T>
struct IncomingRow {
  const T* from;  // null: nothing comes, outside the image
  T* to;
  std::int64_t next;  // pixel
  std::int64_t left;  // pixels from `from` to the end of the image

  static constexpr std::int64_t kAhead = 64;  // pixels fetched before they are copied

  IncomingRow() = default;
  IncomingRow(const SeparableNodeArgs<T>& a, const NodeTerm<T>& t, const RowRing<T>& ring, std::int64_t image,
              std::int64_t y)
      : from(nullptr), to(nullptr), next(0), left(0) {
    if (y < 0 || y >= a.ny) return;
    from = t.x + (image * a.ny + y) * a.nx * t.pixel;
    to = ring.slot(y);
    left = (a.ny - y) * a.nx;
  }

  // A product fetches whole pixels that lie side by side; fetch() is for all others.
  static bool comes_with_product(const NodeTerm<T>& t) { return has_pointwise(t.operation) && t.pixel == t.channels; }
  TileAhead<T> fetch_with_product(const NodeTerm<T>& t, std::int64_t x) const {
    return {from ? from + std::min(x + kAhead, left) * t.pixel : nullptr};
  }

  // Inlined, because GCC leaves out calls of a function that does nothing but prefetch.
  inline __attribute__((always_inline)) void fetch(const NodeTerm<T>& t, std::int64_t end) const {
    if (!from) return;
    for (std::int64_t x = std::min(next + kAhead, left); x < std::min(end + kAhead, left); ++x)
      for (std::int64_t c = 0; c < t.channels; c += 64 / std::int64_t{sizeof(T)}) fetch_line(from + x * t.pixel + c);
  }

  void copy(const SeparableNodeArgs<T>& a, const NodeTerm<T>& t, std::int64_t end) {
    if (!from) return;
    const std::int64_t group = group_size<T>(a.nx);
    if (t.operation == Separable::skip)
      load_pixels(from, t.pixel, t.channels, group, next, end, to, CopyPixel<T>{});
    else
      load_pixels(from, t.pixel, t.channels, group, next, end, to, ReluPixel<T>{});
    next = end;
  }
};

// Rows of the inputs come into their rings while the row before is computed, copied some pixels after each register
// tile. They are fetched from memory during the first product that reads them, line by line; inputs of no product in
// one go before they are copied.
template <class T>
struct IncomingRows {
  const SeparableNodeArgs<T>& a;
  const Layout<T>& l;
  IncomingRow<T> row[kMaxTerms];
  int source[kMaxTerms], n_sources = 0;
  std::int64_t pauses;          // calls of after_tile() for a tile of pixels
  std::int64_t copied, paused;  // pixels of this row, and what is left of kTilePixels for each call

  TileAhead<T> ahead(int term, std::int64_t x, std::int64_t out_group) const {
    const NodeTerm<T>& t = a.term[term];
    const bool fetches = l.sharing.source[term] == term && out_group == 0 && IncomingRow<T>::comes_with_product(t);
    return fetches ? row[term].fetch_with_product(t, x) : TileAhead<T>{nullptr};
  }
  void after_tile() {
    for (paused += kTilePixels; paused >= pauses; paused -= pauses) ++copied;
    advance(std::min(copied, a.nx));
  }
  void advance(std::int64_t end) {
    for (int s = 0; s < n_sources; ++s) {
      const NodeTerm<T>& t = a.term[source[s]];
      if (!IncomingRow<T>::comes_with_product(t)) row[source[s]].fetch(t, end);
      row[source[s]].copy(a, t, end);
    }
  }
};

// A row of the output, written tile by tile.
template <class T>
struct OutgoingRow {
  T* to;
  std::int64_t nx, outputs, pixel;
  bool may_stream;  // past the caches

  inline __attribute__((always_inline)) void operator()(std::int64_t x, std::int64_t g, const TileSums<T>& sums) const {
    T* const p = to + x * pixel + g * kBlock<T>;
    const std::int64_t n = std::min<std::int64_t>(nx - x, kTilePixels), channels = outputs - g * kBlock<T>;
    if (n == kTilePixels && channels >= kBlock<T>)
      return may_stream ? write_all<true>(sums, p) : write_all<false>(sums, p);
    T tile[kTilePixels * kBlock<T>];
#pragma GCC unroll 10
    for (int i = 0; i < kTilePixels; ++i) {
      store(tile + i * kBlock<T>, sums[i][0]);
      store(tile + i * kBlock<T> + kLanes<T>, sums[i][1]);
    }
    write_part(tile, n, std::min<std::int64_t>(channels, kBlock<T>), p);
  }

  template <bool kStream>
  inline __attribute__((always_inline)) void write_all(const TileSums<T>& sums, T* p) const {
    const auto write = [](T* at, Vec<T> value) { kStream ? stream(at, value) : store(at, value); };
#pragma GCC unroll 10
    for (int i = 0; i < kTilePixels; ++i) {
      write(p + i * pixel, sums[i][0]);
      write(p + i * pixel + kLanes<T>, sums[i][1]);
    }
  }

  __attribute__((noinline)) void write_part(const T* tile, std::int64_t n, std::int64_t channels, T* p) const {
    const auto same = [](Vec<T> v, std::int64_t, std::int64_t, int) { return v; };
    if (may_stream)
      store_pixels<true>(tile, 0, channels, 0, n, p, pixel, same);
    else
      store_pixels<false>(tile, 0, channels, 0, n, p, pixel, same);
  }
};

template <class T>
void forward_rows(const SeparableNodeArgs<T>& a, const Layout<T>& l, std::int64_t image, std::int64_t y0,
                  std::int64_t y1) {
  RowRing<T> ring[kMaxTerms];
  RowTerm<T> term[kMaxTerms];
  IncomingRows<T> incoming{a, l, {}, {}, 0, 0, 0, 0};
  for (int i = 0; i < a.n_terms; ++i) {
    const NodeTerm<T>& t = a.term[i];
    term[i] = {t.operation, t.channels, {}, l.first[i], t.operation == Separable::skip ? t.second : l.second[i]};
    if (l.sharing.source[i] != i) continue;
    incoming.source[incoming.n_sources++] = i;
    const int radius = l.sharing.radius[i];
    ring[i] = {l.rings[i], l.zeros, a.ny, l.rows(i), row_size<T>(a.nx, t.channels)};
    for (std::int64_t y = y0 - radius; y <= y0 + radius; ++y) {
      IncomingRow<T> first(a, t, ring[i], image, y);
      for (std::int64_t x = 0; x < a.nx; x += kTilePixels) {
        const std::int64_t end = std::min(x + kTilePixels, a.nx);
        first.fetch(t, end);
        first.copy(a, t, end);
      }
    }
  }
  incoming.pauses = pauses_per_tile(term, a.n_terms, a.outputs);
  const RowWork<T> work = {l.filtered, l.column + kPad * kBlock<T>};
  const bool may_stream = a.outputs % kLanes<T> == 0 && a.out_pixel % kLanes<T> == 0 &&
                          reinterpret_cast<std::uintptr_t>(a.out) % kVecBytes == 0 &&
                          a.batch * a.ny * a.nx * a.out_pixel * std::int64_t{sizeof(T)} >= (std::int64_t{4} << 20);
  for (std::int64_t y = y0; y < y1; ++y) {
    for (int i = 0; i < a.n_terms; ++i) {
      const int radius = radius_of(a.term[i].operation);
      const int source = l.sharing.source[i];
      for (int k = 0; k <= 2 * radius; ++k) term[i].rows[k] = ring[source].row(y - radius + k);
      if (source == i)
        incoming.row[i] = {a, a.term[i], ring[i], image, y + 1 < y1 ? y + 1 + l.sharing.radius[i] : a.ny};
    }
    incoming.copied = incoming.paused = 0;
    const OutgoingRow<T> out = {a.out + (image * a.ny + y) * a.nx * a.out_pixel, a.nx, a.outputs, a.out_pixel,
                                may_stream};
    for (std::int64_t x = 0; x < a.nx; x += kSegmentPixels)
      sum_of_terms_tiles(term, a.n_terms, a.nx, x, std::min<std::int64_t>(x + kSegmentPixels, a.nx), a.outputs, work,
                         out, incoming);
    incoming.advance(a.nx);
  }
}

}  // namespace

template <Simd L, class T>
void separable_node_cpu(const SeparableNodeArgs<T>& a, const Workspace& work) {
  const auto rows = [&](const Layout<T>& layout, std::int64_t image, std::int64_t y0, std::int64_t y1) {
    forward_rows(a, layout, image, y0, y1);
    stream_fence();
  };
  parallel_rows<Layout<T>>(a, work, rows, [&](const Layout<T>& layout) {
    for (int i = 0; i < a.n_terms; ++i) pack_term(a.term[i], a.outputs, layout.first[i], layout.second[i]);
  });
}

template <Simd L, class T>
std::int64_t separable_node_scratch_bytes(const SeparableNodeArgs<T>& a, int threads) {
  return threads * Layout<T>(a, nullptr).bytes;
}

CSMRI_INSTANTIATE_CPU(separable_node, SeparableNodeArgs)

}  // namespace csmri

// CPU forward kernel. Rows go once from memory into rings of padded rows, relu applied; terms that read the same input
// share a ring. The rings of one thread fit the L2 cache up to about 1000 pixels and two inputs. Bound by arithmetic
// (1312 multiply-adds per pixel of an operation of 32 channels), with the next rows fetched and copied meanwhile.
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
  T *zeros, *out, *filtered, *column;
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
    out = cursor.take<T>(row_size<T>(a.nx, a.outputs));
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

  void copy(const SeparableNodeArgs<T>& a, const NodeTerm<T>& t, std::int64_t n) {
    if (!from) return;
    const std::int64_t end = std::min(next + n, a.nx), group = group_size<T>(a.nx);
    const char* const ahead = reinterpret_cast<const char*>(from + std::min(next + kAhead, left) * t.pixel);
    const char* const ahead_end = reinterpret_cast<const char*>(from + std::min(end + kAhead, left) * t.pixel);
    for (const char* line = ahead; line < ahead_end; line += 64) fetch_line(line);
    if (t.operation == Separable::skip)
      load_pixels(from, t.pixel, t.channels, group, next, end, to, CopyPixel<T>{});
    else
      load_pixels(from, t.pixel, t.channels, group, next, end, to, ReluPixel<T>{});
    next = end;
  }
};

// Rows of the inputs come into their rings while the row before is computed, some pixels after each register tile: the
// processor has room for them beside its multiply-adds, and none of them waits long for memory.
template <class T>
void forward_rows(const SeparableNodeArgs<T>& a, const Layout<T>& l, std::int64_t image, std::int64_t y0,
                  std::int64_t y1) {
  RowRing<T> ring[kMaxTerms];
  RowTerm<T> term[kMaxTerms];
  IncomingRow<T> incoming[kMaxTerms];
  int sources[kMaxTerms], n_sources = 0;
  const std::int64_t group = group_size<T>(a.nx);
  for (int i = 0; i < a.n_terms; ++i) {
    const NodeTerm<T>& t = a.term[i];
    term[i] = {t.operation, t.channels, {}, l.first[i], t.operation == Separable::skip ? t.second : l.second[i]};
    if (l.sharing.source[i] != i) continue;
    sources[n_sources++] = i;
    const int radius = l.sharing.radius[i];
    ring[i] = {l.rings[i], l.zeros, a.ny, l.rows(i), row_size<T>(a.nx, t.channels)};
    for (std::int64_t y = y0 - radius; y <= y0 + radius; ++y) IncomingRow<T>(a, t, ring[i], image, y).copy(a, t, a.nx);
  }
  T* const row = l.out + kPad * kBlock<T>;
  const RowWork<T> work = {l.filtered, l.column + kPad * kBlock<T>};
  const bool may_stream = a.outputs % kLanes<T> == 0 && a.out_pixel % kLanes<T> == 0 &&
                          reinterpret_cast<std::uintptr_t>(a.out) % kVecBytes == 0 &&
                          a.batch * a.ny * a.nx * a.out_pixel * std::int64_t{sizeof(T)} >= (std::int64_t{4} << 20);
  const std::int64_t pauses = pauses_per_tile(term, a.n_terms, a.outputs), step = (kTilePixels + pauses - 1) / pauses;
  const auto copy = [&](std::int64_t n) {
    for (int s = 0; s < n_sources; ++s) incoming[sources[s]].copy(a, a.term[sources[s]], n);
  };
  for (std::int64_t y = y0; y < y1; ++y) {
    for (int i = 0; i < a.n_terms; ++i) {
      const int radius = radius_of(a.term[i].operation);
      const int source = l.sharing.source[i];
      for (int k = 0; k <= 2 * radius; ++k) term[i].rows[k] = ring[source].row(y - radius + k);
      if (source == i) incoming[i] = {a, a.term[i], ring[i], image, y + 1 < y1 ? y + 1 + l.sharing.radius[i] : a.ny};
    }
    T* const to = a.out + (image * a.ny + y) * a.nx * a.out_pixel;
    for (std::int64_t x = 0; x < a.nx; x += kSegmentPixels) {
      const std::int64_t end = std::min<std::int64_t>(x + kSegmentPixels, a.nx);
      sum_of_terms_row(
          term, a.n_terms, a.nx, x, end, a.outputs, work,
          [&](std::int64_t at, Vec<T> value) { store(row + at, value); }, [&] { copy(step); });
      const auto same = [](Vec<T> v, std::int64_t, std::int64_t, int) { return v; };
      if (may_stream)
        store_pixels<true>(row, group, a.outputs, x, end, to, a.out_pixel, same);
      else
        store_pixels<false>(row, group, a.outputs, x, end, to, a.out_pixel, same);
    }
    copy(a.nx);
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

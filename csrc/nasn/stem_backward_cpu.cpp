// CPU kernel of the stem's backward pass, in one pass over the image: rings keep five rows of the image and of G. Both
// products run at full registers of channels: C broadcasts image values, of which the shifts along a row lie side by
// side; d image sums over channels within registers. Bound by arithmetic (3200 multiply-adds per pixel for 2 and 32
// channels).
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "core/layouts.hpp"
#include "nasn/composite_stem.hpp"
#include "nasn/separable_node.hpp"
#include "nasn/stem_backward.hpp"
#include "rows/pixel_tiles.hpp"

namespace csmri {
namespace {

constexpr int kTogether = kSimd == Simd::avx512 ? 10 : 5;  // values of the image: 20 or 10 accumulators
constexpr std::int64_t kShortSum = 64;                     // pixels: short sums first, for less rounding

template <class T>
std::int64_t n_bands(const StemBackwardArgs<T>& a) {
  return (a.ny + kBandRows - 1) / kBandRows;
}
// Values of a row of taps, those of all channels side by side.
template <class T>
std::int64_t values_of(const StemBackwardArgs<T>& a) {
  return round_up_to(5 * a.in_channels, kTogether);
}
// C of one case: (groups of channels, 5 rows of taps, values, kBlock).
template <class T>
std::int64_t case_size(const StemBackwardArgs<T>& a) {
  return groups_of<T>(a.channels) * 5 * values_of(a) * kBlock<T>;
}
template <class T>
std::int64_t dense_size(const StemBackwardArgs<T>& a) {  // a row of the image with two pixels around
  return (a.nx + 4) * a.in_channels + kTogether;
}

template <class T>
struct Layout {
  T *images, *no_image, *grads, *no_grad;
  std::int64_t zero_from;
  T* result;
  std::int64_t bytes;

  Layout(const StemBackwardArgs<T>& a, void* scratch) {
    ScratchCursor cursor(scratch);
    images = cursor.take<T>(5 * dense_size(a));
    no_image = cursor.take<T>(dense_size(a));
    grads = cursor.take<T>(5 * row_size<T>(a.nx, a.channels));
    no_grad = cursor.take<T>(row_size<T>(a.nx, a.channels));
    zero_from = cursor.bytes();
    result = cursor.take<T>(a.nx * a.in_channels);
    bytes = cursor.bytes();
  }
};

// What all threads share: the kernels of all cases, and at the end the sums.
template <class T>
struct Shared {
  T* packed;
  double *parts, *sums, *allowed, *first, *second;
  std::int64_t bytes;

  Shared(const StemBackwardArgs<T>& a, void* scratch) {
    ScratchCursor cursor(scratch);
    const std::int64_t taps = 9 * a.channels * a.channels;
    packed = cursor.take<T>(a.grad_image ? kStemCases * stem_case_size<T>(a.in_channels, a.channels) : 0);
    parts = cursor.take<double>(a.grad_image ? stem_parts(a.in_channels, a.channels) : 0);
    sums = cursor.take<double>(a.grad_second ? kStemCases * 25 * a.in_channels * a.channels : 0);
    allowed = cursor.take<double>(a.grad_second ? 81 * a.in_channels * a.channels : 0);
    first = cursor.take<double>(a.grad_second ? taps : 0);
    second = cursor.take<double>(a.grad_second ? taps : 0);
    bytes = cursor.bytes();
  }
};

// sums[j][o] += sum over n pixels of row[x in_channels + j] g[x][o], j < kTogether; sums: (kTogether, kBlock).
template <class T>
__attribute__((noinline)) void add_shifted_products(const T* row, std::int64_t in_channels, const T* g, std::int64_t n,
                                                    T* sums) {
  Vec<T> total[kTogether][2];
#pragma GCC unroll 10
  for (int j = 0; j < kTogether; ++j) total[j][0] = total[j][1] = Vec<T>{};
  for (std::int64_t x = 0; x < n; ++x, row += in_channels, g += kBlock<T>) {
    const Vec<T> g0 = load(g), g1 = load(g + kLanes<T>);
#pragma GCC unroll 10
    for (int j = 0; j < kTogether; ++j) {
      const Vec<T> value = broadcast(row[j]);
      total[j][0] += value * g0;
      total[j][1] += value * g1;
    }
  }
#pragma GCC unroll 10
  for (int j = 0; j < kTogether; ++j) {
    T* const to = sums + j * kBlock<T>;
    store(to, load(to) + total[j][0]);
    store(to + kLanes<T>, load(to + kLanes<T>) + total[j][1]);
  }
}

// sums[x][i] += w[i][o] g[x][o] for the two channels i of one tap, lane by lane; w: (2, kBlock), `step` apart.
template <class T>
inline __attribute__((always_inline)) void add_tap(TileSums<T>& sums, const T* g, const T* w, std::int64_t step) {
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const Vec<T> w0 = load(w + v * kLanes<T>), w1 = load(w + step + v * kLanes<T>);
#pragma GCC unroll 10
    for (int x = 0; x < kTilePixels; ++x) {
      const Vec<T> value = load(g + x * kBlock<T> + v * kLanes<T>);
      sums[x][0] += value * w0;
      sums[x][1] += value * w1;
    }
  }
}

template <class T>
class Rows {
 public:
  Rows(const StemBackwardArgs<T>& a, const Layout<T>& l, const Shared<T>& s, T* partials, std::int64_t image)
      : a_(a),
        l_(l),
        s_(s),
        partials_(partials),
        image_(image),
        groups_(groups_of<T>(a.channels)),
        group_(group_size<T>(a.nx)),
        grads_{l.grads, l.no_grad, a.ny, 5, row_size<T>(a.nx, a.channels)} {}

  void run(std::int64_t y0, std::int64_t y1) {
    for (std::int64_t y = y0 - 2; y < y0 + 2; ++y) load_row(y);
    for (std::int64_t y = y0; y < y1; ++y) {
      load_row(y + 2);
      if (a_.grad_second) correlate(y);
      if (a_.grad_image) grad_image_row(y);
    }
  }

 private:
  const T* at(const T* tensor, std::int64_t pixel, std::int64_t y) const {
    return tensor + (image_ * a_.ny + y) * a_.nx * pixel;
  }
  const T* image_row(std::int64_t y) const {
    return y < 0 || y >= a_.ny ? l_.no_image : l_.images + y % 5 * dense_size(a_);
  }

  void load_row(std::int64_t y) {
    if (y < 0 || y >= a_.ny) return;
    const T* const from = at(a_.image, a_.pixel, y);
    T* const to = l_.images + y % 5 * dense_size(a_) + 2 * a_.in_channels;
    for (std::int64_t x = 0; x < a_.nx; ++x) std::copy_n(from + x * a_.pixel, a_.in_channels, to + x * a_.in_channels);
    load_pixels(at(a_.grad, a_.grad_pixel, y), a_.grad_pixel, a_.channels, group_, 0, a_.nx, grads_.slot(y),
                CopyPixel<T>{});
  }

  void correlate(std::int64_t y) {
    T* const of_band = partials_ + (image_ * n_bands(a_) + y / kBandRows) * kStemCases * case_size(a_);
    T* const of_row = of_band + border_case(y, a_.ny) * 4 * case_size(a_);
    correlate_pixels(y, 0, 1, of_row + border_case(0, a_.nx) * case_size(a_));
    for (std::int64_t x = 1; x < a_.nx - 1; x += kShortSum)
      correlate_pixels(y, x, std::min(x + kShortSum, a_.nx - 1), of_row);
    if (a_.nx > 1) correlate_pixels(y, a_.nx - 1, a_.nx, of_row + border_case(a_.nx - 1, a_.nx) * case_size(a_));
  }

  void correlate_pixels(std::int64_t y, std::int64_t x0, std::int64_t x1, T* sums) {
    for (std::int64_t g = 0; g < groups_; ++g)
      for (int ky = 0; ky < 5; ++ky)
        for (std::int64_t j = 0; j < values_of(a_); j += kTogether, sums += kTogether * kBlock<T>)
          add_shifted_products(image_row(y + ky - 2) + x0 * a_.in_channels + j, a_.in_channels,
                               grads_.row(y) + g * group_ + x0 * kBlock<T>, x1 - x0, sums);
  }

  void grad_image_row(std::int64_t y) {
    for (std::int64_t i = 0; i < a_.in_channels; i += 2)
      for (std::int64_t x = 0; x < a_.nx; x += kTilePixels) gradient_tile(y, x, i);
    for (int k = 0; k < 5; ++k) correct_border(y, k);
    const T* const residual = at(a_.residual, a_.residual_pixel, y);
    T* const to = a_.grad_image + (image_ * a_.ny + y) * a_.nx * a_.grad_image_pixel;
    for (std::int64_t x = 0; x < a_.nx; ++x)
      for (std::int64_t i = 0; i < a_.in_channels; ++i)
        to[x * a_.grad_image_pixel + i] = residual[x * a_.residual_pixel + i] + l_.result[x * a_.in_channels + i];
  }

  // Channels i and i + 1 of a tile, as if no pixel were at a border.
  void gradient_tile(std::int64_t y, std::int64_t x, std::int64_t i) {
    const bool both = i + 1 < a_.in_channels;
    TileSums<T> sums;
    clear<T>(sums);
    for (std::int64_t g = 0; g < groups_; ++g)
      for (int k = 0; k < 25; ++k)
        add_tap<T>(sums, grads_.row(y + 2 - k / 5) + g * group_ + (x + 2 - k % 5) * kBlock<T>,
                   s_.packed + ((g * 25 + k) * a_.in_channels + i) * kBlock<T>, both ? kBlock<T> : 0);
    for (std::int64_t p = 0; p < std::min<std::int64_t>(kTilePixels, a_.nx - x); ++p)
      for (int j = 0; j < (both ? 2 : 1); ++j) l_.result[(x + p) * a_.in_channels + i + j] = sum<T>(sums[p][j]);
  }

  // What pixels at a border give to row y by taps of row k, less what the kernel of no border has given.
  void correct_border(std::int64_t y, int k) {
    const std::int64_t from = y + 2 - k;
    if (from < 0 || from >= a_.ny) return;
    const int of_row = 4 * border_case(from, a_.ny);
    const std::int64_t step = of_row ? 1 : std::max<std::int64_t>(a_.nx - 1, 1);
    for (std::int64_t p = 0; p < a_.nx; p += step)
      for (std::int64_t x = std::max<std::int64_t>(p - 2, 0); x <= std::min(p + 2, a_.nx - 1); ++x)
        for (std::int64_t i = 0; i < a_.in_channels; ++i)
          l_.result[x * a_.in_channels + i] +=
              correction(of_row + border_case(p, a_.nx), grads_.row(from) + p * kBlock<T>, k * 5 + x - p + 2, i);
  }

  T correction(int which, const T* grad, std::int64_t k, std::int64_t i) const {
    Vec<T> total{};
    for (std::int64_t g = 0; g < groups_; ++g)
      for (int v = 0; v < 2; ++v) {
        const T* const w = s_.packed + ((g * 25 + k) * a_.in_channels + i) * kBlock<T> + v * kLanes<T>;
        total += (load(w + which * stem_case_size<T>(a_.in_channels, a_.channels)) - load(w)) *
                 load(grad + g * group_ + v * kLanes<T>);
      }
    return sum<T>(total);
  }

  const StemBackwardArgs<T>& a_;
  const Layout<T>& l_;
  const Shared<T>& s_;
  T* const partials_;
  const std::int64_t image_, groups_, group_;
  const RowRing<T> grads_;
};

// The sums of all bands of all images, in order: (cases, 25, in_channels, channels).
template <class T>
void reduce_partials(const StemBackwardArgs<T>& a, const T* partials, double* sums) {
  const std::int64_t n = a.batch * n_bands(a), channels = a.channels, values = values_of(a);
  std::fill_n(sums, kStemCases * 25 * a.in_channels * channels, 0.0);
  for (std::int64_t band = 0; band < n; ++band) {
    double* to = sums;
    for (int which = 0; which < kStemCases; ++which, partials += case_size(a))
      for (std::int64_t k = 0; k < 5; ++k)
        for (std::int64_t j = 0; j < 5 * a.in_channels; ++j, to += channels)
          for (std::int64_t o = 0; o < channels; ++o)
            to[o] += static_cast<double>(partials[((o / kBlock<T> * 5 + k) * values + j) * kBlock<T> + o % kBlock<T>]);
  }
}

template <class T>
void weight_gradients(const StemBackwardArgs<T>& a, const Shared<T>& s) {
  const std::int64_t channels = a.channels, inputs = a.in_channels, of_case = 25 * inputs * channels;
  const auto excluded = [](int which, int tap) { return (which & 1 && tap == 0) || (which & 2 && tap == 2); };
  // allowed[tap][i][j][o]: C_{tap + j} of the pixels whose tap lies inside
  std::fill_n(s.allowed, 81 * inputs * channels, 0.0);
  double* to = s.allowed;
  for (int tap = 0; tap < 9; ++tap)
    for (std::int64_t i = 0; i < inputs; ++i)
      for (int j = 0; j < 9; ++j, to += channels)
        for (int which = 0; which < kStemCases; ++which) {
          if (excluded(which / 4, tap / 3) || excluded(which % 4, tap % 3)) continue;
          const std::int64_t k = (tap / 3 + j / 3) * 5 + tap % 3 + j % 3;
          const double* const from = s.sums + which * of_case + (k * inputs + i) * channels;
          for (std::int64_t o = 0; o < channels; ++o) to[o] += from[o];
        }
  // first and second: (channels between, ...), and (taps, channels between, channels), channels side by side
  const std::int64_t n = inputs * 9;
  std::fill_n(s.first, channels * n, 0.0);
  for (int tap = 0; tap < 9; ++tap)
    for (std::int64_t m = 0; m < channels; ++m) {
      double* const row = s.second + m * channels;
      for (std::int64_t o = 0; o < channels; ++o) row[o] = static_cast<double>(a.second[(o * channels + m) * 9 + tap]);
      for (std::int64_t j = 0; j < n; ++j) {
        const double* const c = s.allowed + (tap * n + j) * channels;
        double total = 0;
        for (std::int64_t o = 0; o < channels; ++o) total += row[o] * c[o];
        s.first[m * n + j] += total;
      }
      std::fill_n(row, channels, 0.0);
      for (std::int64_t j = 0; j < n; ++j) {
        const double w = static_cast<double>(a.first[m * n + j]);
        const double* const c = s.allowed + (tap * n + j) * channels;
        for (std::int64_t o = 0; o < channels; ++o) row[o] += w * c[o];
      }
      for (std::int64_t o = 0; o < channels; ++o) a.grad_second[(o * channels + m) * 9 + tap] = static_cast<T>(row[o]);
    }
  for (std::int64_t i = 0; i < channels * n; ++i) a.grad_first[i] = static_cast<T>(s.first[i]);
}

template <class T>
std::int64_t n_partials(const StemBackwardArgs<T>& a) {
  return a.grad_second ? a.batch * n_bands(a) * kStemCases * case_size(a) : 0;
}

}  // namespace

template <Simd L, class T>
void stem_backward_cpu(const StemBackwardArgs<T>& a, const Workspace& work) {
  const Shared<T> shared(a, work.scratch);
  const LayoutsAndPartials<Layout<T>, T> call(a, n_partials(a), static_cast<char*>(work.scratch) + shared.bytes,
                                              work.threads);
  if (a.grad_image) pack_stem(a.first, a.second, a.in_channels, a.channels, shared.parts, shared.packed);
  call.run(a, a.batch * n_bands(a), work.threads, [&](const Layout<T>& layout, std::int64_t first, std::int64_t last) {
    for_images(first, last, n_bands(a), [&](std::int64_t image, std::int64_t band0, std::int64_t band1) {
      Rows<T>(a, layout, shared, call.partials(), image).run(band0 * kBandRows, std::min(a.ny, band1 * kBandRows));
    });
  });
  if (!a.grad_second) return;
  reduce_partials(a, call.partials(), shared.sums);
  weight_gradients(a, shared);
}

template <Simd L, class T>
std::int64_t stem_backward_scratch_bytes(const StemBackwardArgs<T>& a, int threads) {
  return Shared<T>(a, nullptr).bytes + LayoutsAndPartials<Layout<T>, T>(a, n_partials(a), nullptr, threads).bytes();
}

CSMRI_INSTANTIATE_CPU(stem_backward, StemBackwardArgs)

}  // namespace csmri

// One row of a sum of NasN operations, from padded rows of their inputs (rows/pixel_rows.hpp).
//
// Depth-wise results of a segment of pixels stay in the L1 cache until the point-wise products of all terms have been
// added in registers: the sum is written once and nothing else is.
#pragma once
#include <cstdint>

#include "rows/pixel_tiles.hpp"
#include "rows/separable.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class T>
struct RowTerm {
  Separable operation;
  std::int64_t channels;
  const T* rows[9];  // y - radius ... y + radius of relu(x), of x for skip; pointers to pixel 0
  const T* first;    // (groups, 9, kBlock) depth-wise
  const T* second;   // (output groups, channels, kBlock) point-wise; (output groups, 9, channels, kBlock) relu_conv;
                     // (groups, 9, kBlock) for column_row; the factor of skip, null for 1
};

template <class T>
struct RowWork {
  T* filtered;  // (terms, groups, kSegmentPixels, kBlock)
  T* column;    // (terms), a padded row each, zeros around: used by column_row only
};
template <class T>
std::int64_t filtered_size(std::int64_t channels) {
  return groups_of<T>(channels) * kSegmentPixels * kBlock<T>;
}

// f(tile) with tile = first pixel, for tiles of kTilePixels that cover [x0, x1); the last one may overlap the one
// before it, so that nothing beyond x1 is touched. x1 - x0 >= kTilePixels.
template <class F>
inline void for_tiles_inside(std::int64_t x0, std::int64_t x1, const F& f) {
  for (std::int64_t x = x0; x < x1; x += kTilePixels) f(std::min(x, x1 - kTilePixels));
}

// relu(column filter of relu(x)), as far as the row filter will look from [x0, x1).
template <class T>
void filter_column(const RowTerm<T>& term, std::int64_t group, std::int64_t x0, std::int64_t x1, T* out) {
  for (std::int64_t g = 0; g < groups_of<T>(term.channels); ++g)
    for_tiles_inside(x0 - kPad, x1 + kPad, [&](std::int64_t x) {
      const std::int64_t at = g * group + x * kBlock<T>;
      filter_tile_9<T>([&](int k) { return term.rows[k] + at; }, term.first + g * 9 * kBlock<T>, out + at,
                       [](Vec<T> v, std::int64_t) { return relu<T>(v); });
    });
}

// The row filter of column_row for one tile and group.
template <class T, class F>
inline void filter_along_row(const T* column, const T* w, T* out, const F& f) {
  filter_tile_9<T>([&](int k) { return column + (k - kPad) * kBlock<T>; }, w, out, f);
}

// f(depth-wise result, offset in out) for one tile and group of a 3x3 term. `at`: offset of the tile in its rows.
template <class T, class F>
inline void filter_3x3(Separable operation, const T* const* rows, std::int64_t at, const T* w, T* out, const F& f) {
  switch (operation) {
    case Separable::dilation1:
      return filter_tile<1>(rows[0] + at, rows[1] + at, rows[2] + at, w, out, f);
    case Separable::dilation2:
      return filter_tile<2>(rows[0] + at, rows[2] + at, rows[4] + at, w, out, f);
    default:
      return filter_tile<3>(rows[0] + at, rows[3] + at, rows[6] + at, w, out, f);
  }
}

// The point-wise product of one tile with one group of outputs. `from`: the tile, `group` elements to its next
// channels.
template <class T, class Ahead>
inline __attribute__((always_inline)) void add_pointwise(const RowTerm<T>& term, TileSums<T>& sums,
                                                         std::int64_t out_group, const T* from, std::int64_t group,
                                                         const Ahead& ahead) {
  const T* const w = term.second + out_group * term.channels * kBlock<T>;
  if (ahead)
    add_all_products<T>(sums, from, group, term.channels, w, ahead);
  else
    add_all_products<T>(sums, from, group, term.channels, w);
}

// One tile of one group of outputs. `filtered` points to the tile within its segment, x is its first pixel. Inlined, or
// the sums would be in memory.
template <class T, class Ahead>
inline __attribute__((always_inline)) void add_term(const RowTerm<T>& term, TileSums<T>& sums, std::int64_t out_group,
                                                    std::int64_t x, std::int64_t group, const T* filtered,
                                                    const T* column, const Ahead& ahead) {
  const std::int64_t at = x * kBlock<T>;
  switch (term.operation) {
    case Separable::skip: {
      const T* p = term.rows[0] + out_group * group + at;
      const T factor = term.second ? *term.second : T(1);
#pragma GCC unroll 10
      for (int i = 0; i < kTilePixels; ++i) {
        sums[i][0] += factor * load(p + i * kBlock<T>);
        sums[i][1] += factor * load(p + i * kBlock<T> + kLanes<T>);
      }
      return;
    }
    case Separable::column_row: {
      T result[kTilePixels * kBlock<T>];
      filter_along_row(column + out_group * group + at, term.second + out_group * 9 * kBlock<T>, result,
                       [](Vec<T> v, std::int64_t) { return v; });
#pragma GCC unroll 10
      for (int i = 0; i < kTilePixels; ++i) {
        sums[i][0] += load(result + i * kBlock<T>);
        sums[i][1] += load(result + i * kBlock<T> + kLanes<T>);
      }
      return;
    }
    case Separable::relu_conv: {
      const T* w = term.second + out_group * 9 * term.channels * kBlock<T>;
      for (int ky = 0; ky < 3; ++ky)
        for (int kx = -1; kx <= 1; ++kx, w += term.channels * kBlock<T>)
          add_all_products<T>(sums, term.rows[ky] + at + kx * kBlock<T>, group, term.channels, w);
      return;
    }
    case Separable::pointwise:
      return add_pointwise(term, sums, out_group, term.rows[0] + at, group, ahead);
    default:
      return add_pointwise(term, sums, out_group, filtered, kSegmentPixels * kBlock<T>, ahead);
  }
}

constexpr bool has_pointwise(Separable operation) {
  return operation == Separable::pointwise || has_depthwise_3x3(operation);
}

// What sum_of_terms_tiles does beside its arithmetic, in its shadow: ahead(term, x, output group) is what is fetched
// while a point-wise product is made (rows/pixel_tiles.hpp), after_tile() a little work after each register tile.
struct NothingMeanwhile {
  NothingAhead ahead(int, std::int64_t, std::int64_t) const { return {}; }
  void after_tile() const {}
};

// How often after_tile() is called for each tile of pixels.
template <class T>
std::int64_t pauses_per_tile(const RowTerm<T>* terms, int n_terms, std::int64_t outputs) {
  std::int64_t n = groups_of<T>(outputs);
  for (int i = 0; i < n_terms; ++i)
    if (has_depthwise_3x3(terms[i].operation)) n += groups_of<T>(terms[i].channels);
  return n;
}

// take(x, g, sums): the sum of all terms, for each tile of pixels that begins in [x0, x1) and each group of outputs.
template <class T, class Take, class Meanwhile>
void sum_of_terms_tiles(const RowTerm<T>* terms, int n_terms, std::int64_t nx, std::int64_t x0, std::int64_t x1,
                        std::int64_t outputs, const RowWork<T>& work, const Take& take, Meanwhile&& meanwhile) {
  const std::int64_t group = group_size<T>(nx), row = row_size<T>(nx, outputs);
  const T* filtered[kMaxTerms];
  for (int i = 0; i < n_terms; ++i) {
    filtered[i] = i == 0 ? work.filtered : filtered[i - 1] + filtered_size<T>(terms[i - 1].channels);
    if (terms[i].operation == Separable::column_row)
      filter_column(terms[i], group, x0, round_up_to(x1 - x0, kTilePixels) + x0, work.column + i * row);
  }
  for (std::int64_t first = x0; first < x1; first += kSegmentPixels) {
    const std::int64_t last = std::min<std::int64_t>(first + kSegmentPixels, x1);
    for (int i = 0; i < n_terms; ++i) {
      if (!has_depthwise_3x3(terms[i].operation)) continue;
      for (std::int64_t g = 0; g < groups_of<T>(terms[i].channels); ++g)
        for (std::int64_t x = first; x < last; x += kTilePixels) {
          filter_3x3<T>(terms[i].operation, terms[i].rows, g * group + x * kBlock<T>,
                        terms[i].first + g * 9 * kBlock<T>,
                        const_cast<T*>(filtered[i]) + (g * kSegmentPixels + x - first) * kBlock<T>,
                        [](Vec<T> v, std::int64_t) { return relu<T>(v); });
          meanwhile.after_tile();
        }
    }
    for (std::int64_t x = first; x < last; x += kTilePixels)
      for (std::int64_t g = 0; g < groups_of<T>(outputs); ++g) {
        TileSums<T> sums;
        clear<T>(sums);
        for (int i = 0; i < n_terms; ++i)
          add_term<T>(terms[i], sums, g, x, group, filtered[i] + (x - first) * kBlock<T>, work.column + i * row,
                      meanwhile.ahead(i, x, g));
        take(x, g, sums);
        meanwhile.after_tile();
      }
  }
}

// emit(offset in a padded row, value): every pixel of [x0, x1), x1 rounded up to whole tiles, and every channel, of the
// sum of all terms.
template <class T, class Emit>
void sum_of_terms_row(const RowTerm<T>* terms, int n_terms, std::int64_t nx, std::int64_t x0, std::int64_t x1,
                      std::int64_t outputs, const RowWork<T>& work, const Emit& emit) {
  const auto take = [&](std::int64_t x, std::int64_t g, const TileSums<T>& sums) __attribute__((always_inline)) {
    const std::int64_t at = g * group_size<T>(nx) + x * kBlock<T>;
#pragma GCC unroll 10
    for (int i = 0; i < kTilePixels; ++i) {
      emit(at + i * kBlock<T>, sums[i][0]);
      emit(at + i * kBlock<T> + kLanes<T>, sums[i][1]);
    }
  };
  sum_of_terms_tiles(terms, n_terms, nx, x0, x1, outputs, work, take, NothingMeanwhile{});
}

// (channels, taps) -> (groups, taps, kBlock), padded with zeros; taps in reverse order if flipped.
template <class T>
void pack_depthwise(const T* w, std::int64_t channels, int taps, bool flipped, T* packed) {
  std::fill_n(packed, groups_of<T>(channels) * taps * kBlock<T>, T(0));
  for (std::int64_t c = 0; c < channels; ++c)
    for (int k = 0; k < taps; ++k)
      packed[(c / kBlock<T> * taps + (flipped ? taps - 1 - k : k)) * kBlock<T> + c % kBlock<T>] = w[c * taps + k];
}
// w(o, c) at w[o * o_stride + c * c_stride] -> (groups of o, channels, kBlock).
template <class T>
void pack_pointwise(const T* w, std::int64_t outputs, std::int64_t o_stride, std::int64_t channels,
                    std::int64_t c_stride, T* packed) {
  std::fill_n(packed, groups_of<T>(outputs) * channels * kBlock<T>, T(0));
  for (std::int64_t o = 0; o < outputs; ++o)
    for (std::int64_t c = 0; c < channels; ++c)
      packed[(o / kBlock<T> * channels + c) * kBlock<T> + o % kBlock<T>] = w[o * o_stride + c * c_stride];
}

// w(o, c, tap) of (outputs, channels, 3, 3) with one row (tap * outputs + o) per output and shift: as the outputs of a
// point-wise product -> (groups of 9 outputs, channels, kBlock), or as its inputs -> (groups, 9 outputs, kBlock).
// o_stride: elements from one output to the next, more than 9 channels where w is a slice.
template <class T>
void pack_taps(const T* w, std::int64_t outputs, std::int64_t o_stride, std::int64_t channels, T* packed) {
  std::fill_n(packed, groups_of<T>(9 * outputs) * channels * kBlock<T>, T(0));
  for (std::int64_t i = 0; i < 9 * outputs; ++i)
    for (std::int64_t c = 0; c < channels; ++c)
      packed[(i / kBlock<T> * channels + c) * kBlock<T> + i % kBlock<T>] =
          w[i % outputs * o_stride + c * 9 + i / outputs];
}
template <class T>
void pack_taps_transposed(const T* w, std::int64_t outputs, std::int64_t channels, T* packed) {
  std::fill_n(packed, groups_of<T>(channels) * 9 * outputs * kBlock<T>, T(0));
  for (std::int64_t i = 0; i < 9 * outputs; ++i)
    for (std::int64_t c = 0; c < channels; ++c)
      packed[(c / kBlock<T> * 9 * outputs + i) * kBlock<T> + c % kBlock<T>] =
          w[(i % outputs * channels + c) * 9 + i / outputs];
}
// (outputs, channels, 3, 3) -> (groups of outputs, 9, channels, kBlock).
template <class T>
void pack_relu_conv(const T* w, std::int64_t outputs, std::int64_t channels, T* packed) {
  std::fill_n(packed, groups_of<T>(outputs) * 9 * channels * kBlock<T>, T(0));
  for (std::int64_t o = 0; o < outputs; ++o)
    for (std::int64_t c = 0; c < channels; ++c)
      for (int tap = 0; tap < 9; ++tap)
        packed[((o / kBlock<T> * 9 + tap) * channels + c) * kBlock<T> + o % kBlock<T>] =
            w[(o * channels + c) * 9 + tap];
}

// out[x][o] = residual[x][o] + sum over ky, kx of rows[ky][x + kx - 1][(3 ky + kx) outputs + o], x in [x0, x1), from
// the products that pack_taps describes. residual may be null.
template <class T>
void sum_taps(const T* const* rows, std::int64_t group, std::int64_t outputs, std::int64_t x0, std::int64_t x1,
              const T* residual, std::int64_t residual_pixel, T* out, std::int64_t out_pixel) {
  for (std::int64_t o = 0; o < outputs; ++o) {
    const T* from[9];
    for (int tap = 0; tap < 9; ++tap) {
      const std::int64_t i = tap * outputs + o;
      from[tap] = rows[tap / 3] + i / kBlock<T> * group + i % kBlock<T> + (tap % 3 - 1) * kBlock<T>;
    }
    for (std::int64_t x = x0; x < x1; ++x) {
      T sum = 0;
      for (int tap = 0; tap < 9; ++tap) sum += from[tap][x * kBlock<T>];
      out[x * out_pixel + o] = residual ? residual[x * residual_pixel + o] + sum : sum;
    }
  }
}

// Sizes of a term's packed weights.
template <class T>
std::int64_t packed_first_size(Separable operation, std::int64_t channels) {
  const bool has = has_depthwise_3x3(operation) || operation == Separable::column_row;
  return has ? groups_of<T>(channels) * 9 * kBlock<T> : 0;
}
template <class T>
std::int64_t packed_second_size(Separable operation, std::int64_t channels, std::int64_t outputs) {
  if (operation == Separable::skip) return 0;
  if (operation == Separable::column_row) return groups_of<T>(channels) * 9 * kBlock<T>;
  return groups_of<T>(outputs) * channels * kBlock<T> * (operation == Separable::relu_conv ? 9 : 1);
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

// What the forward and backward kernel of half_shuffle_attention share: windows of pixels as tokens, and the weights in
// the order of heads.
//
// A row of queries, keys and values has a column for each number of each head: part (q, k, v), head, element; every
// head is padded to whole tiles, with zeros. Queries are scaled by their weights.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/parallel.hpp"
#include "hsab/attention_head.hpp"
#include "hsab/half_shuffle_attention.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr std::int64_t kTokens = kWindow * kWindow;  // of a window

template <class T>
struct TokenExtents {
  std::int64_t channels, heads, local, width, head;  // heads within windows; channels of a head, and padded
  std::int64_t row, columns, outputs;                // channels padded; columns of one of q, k, v, and of all three
  std::int64_t across, windows;                      // of one image
  T scale;

  explicit TokenExtents(const HalfShuffleAttentionArgs<T>& a)
      : channels(a.channels),
        heads(a.heads),
        local(a.heads == 1 ? 1 : a.heads / 2),
        width(a.channels / a.heads),
        head(padded<T>(width)),
        row(padded<T>(a.channels)),
        columns(a.heads * head),
        outputs(3 * columns),
        across(a.nx / kWindow),
        windows(a.ny / kWindow * across),
        scale(static_cast<T>(1 / std::sqrt(static_cast<double>(width)))) {}

  std::int64_t shuffled() const { return heads - local; }
  std::int64_t shuffled_tasks() const { return kTokens * shuffled(); }  // a place in the window, a head

  // Element (column of q, k and v; channel) of the weights; zero in padding.
  T input_weight(const HalfShuffleAttentionArgs<T>& a, std::int64_t column, std::int64_t channel) const {
    const std::int64_t part = column / columns, h = column % columns / head, d = column % head;
    if (d >= width) return T(0);
    const std::int64_t o = h * width + d;
    if (part == 0) return a.query[o * channels + channel] * scale;
    return a.key_value[((part - 1) * channels + o) * channels + channel];
  }
  T output_weight(const HalfShuffleAttentionArgs<T>& a, std::int64_t column, std::int64_t channel) const {
    const std::int64_t d = column % head;
    return d < width ? a.project[channel * channels + column / head * width + d] : T(0);
  }
};

// f(pixel, token) for the kTokens pixels of window w, pixel an offset in pixels from the image's first.
template <class F>
inline void for_tokens(std::int64_t w, std::int64_t across, const F& f) {
  const std::int64_t first = (w / across * kWindow * across + w % across) * kWindow;
  for (std::int64_t i = 0; i < kTokens; ++i) f(first + i / kWindow * across * kWindow + i % kWindow, i);
}

// Window w of an image (ny, nx, channels) as rows; zeros behind the channels.
template <class T>
void load_window(const TokenExtents<T>& e, const T* image, std::int64_t w, T* rows) {
  for_tokens(w, e.across, [&](std::int64_t pixel, std::int64_t i) {
    const T* const from = image + pixel * e.channels;
    T* const to = rows + i * e.row;
    std::int64_t c = 0;
    for (; c + kLanes<T> <= e.channels; c += kLanes<T>) store(to + c, load(from + c));
    for (; c < e.row; ++c) to[c] = c < e.channels ? from[c] : T(0);
  });
}

// rows = (rows - mean) / sqrt(variance + epsilon), whose factor is left in `inverse` (kTokens).
template <class T>
void normalize(const TokenExtents<T>& e, double epsilon, T* rows, T* inverse) {
  const std::int64_t whole = e.channels / kLanes<T> * kLanes<T>;
  for (std::int64_t i = 0; i < kTokens; ++i) {
    T* const row = rows + i * e.row;
    Vec<T> sums{};
    for (std::int64_t c = 0; c < e.row; c += kLanes<T>) sums += load(row + c);
    const T mean = sum<T>(sums) / static_cast<T>(e.channels);
    Vec<T> squares{};
    for (std::int64_t c = 0; c < whole; c += kLanes<T>) {
      const Vec<T> value = load(row + c) - mean;
      store(row + c, value);
      squares += value * value;
    }
    T square = sum<T>(squares);
    for (std::int64_t c = whole; c < e.channels; ++c) {
      row[c] -= mean;
      square += row[c] * row[c];
    }
    inverse[i] = static_cast<T>(1 / std::sqrt(square / static_cast<T>(e.channels) + static_cast<T>(epsilon)));
    for (std::int64_t c = 0; c < e.row; c += kLanes<T>) store(row + c, load(row + c) * inverse[i]);
  }
}

// to = weight rows + bias; weight and bias (e.row) with zeros behind the channels.
template <class T>
void scale_and_shift(const TokenExtents<T>& e, const T* rows, const T* weight, const T* bias, T* to) {
  for (std::int64_t i = 0; i < kTokens * e.row; i += e.row)
    for (std::int64_t c = 0; c < e.row; c += kLanes<T>)
      store(to + i + c, load(rows + i + c) * load(weight + c) + load(bias + c));
}

// The weights that both directions need.
template <class T>
struct PackedWeights {
  T *norm_weight, *norm_bias, *bias;  // (row)
  T *input, *output;                  // (channels -> outputs), (columns -> row)

  PackedWeights(ScratchCursor& cursor, const TokenExtents<T>& e)
      : norm_weight(cursor.take<T>(e.row)),
        norm_bias(cursor.take<T>(e.row)),
        bias(cursor.take<T>(e.row)),
        input(cursor.take<T>(packed_size<T>(e.channels, e.outputs))),
        output(cursor.take<T>(packed_size<T>(e.columns, e.row))) {}

  void pack(const HalfShuffleAttentionArgs<T>& a, const TokenExtents<T>& e) const {
    for (std::int64_t c = 0; c < e.row; ++c) {
      const bool exists = c < e.channels;
      norm_weight[c] = exists ? a.norm_weight[c] : T(0);
      norm_bias[c] = exists ? a.norm_bias[c] : T(0);
      bias[c] = exists ? a.bias[c] : T(0);
    }
    pack_panels(e.channels, e.outputs, input,
                [&](std::int64_t k, std::int64_t column) { return e.input_weight(a, column, k); });
    pack_panels(e.columns, e.row, output, [&](std::int64_t k, std::int64_t column) {
      return column < e.channels ? e.output_weight(a, k, column) : T(0);
    });
  }
};

// A piece of scratch for each thread, laid out as S(cursor, extents).
template <class S>
class OfThreads {
 public:
  template <class E>
  OfThreads(ScratchCursor& cursor, const E& extents, int threads) {
    ScratchCursor counter(nullptr);
    S(counter, extents);
    bytes_ = counter.bytes();
    first_ = cursor.take<char>(threads * bytes_);
  }
  template <class E>
  S of(int thread, const E& extents) const {
    ScratchCursor cursor(first_ + thread * bytes_);
    return S(cursor, extents);
  }

 private:
  char* first_;
  std::int64_t bytes_;
};

// Queries, keys and values of the pixels at one place p of all windows, for one head: gathered, f(head), put back.
template <class T, class F>
void with_shuffled_head(const TokenExtents<T>& e, std::int64_t task, T* rows, T* gathered, const F& f) {
  const std::int64_t p = task / e.shuffled(), h = e.local + task % e.shuffled();
  const std::int64_t tokens = round_up_to(e.windows, kProductRows), size = tokens * e.head;
  const auto each = [&](const auto& move) {
    for (std::int64_t w = 0; w < e.windows; ++w)
      for (int part = 0; part < 3; ++part)
        move(rows + (w * kTokens + p) * e.outputs + part * e.columns + h * e.head, gathered + part * size + w * e.head);
  };
  each([&](const T* there, T* here) { std::copy_n(there, e.head, here); });
  f(Head<T>{gathered, gathered + size, gathered + 2 * size, e.head, e.windows, e.width}, p, h);
  each([&](T* there, const T* here) { std::copy_n(here, e.head, there); });
}
template <class T>
std::int64_t gathered_size(const TokenExtents<T>& e) {
  return 3 * round_up_to(e.windows, kProductRows) * e.head;
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

// What the forward and backward kernel of half_shuffle_attention share: windows of pixels as tokens, and the weights in
// the order of heads.
//
// A row of queries, keys and values has a column for each number of each head: part (q, k, v), head, element; every
// head is padded to whole tiles, with zeros. Queries are scaled by their weights: by 1 / sqrt(width) and log2 e, since
// the softmax is made of powers of two.
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
        scale(static_cast<T>(1.44269504088896341 / std::sqrt(static_cast<double>(width)))) {}

  std::int64_t shuffled() const { return heads - local; }
  std::int64_t shuffled_tasks() const { return kTokens * shuffled(); }  // a place in the window, a head

  // Weights of one column of q, k and v for all channels; none in padding.
  Line<T> input_weights(const HalfShuffleAttentionArgs<T>& a, std::int64_t column) const {
    const std::int64_t part = column / columns, o = channel_of(column % columns);
    if (o < 0) return {};
    return part == 0 ? Line<T>{a.query + o * channels, 1, channels, scale}
                     : Line<T>{a.key_value + ((part - 1) * channels + o) * channels, 1, channels, T(1)};
  }
  // Weights of all channels of the result for one column of o; none in padding.
  Line<T> output_weights(const HalfShuffleAttentionArgs<T>& a, std::int64_t column) const {
    const std::int64_t o = channel_of(column);
    return o < 0 ? Line<T>{} : Line<T>{a.project + o, channels, channels, T(1)};
  }

 private:
  // Of one column of q, k, v or o; below 0 in padding.
  std::int64_t channel_of(std::int64_t column) const {
    const std::int64_t d = column % head;
    return d < width ? column / head * width + d : -1;
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

template <class T>
struct Normalization {
  const T *weight, *bias;  // (row), zeros behind the channels
  double epsilon;
};

// One pixel: normalized = (x - mean) / sqrt(variance + epsilon), token = weight normalized + bias; the factor
// 1 / sqrt(...) is returned. With kRegisters the pixel is so many whole registers, which are loaded once.
template <int kRegisters, class T>
inline __attribute__((always_inline)) T normalize_whole(const T* x, const Normalization<T>& norm, T* normalized,
                                                        T* token) {
  constexpr T count = static_cast<T>(kRegisters * kLanes<T>);
  Vec<T> values[kRegisters], sums{}, squares{};
#pragma GCC unroll 8
  for (int r = 0; r < kRegisters; ++r) {
    values[r] = load(x + r * kLanes<T>);
    sums += values[r];
  }
  const T mean = sum<T>(sums) / count;
#pragma GCC unroll 8
  for (int r = 0; r < kRegisters; ++r) {
    values[r] -= mean;
    squares += values[r] * values[r];
  }
  const T inverse = T(1) / std::sqrt(sum<T>(squares) / count + static_cast<T>(norm.epsilon));
#pragma GCC unroll 8
  for (int r = 0; r < kRegisters; ++r) {
    const std::int64_t c = r * kLanes<T>;
    const Vec<T> value = values[r] * inverse;
    if (normalized) store(normalized + c, value);
    store(token + c, value * load(norm.weight + c) + load(norm.bias + c));
  }
  return inverse;
}

// The same for any number of channels; `normalized` may be `token`.
template <class T>
T normalize_any(const TokenExtents<T>& e, const T* x, const Normalization<T>& norm, T* normalized, T* token) {
  const std::int64_t whole = e.channels / kLanes<T> * kLanes<T>;
  const int left = static_cast<int>(e.channels - whole);
  Vec<T> sums{};
  for (std::int64_t c = 0; c < whole; c += kLanes<T>) sums += load(x + c);
  if (left) sums += load_first(x + whole, left);
  const T mean = sum<T>(sums) / static_cast<T>(e.channels);
  Vec<T> squares{};
  for (std::int64_t c = 0; c < whole; c += kLanes<T>) {
    const Vec<T> value = load(x + c) - mean;
    squares += value * value;
  }
  T square = sum<T>(squares);
  for (std::int64_t c = whole; c < e.channels; ++c) square += (x[c] - mean) * (x[c] - mean);
  const T inverse = T(1) / std::sqrt(square / static_cast<T>(e.channels) + static_cast<T>(norm.epsilon));
  for (std::int64_t c = 0; c < whole; c += kLanes<T>) {
    const Vec<T> value = (load(x + c) - mean) * inverse;
    if (normalized) store(normalized + c, value);
    store(token + c, value * load(norm.weight + c) + load(norm.bias + c));
  }
  for (std::int64_t c = whole; c < e.row; ++c) {
    const T value = c < e.channels ? (x[c] - mean) * inverse : T(0);
    if (normalized) normalized[c] = value;
    token[c] = value * norm.weight[c] + norm.bias[c];
  }
  return inverse;
}

// tokens (kTokens, row) = LN of window w of an image. Where they are not null, `normalized` (kTokens, row) is what it
// was before weight and bias, and inverse (kTokens) its factors.
template <class T>
void load_tokens(const TokenExtents<T>& e, const T* image, std::int64_t w, const Normalization<T>& norm, T* normalized,
                 T* inverse, T* tokens) {
  const auto each = [&](const auto& f) {
    for_tokens(w, e.across, [&](std::int64_t pixel, std::int64_t i) {
      T* const kept = normalized ? normalized + i * e.row : nullptr;
      const T factor = f(image + pixel * e.channels, kept, tokens + i * e.row);
      if (inverse) inverse[i] = factor;
    });
  };
  const auto whole = [&](auto registers) {
    each([&](const T* x, T* kept, T* token) { return normalize_whole<registers()>(x, norm, kept, token); });
  };
  if (e.channels == 2 * kLanes<T>) return whole(std::integral_constant<int, 2>{});
  if (e.channels == 4 * kLanes<T>) return whole(std::integral_constant<int, 4>{});
  if (e.channels == 8 * kLanes<T>) return whole(std::integral_constant<int, 8>{});
  each([&](const T* x, T* kept, T* token) { return normalize_any(e, x, norm, kept, token); });
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

  Normalization<T> normalization(const HalfShuffleAttentionArgs<T>& a) const {
    return {norm_weight, norm_bias, a.epsilon};
  }
  void pack(const HalfShuffleAttentionArgs<T>& a, const TokenExtents<T>& e) const {
    for (std::int64_t c = 0; c < e.row; ++c) {
      const bool exists = c < e.channels;
      norm_weight[c] = exists ? a.norm_weight[c] : T(0);
      norm_bias[c] = exists ? a.norm_bias[c] : T(0);
      bias[c] = exists ? a.bias[c] : T(0);
    }
    pack_columns(e.channels, e.outputs, input, [&](std::int64_t column) { return e.input_weights(a, column); });
    pack_rows(e.columns, e.row, output, [&](std::int64_t column) { return e.output_weights(a, column); });
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

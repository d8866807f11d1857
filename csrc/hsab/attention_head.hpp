// One head's attention among its tokens, o_i = sum_j P_ij v_j, P_ij = 2^(q_i . k_j) / sum_j 2^(q_i . k_j), without a
// matrix of all pairs. (The softmax has e for 2: whoever scales the queries puts log2 e into the scale.)
//
// Queries go in panels of two registers, one query a lane, so that maxima, sums and the exponential run along lanes and
// no register is ever added up; keys go in blocks, whose scores (16 KiB with AVX2) stay in the caches. A running
// maximum and sum make the softmax of more than one block exact (as in flash attention). Backward, with G = do, P the
// softmax,
//
//     dv = P^T G,   dP = G v^T,   dS = ln 2 P (dP - sum_d G o),   dq = dS k,   dk = dS^T q;  P is computed again.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/vec.hpp"
#include "core/workspace.hpp"
#include "hsab/products.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr std::int64_t kKeys = 256;  // of a block

// 2^t, t <= 0: relative error 8e-8, 1 at 0; below -126, where float ends, 2^-126.
inline __attribute__((always_inline)) Vec<float> power_of_two(Vec<float> t) {
  typedef std::int32_t Bits __attribute__((vector_size(kVecBytes)));
  t = max_or_second<float>(broadcast(-126.0f), t);
  const Vec<float> shifted = t + 12582912.0f;        // 1.5 x 2^23: rounds to an integer in the lowest bits
  const Vec<float> r = t - (shifted - 12582912.0f);  // exact, |r| <= 1/2
  Vec<float> p = r * 1.5353361996e-4f + 1.3398874452e-3f;
  p = p * r + 9.6184373576e-3f;
  p = p * r + 5.5503324710e-2f;
  p = p * r + 2.4022647914e-1f;
  p = p * r + 6.9314720286e-1f;
  p = p * r + 1.0f;
  return (Vec<float>)((Bits)p + ((Bits)shifted << 23));
}
inline Vec<double> power_of_two(Vec<double> t) {
  for (int i = 0; i < kLanes<double>; ++i) t[i] = std::exp2(t[i]);
  return t;
}

// Rows of q, k and v of one head, `stride` elements apart, each padded<T>(width) long with zeros behind `width`. Rows
// up to whole tiles of kProductRows must be readable.
template <class T>
struct Head {
  T *q, *k, *v;
  std::int64_t stride, tokens, width;
};

template <class T>
struct HeadScratch {
  T *q, *out, *scores;             // panels (padded width, kBlock); a block of scores (kKeys, kBlock)
  T *grad, *grad_q, *grad_scores;  // backward only
  T *grad_k, *grad_v;              // (tokens, padded width)

  HeadScratch(ScratchCursor& cursor, std::int64_t tokens, std::int64_t width, bool backward) {
    const std::int64_t panel = padded<T>(width) * kBlock<T>;
    q = cursor.take<T>(panel);
    out = cursor.take<T>(panel);
    scores = cursor.take<T>(kKeys * kBlock<T>);
    if (!backward) return;
    grad = cursor.take<T>(panel);
    grad_q = cursor.take<T>(panel);
    grad_scores = cursor.take<T>(kKeys * kBlock<T>);
    grad_k = cursor.take<T>(round_up_to(tokens, kProductRows) * padded<T>(width));
    grad_v = cursor.take<T>(round_up_to(tokens, kProductRows) * padded<T>(width));
  }
};

// Of each query of a panel: the largest score and 1 / sum of 2^(score - largest).
template <class T>
struct Softmax {
  Vec<T> top[2], inverse[2];
};

// scores[j][i] = k_j . q_i for a block of n keys from j0 on.
template <class T>
inline void score(const Head<T>& h, const HeadScratch<T>& s, std::int64_t j0, std::int64_t n) {
  multiply<false>(h.k + j0 * h.stride, h.stride, round_up_to(n, kProductRows), panels_of_rows(s.q, kBlock<T>), h.width,
                  s.scores, kBlock<T>, kBlock<T>, false);
}

// s.out = o of the panel of queries in s.q, transposed. Of one block only, s.scores are P times its sum afterwards.
template <class T>
Softmax<T> attend_panel(const Head<T>& h, const HeadScratch<T>& s) {
  const std::int64_t rows = padded<T>(h.width);
  Softmax<T> softmax;
  Vec<T> sum[2] = {};
  for (std::int64_t j0 = 0; j0 < h.tokens; j0 += kKeys) {
    const std::int64_t n = std::min(kKeys, h.tokens - j0);
    score(h, s, j0, n);
    for (int v = 0; v < 2; ++v) {
      T* const at = s.scores + v * kLanes<T>;
      Vec<T> top = j0 ? softmax.top[v] : load(at);
      for (std::int64_t j = 0; j < n; ++j) top = max_or_second<T>(load(at + j * kBlock<T>), top);
      if (j0) {
        const Vec<T> factor = power_of_two(softmax.top[v] - top);
        sum[v] *= factor;
        for (std::int64_t d = 0; d < rows; ++d) {
          T* const out = s.out + d * kBlock<T> + v * kLanes<T>;
          store(out, load(out) * factor);
        }
      }
      for (std::int64_t j = 0; j < n; ++j) {
        const Vec<T> p = power_of_two(load(at + j * kBlock<T>) - top);
        store(at + j * kBlock<T>, p);
        sum[v] += p;
      }
      softmax.top[v] = top;
    }
    multiply<true>(h.v + j0 * h.stride, h.stride, rows, panels_of_rows(s.scores, kBlock<T>), n, s.out, kBlock<T>,
                   kBlock<T>, j0 > 0);
  }
  for (int v = 0; v < 2; ++v) {
    softmax.inverse[v] = T(1) / sum[v];
    for (std::int64_t d = 0; d < rows; ++d) {
      T* const out = s.out + d * kBlock<T> + v * kLanes<T>;
      store(out, load(out) * softmax.inverse[v]);
    }
  }
  return softmax;
}

// o in the place of q.
template <class T>
void attend(const Head<T>& h, const HeadScratch<T>& s) {
  const std::int64_t width = padded<T>(h.width);
  for (std::int64_t i0 = 0; i0 < h.tokens; i0 += kBlock<T>) {
    const std::int64_t rows = std::min<std::int64_t>(kBlock<T>, h.tokens - i0);
    transpose_to_panel(h.q + i0 * h.stride, h.stride, rows, width, s.q);
    attend_panel(h, s);
    transpose_from_panel(s.out, rows, width, h.q + i0 * h.stride, h.stride);
  }
}

// P of a block of n keys in s.scores, from scores, or from 2^(score - largest) if they are no longer `raw`.
template <class T>
inline void normalize_scores(const HeadScratch<T>& s, const Softmax<T>& softmax, std::int64_t n, bool raw) {
  for (int v = 0; v < 2; ++v)
    for (std::int64_t j = 0; j < n; ++j) {
      T* const at = s.scores + j * kBlock<T> + v * kLanes<T>;
      const Vec<T> p = load(at);
      store(at, (raw ? power_of_two(p - softmax.top[v]) : p) * softmax.inverse[v]);
    }
}

// sum_j P dP of each query, equal to sum_d G o. Where all keys are one block it is this sum, which cancels dP exactly
// where one key has all the weight. Over sum_j P, which is 1 but for rounding: what all dP have in common, however
// large, drops out of dS then, too.
template <class T>
inline void mean_of_gradient(const HeadScratch<T>& s, std::int64_t n, Vec<T>* mean) {
  for (int v = 0; v < 2; ++v) {
    Vec<T> products = {}, sum = {};
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t at = j * kBlock<T> + v * kLanes<T>;
      const Vec<T> weight = load(s.scores + at);
      products += weight * load(s.grad_scores + at);
      sum += weight;
    }
    mean[v] = products / sum;
  }
}

// dS of a block in the place of dP.
template <class T>
inline void gradient_of_scores(const HeadScratch<T>& s, const Vec<T>* mean, std::int64_t n) {
  constexpr T ln2 = static_cast<T>(0.693147180559945309);
  for (int v = 0; v < 2; ++v)
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t at = j * kBlock<T> + v * kLanes<T>;
      store(s.grad_scores + at, load(s.scores + at) * (load(s.grad_scores + at) - mean[v]) * ln2);
    }
}

// dq, dk and dv in the places of q, k and v, and o in the place of its gradient (`grad`, rows `grad_stride` apart).
template <class T>
void attend_backward(const Head<T>& h, T* grad, std::int64_t grad_stride, const HeadScratch<T>& s) {
  const std::int64_t width = padded<T>(h.width);
  for (std::int64_t i0 = 0; i0 < h.tokens; i0 += kBlock<T>) {
    const std::int64_t rows = std::min<std::int64_t>(kBlock<T>, h.tokens - i0);
    T *const q = h.q + i0 * h.stride, *const g = grad + i0 * grad_stride;
    transpose_to_panel(q, h.stride, rows, width, s.q);
    transpose_to_panel(g, grad_stride, rows, width, s.grad);
    const Softmax<T> softmax = attend_panel(h, s);
    Vec<T> mean[2] = {};
    for (std::int64_t d = 0; d < h.width; ++d)
      for (int v = 0; v < 2; ++v) {
        const std::int64_t at = d * kBlock<T> + v * kLanes<T>;
        mean[v] += load(s.out + at) * load(s.grad + at);
      }
    const bool one_block = h.tokens <= kKeys;
    for (std::int64_t j0 = 0; j0 < h.tokens; j0 += kKeys) {
      const std::int64_t n = std::min(kKeys, h.tokens - j0), keys = round_up_to(n, kProductRows);
      if (!one_block) score(h, s, j0, n);
      multiply<false>(h.v + j0 * h.stride, h.stride, keys, panels_of_rows(s.grad, kBlock<T>), h.width, s.grad_scores,
                      kBlock<T>, kBlock<T>, false);
      normalize_scores(s, softmax, n, !one_block);
      if (one_block) mean_of_gradient(s, n, mean);
      gradient_of_scores(s, mean, n);
      multiply<false>(s.scores, kBlock<T>, keys, panels_of_rows(g, grad_stride), rows, s.grad_v + j0 * width, width,
                      width, i0 > 0);
      multiply<false>(s.grad_scores, kBlock<T>, keys, panels_of_rows(q, h.stride), rows, s.grad_k + j0 * width, width,
                      width, i0 > 0);
      multiply<true>(h.k + j0 * h.stride, h.stride, width, panels_of_rows(s.grad_scores, kBlock<T>), n, s.grad_q,
                     kBlock<T>, kBlock<T>, j0 > 0);
    }
    transpose_from_panel(s.grad_q, rows, width, q, h.stride);
    transpose_from_panel(s.out, rows, width, g, grad_stride);
  }
  for (std::int64_t j = 0; j < h.tokens; ++j) {
    std::copy_n(s.grad_k + j * width, width, h.k + j * h.stride);
    std::copy_n(s.grad_v + j * width, width, h.v + j * h.stride);
  }
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

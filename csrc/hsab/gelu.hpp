// gelu(t) = t Phi(t) and its derivative Phi(t) + t phi(t), on rows of registers.
//
// Phi(t) - 1/2 and Phi(t) + t phi(t) - 1/2 are odd in t: |t| times a polynomial in t^2, fitted to the least largest
// error of Phi on [0, 5.3] and of the derivative on [0, 5.7]; beyond that Phi is 0 or 1 in float32. Largest errors,
// rounding included: 1.3e-7 |t| and 2.7e-7 (t (1 + erf) / 2 in float32, erf rounded correctly: 1.0e-7 |t|).
#pragma once
#include <cmath>
#include <cstdint>

#include "core/vec.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

// Registers that go through a polynomial side by side: one chain of multiply-adds would wait for each of its results.
constexpr int kChains = kSimd == Simd::avx512 ? 10 : 4;

inline __attribute__((always_inline)) Vec<float> absolute(Vec<float> t) {
  typedef std::int32_t Bits __attribute__((vector_size(kVecBytes)));
  return (Vec<float>)((Bits)t & 0x7fffffff);
}

// a < b ? a : b, one instruction where GCC makes two of it.
inline __attribute__((always_inline)) Vec<float> smaller(Vec<float> a, Vec<float> b) {
#if defined(__AVX512F__)
  return _mm512_maskz_min_ps(0xffff, a, b);  // GCC warns of _mm512_min_ps
#elif defined(__AVX__)
  return _mm256_min_ps(a, b);
#elif defined(__SSE2__)
  return _mm_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}

// odd[i] = m p(m^2) with m = |t[i]| up to `end`, the value at `end` beyond.
template <int kDegree>
inline __attribute__((always_inline)) void odd_polynomial(const Vec<float>* t, float end,
                                                          const float (&coefficients)[kDegree + 1], Vec<float>* odd) {
  Vec<float> s[kChains];
#pragma GCC unroll 10
  for (int i = 0; i < kChains; ++i) {
    const Vec<float> m = smaller(broadcast(end), absolute(t[i]));
    s[i] = m * m * (2 / (end * end)) - 1;  // in [-1, 1]: no cancellation between the terms
    odd[i] = broadcast(coefficients[kDegree]);
  }
#pragma GCC unroll 20
  for (int k = kDegree - 1; k >= 0; --k) {
#pragma GCC unroll 10
    for (int i = 0; i < kChains; ++i) odd[i] = odd[i] * s[i] + coefficients[k];
  }
#pragma GCC unroll 10
  for (int i = 0; i < kChains; ++i) odd[i] *= smaller(broadcast(end), absolute(t[i]));
}

// At the end of the fit the sum is a little above 1/2, so that the minimum makes Phi 0 or 1 exactly.
constexpr float kGelu[] = {1.33392558e-1f,  -6.65185079e-2f, 4.92641814e-2f,  -3.95887420e-2f, 3.20792124e-2f,
                           -2.53001191e-2f, 1.89284012e-2f,  -1.31779453e-2f, 8.81847739e-3f,  -5.86446747e-3f,
                           3.15306452e-3f,  -1.08195154e-3f, 7.15710339e-4f,  -7.69558712e-4f, 2.89310439e-4f};

inline __attribute__((always_inline)) void gelu_of(const Vec<float>* t, Vec<float>* out) {
  Vec<float> odd[kChains];
  odd_polynomial<14>(t, 5.3f, kGelu, odd);
#pragma GCC unroll 10
  for (int i = 0; i < kChains; ++i) out[i] = absolute(t[i]) * smaller(broadcast(0.5f), odd[i]) + t[i] * 0.5f;
}

constexpr float kSlope[] = {0.124165319f,    -0.0629259348f, 0.05013768f,    -0.0484524332f, 0.0533163957f,
                            -0.0613580123f,  0.0683524832f,  -0.0713477582f, 0.0689742118f,  -0.0583714284f,
                            0.042223271f,    -0.0330754146f, 0.0289096013f,  -0.0149404267f, 0.00143177202f,
                            -0.00253156573f, 0.00529117463f, -0.00207960373f};

// slope[i] = gelu'(t[i]).
inline __attribute__((always_inline)) void slope_of(const Vec<float>* t, Vec<float>* slope) {
  typedef std::int32_t Bits __attribute__((vector_size(kVecBytes)));
  Vec<float> odd[kChains];
  odd_polynomial<17>(t, 5.7f, kSlope, odd);
#pragma GCC unroll 10
  for (int i = 0; i < kChains; ++i)
    slope[i] = (Vec<float>)((Bits)odd[i] ^ ((Bits)t[i] & static_cast<std::int32_t>(0x80000000u))) + 0.5f;
}

// For checks, as accurate as the library's functions.
inline void gelu_of(const Vec<double>* t, Vec<double>* out) {
  for (int i = 0; i < kChains; ++i)
    for (int j = 0; j < kLanes<double>; ++j) out[i][j] = t[i][j] * 0.5 * (1 + std::erf(t[i][j] * M_SQRT1_2));
}
inline void slope_of(const Vec<double>* t, Vec<double>* slope) {
  const double density = 0.5 * M_2_SQRTPI * M_SQRT1_2;  // 1 / sqrt(2 pi)
  for (int i = 0; i < kChains; ++i)
    for (int j = 0; j < kLanes<double>; ++j) {
      const double v = t[i][j];
      slope[i][j] = 0.5 * (1 + std::erf(v * M_SQRT1_2)) + v * density * std::exp(-0.5 * v * v);
    }
}

// f(i, t) for kChains registers t of p, from element i on; n elements in all, a multiple of kLanes<T>. f may change t,
// which is stored again.
template <class T, class F>
inline __attribute__((always_inline)) void for_chains(T* p, std::int64_t n, const F& f) {
  Vec<T> t[kChains];
  std::int64_t at = 0;
  for (; at + kChains * kLanes<T> <= n; at += kChains * kLanes<T>) {
#pragma GCC unroll 10
    for (int i = 0; i < kChains; ++i) t[i] = load(p + at + i * kLanes<T>);
    f(at, kChains, t);
#pragma GCC unroll 10
    for (int i = 0; i < kChains; ++i) store(p + at + i * kLanes<T>, t[i]);
  }
  const int left = static_cast<int>((n - at) / kLanes<T>);
  if (left == 0) return;
  for (int i = 0; i < kChains; ++i) t[i] = i < left ? load(p + at + i * kLanes<T>) : Vec<T>{};
  f(at, left, t);
  for (int i = 0; i < left; ++i) store(p + at + i * kLanes<T>, t[i]);
}

// p[i] = gelu(p[i]) for n elements, a multiple of kLanes<T>.
template <class T>
inline void gelu_in_place(T* p, std::int64_t n) {
  for_chains(p, n, [](std::int64_t, int, Vec<T>* t) { gelu_of(t, t); });
}

// The same, and slope[i] = gelu'(p[i] before).
template <class T>
inline void gelu_and_slope(T* p, T* slope, std::int64_t n) {
  for_chains(p, n, [&](std::int64_t at, int left, Vec<T>* t) {
    Vec<T> s[kChains];
    slope_of(t, s);
    for (int i = 0; i < left; ++i) store(slope + at + i * kLanes<T>, s[i]);
    gelu_of(t, t);
  });
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

// Vec<T>: one SIMD register of float or double at the level this file is compiled for.
//
// GCC/Clang vector extensions: + - * / and comparisons work element-wise, a scalar operand broadcasts, and the
// compiler picks the instructions of the level (it contracts a * b + c into FMA where the level has it).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "core/simd.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr int kVecBytes = kSimd == Simd::avx512 ? 64 : kSimd == Simd::avx2 ? 32 : 16;

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(kVecBytes)));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(kVecBytes)));
};
template <class T>
using Vec = typename VecOf<T>::type;

template <class T>
constexpr int kLanes = kVecBytes / static_cast<int>(sizeof(T));

template <class T>
inline __attribute__((always_inline)) Vec<T> load(const T* p) {  // p need not be aligned
  Vec<T> v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
inline __attribute__((always_inline)) void store(T* p, Vec<T> v) {
  std::memcpy(p, &v, sizeof v);
}
template <class T>
inline __attribute__((always_inline)) Vec<T> broadcast(T value) {
  return value - Vec<T>{};
}

// Keeps v in a register: left alone, GCC reads memory again for each multiply-add that uses a loaded vector.
template <class V>
inline __attribute__((always_inline)) void keep_in_register(V& v) {
#if defined(__AVX__)
  asm("" : "+v"(v));
#else
  (void)v;
#endif
}

// The larger of a and b, b where either is NaN and where they are equal.
template <class T>
inline __attribute__((always_inline)) Vec<T> max_or_second(Vec<T> a, Vec<T> b) {
  return a > b ? a : b;
}
#if defined(__SSE2__)  // one instruction, for which GCC writes a comparison and a selection
template <>
inline __attribute__((always_inline)) Vec<float> max_or_second<float>(Vec<float> a, Vec<float> b) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
  return (Vec<float>)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return (Vec<float>)_mm_max_ps((__m128)a, (__m128)b);
#endif
}
template <>
inline __attribute__((always_inline)) Vec<double> max_or_second<double>(Vec<double> a, Vec<double> b) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX__)
  return (Vec<double>)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
  return (Vec<double>)_mm_max_pd((__m128d)a, (__m128d)b);
#endif
}
#endif

// The first n lanes (0 < n < kLanes<T>); the others are 0, and stay untouched in memory.
template <class T>
inline Vec<T> load_first(const T* p, int n) {
  Vec<T> v{};
  std::memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(T));
  return v;
}
template <class T>
inline void store_first(T* p, Vec<T> v, int n) {
  std::memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(T));
}

// A store that does not first read the line into the cache: for outputs too large to be found there again. p must be
// aligned to kVecBytes. Call stream_fence() before another thread may read.
template <class T>
inline __attribute__((always_inline)) void stream(T* p, Vec<T> v) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), reinterpret_cast<__m512i>(v));
#elif defined(__AVX__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(v));
#elif defined(__SSE2__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), reinterpret_cast<__m128i>(v));
#else
  store(p, v);
#endif
}
inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// In a fixed order: the upper half added to the lower one, until one lane is left.
#if defined(__SSE2__)
inline float sum_halves(__m128 v) {
  v = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}
inline double sum_halves(__m128d v) { return _mm_cvtsd_f64(_mm_add_sd(v, _mm_unpackhi_pd(v, v))); }
#if defined(__AVX__)
inline float sum_halves(__m256 v) {
  return sum_halves(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)));
}
inline double sum_halves(__m256d v) {
  return sum_halves(_mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1)));
}
#endif
#if defined(__AVX512DQ__)
inline float sum_halves(__m512 v) {
  return sum_halves(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
}
inline double sum_halves(__m512d v) {
  return sum_halves(_mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd(v, 1)));
}
#endif
template <class T>
inline T sum(Vec<T> v) {
  return sum_halves(v);
}
#else
template <class T>
inline T sum(Vec<T> v) {
  T lane[kLanes<T>];
  std::memcpy(lane, &v, sizeof v);
  for (int half = kLanes<T> / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}
#endif

}  // namespace CSMRI_LEVEL
}  // namespace csmri

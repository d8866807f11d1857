// Operations on the lanes of a register that GCC makes several instructions of, or a detour through memory.
#pragma once
#include <cstdint>
#include <type_traits>

#include "core/vec.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

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

// a > b ? a : b in the same way; b where one of them is NaN.
inline __attribute__((always_inline)) Vec<float> larger(Vec<float> a, Vec<float> b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(0xffff, a, b);
#elif defined(__AVX__)
  return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}
inline Vec<double> larger(Vec<double> a, Vec<double> b) { return a > b ? a : b; }

// sum(v), the same bits, in registers.
template <class T>
inline __attribute__((always_inline)) T sum_in_registers(Vec<T> v) {
#if defined(__GNUC__) && !defined(__clang__)
  typedef typename std::conditional<sizeof(T) == 4, std::int32_t, std::int64_t>::type Index;
  typedef Index Indices __attribute__((vector_size(kVecBytes)));
#pragma GCC unroll 4
  for (int half = kLanes<T> / 2; half > 0; half /= 2) {
    Indices from{};
#pragma GCC unroll 16
    for (int lane = 0; lane < half; ++lane) from[lane] = lane + half;
    v += __builtin_shuffle(v, from);
  }
  return v[0];
#else
  return sum<T>(v);
#endif
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

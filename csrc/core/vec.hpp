// Vec<T>: one SIMD register of float or double at the level this file is compiled for.
//
// GCC/Clang vector extensions: + - * / and comparisons work element-wise, a scalar operand broadcasts, and the
// compiler picks the instructions of the level (it contracts a * b + c into FMA where the level has it).
#pragma once
#include <cstdint>
#include <cstring>

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

}  // namespace CSMRI_LEVEL
}  // namespace csmri

// Rearranging vectors in registers: transposing kLanes x kLanes elements, taking complex numbers apart.
#pragma once
#include <cstddef>
#include <utility>

#include "core/host_device.hpp"
#include "core/vec.hpp"
#include "fft/codelets.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

namespace shuffle {

// result[i] = concat(a, b)[Pattern::index(i)]
template <class Pattern, class V, std::size_t... I>
CSMRI_HOST_DEVICE V apply(V a, V b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, Pattern::index(static_cast<int>(I))...);
}
template <class T, class Pattern>
CSMRI_HOST_DEVICE Vec<T> apply(Vec<T> a, Vec<T> b) {
  return apply<Pattern>(a, b, std::make_index_sequence<kLanes<T>>());
}

// Blocks of h elements: the odd blocks of a change places with the even blocks of b.
template <int kL, int h, bool kSecond>
struct Exchange {
  static constexpr int index(int i) {
    const bool odd = i / h % 2;
    return kSecond ? (odd ? kL + i : i + h) : (odd ? kL + i - h : i);
  }
};
struct Even {
  static constexpr int index(int i) { return 2 * i; }
};
struct Odd {
  static constexpr int index(int i) { return 2 * i + 1; }
};
template <int kL, int kFirst>
struct Zip {
  static constexpr int index(int i) { return kFirst + i / 2 + i % 2 * kL; }
};

}  // namespace shuffle

// r[i][j] <-> r[j][i], by halves, quarters, ... of the matrix
template <class T, int h = kLanes<T> / 2>
CSMRI_HOST_DEVICE void transpose(Vec<T>* r) {
  constexpr int L = kLanes<T>;
  CSMRI_UNROLL
  for (int i = 0; i < L; ++i) {
    if (i & h) continue;
    const Vec<T> a = r[i], b = r[i + h];
    r[i] = shuffle::apply<T, shuffle::Exchange<L, h, false>>(a, b);
    r[i + h] = shuffle::apply<T, shuffle::Exchange<L, h, true>>(a, b);
  }
  if constexpr (h > 1) transpose<T, h / 2>(r);
}

// re, im, re, im, ... <-> all re, all im
template <class T>
CSMRI_HOST_DEVICE Complex<Vec<T>> load_complex(const T* p) {
  const Vec<T> a = load(p), b = load(p + kLanes<T>);
  return {shuffle::apply<T, shuffle::Even>(a, b), shuffle::apply<T, shuffle::Odd>(a, b)};
}
template <bool kStream, class T>
CSMRI_HOST_DEVICE void store_complex(T* p, Complex<Vec<T>> z) {
  const Vec<T> a = shuffle::apply<T, shuffle::Zip<kLanes<T>, 0>>(z.re, z.im);
  const Vec<T> b = shuffle::apply<T, shuffle::Zip<kLanes<T>, kLanes<T> / 2>>(z.re, z.im);
  kStream ? stream(p, a) : store(p, a);
  kStream ? stream(p + kLanes<T>, b) : store(p + kLanes<T>, b);
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

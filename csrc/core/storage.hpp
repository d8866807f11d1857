// Numbers as they lie in memory, and the type they are computed in.
#pragma once
#include <cstdint>

namespace csmri {

struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};

template <class T>
struct SumOf {
  using type = T;
};
template <>
struct SumOf<BFloat16> {
  using type = float;
};
template <>
struct SumOf<Float16> {
  using type = float;
};
// What products of T are added in.
template <class T>
using Sum = typename SumOf<T>::type;

}  // namespace csmri

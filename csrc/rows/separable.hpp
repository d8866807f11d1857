// The operations of NasN's cells, how far each looks, and one of them on a tensor.
#pragma once
#include <cstdint>

#include "core/host_device.hpp"

namespace csmri {

constexpr int kMaxTerms = 32;  // operations that one node adds up: a supernet's 5 edges of 6 at most, and 1x1

// With relu(x) as input: point-wise alone; depth-wise 3x3 of dilation 1, 2, 3, relu, point-wise; depth-wise 9x1, relu,
// depth-wise 1x9; dense 3x3 (relu_conv). skip adds x itself, or a multiple of it.
enum class Separable : int { pointwise, dilation1, dilation2, dilation3, column_row, relu_conv, skip };

CSMRI_HOST_DEVICE constexpr int radius_of(Separable operation) {
  switch (operation) {
    case Separable::dilation1:
    case Separable::relu_conv:
      return 1;
    case Separable::dilation2:
      return 2;
    case Separable::dilation3:
      return 3;
    case Separable::column_row:
      return 4;
    default:
      return 0;
  }
}
constexpr bool has_depthwise_3x3(Separable operation) {
  return operation == Separable::dilation1 || operation == Separable::dilation2 || operation == Separable::dilation3;
}

template <class T>
struct NodeTerm {
  Separable operation;
  const T* x;  // (batch, ny, nx, channels)
  std::int64_t channels, pixel;
  const T* first;   // (channels, 3, 3); (channels, 9) along y; null for pointwise and skip
  const T* second;  // (outputs, channels); (channels, 9) along x; one factor of skip, null: 1
};

}  // namespace csmri

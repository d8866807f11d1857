// The dense 3x3 convolution at the end of a NasN module, meant for few outputs:
//
//     out = residual + w * relu(x)
//
// with zero padding that keeps the size and no bias; tensors as in separable_node.hpp, which has its backward pass: it
// is that of an operation of its own, Separable::relu_conv.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "core/storage.hpp"

namespace csmri {

template <class T>
struct ReluConvArgs {
  const T* x;  // (batch, ny, nx, channels)
  std::int64_t channels, pixel;
  const T* weight;    // (outputs, channels, 3, 3)
  const T* residual;  // (batch, ny, nx, outputs), or null: 0
  std::int64_t residual_pixel;
  T* out;  // (batch, ny, nx, outputs)
  std::int64_t outputs, out_pixel;
  std::int64_t batch, ny, nx;
};

CSMRI_CPU(relu_conv, ReluConvArgs)

// CUDA: as separable_node_cuda.
CSMRI_CUDA_WITHOUT_SCRATCH(relu_conv, ReluConvArgs)

}  // namespace csmri

// The dense 3x3 convolution at the end of a NasN module, meant for few outputs:
//
//     out = residual + w * relu(x)
//
// with zero padding that keeps the size and no bias; tensors as in separable_node.hpp, which has its backward pass: it
// is that of an operation of its own, Separable::relu_conv.
#pragma once
#include <cstdint>

#include "core/simd.hpp"
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
  void* scratch;  // threads * relu_conv_scratch_bytes, 64-byte aligned
  int threads;
};

// T is float or double.
template <Simd L, class T>
void relu_conv_cpu(const ReluConvArgs<T>& args);

// Bytes of scratch per thread; only extents and channels of args are read.
template <Simd L, class T>
std::int64_t relu_conv_scratch_bytes(const ReluConvArgs<T>& args);

// CUDA: as separable_node_cuda; no scratch.
template <class T>
void relu_conv_cuda(const ReluConvArgs<T>& args, void* stream);

}  // namespace csmri

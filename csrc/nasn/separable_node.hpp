// A node of a NasN cell: the sum of operations on several inputs, and the 1x1 convolution in front of a cell,
//
//     out = sum over terms of  second . relu(first * relu(x))     depth-wise 3x3 of dilation 1, 2 or 3, point-wise
//                            | second * relu(first * relu(x))     depth-wise 9x1, depth-wise 1x9
//                            | second . relu(x)                   point-wise alone
//                            | second * x                         skip, `second` one number or 1
//
// with zero padding that keeps the size and no biases. All tensors are NHWC: (batch, ny, nx, channels), `pixel`
// elements from one pixel to the next, so that out may be a slice of the cell's concatenated output.
//
// Backward, one operation at a time, G the gradient of out, t = first * relu(x):
//     d second = sum over pixels of G relu(t)^T,   g = (second^T G) [t > 0],
//     d first = corr(g, relu(x)),   dx = addend + (first^T * g) [x > 0].
// t is computed again. The dense 3x3 convolution at the end of a module, out = residual + w * relu(x), is a point-wise
// product with 9 outputs per output, summed over shifted pixels; its backward pass gathers these shifts of G.
// Weight gradients are summed over bands of kBandRows rows, the bands then in order.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "core/storage.hpp"
#include "rows/separable.hpp"

namespace csmri {

template <class T>
struct SeparableNodeArgs {
  NodeTerm<T> term[kMaxTerms];
  int n_terms;  // 0: out = 0
  T* out;       // (batch, ny, nx, outputs)
  std::int64_t outputs, out_pixel;
  std::int64_t batch, ny, nx;
  bool tf32;  // CUDA: factors of float32 point-wise products may be rounded to tf32
};

constexpr std::int64_t kBandRows = 32;

template <class T>
struct SeparableNodeBackwardArgs {
  NodeTerm<T> term;  // not skip; relu_conv: second is (outputs, channels, 3, 3)
  const T* grad;     // (batch, ny, nx, outputs)
  std::int64_t outputs, grad_pixel;
  const T* addend;  // (batch, ny, nx, channels), or null: 0; may be grad_x
  std::int64_t addend_pixel;
  T* grad_x;  // (batch, ny, nx, channels), or null: not wanted
  std::int64_t grad_x_pixel;
  T* grad_first;   // as term.first, or null
  T* grad_second;  // as term.second; null: no weight gradients are wanted
  std::int64_t batch, ny, nx;
  bool tf32;  // as in SeparableNodeArgs
};

// column_row and skip need channels == outputs.
CSMRI_CPU(separable_node, SeparableNodeArgs)
CSMRI_CPU(separable_node_backward, SeparableNodeBackwardArgs)

// CUDA: T is float, double, BFloat16 or Float16, sums are Sum<T>. Point-wise products of float are as exact as
// float32's, or rounded to tf32 with args.tf32; those of 16-bit types are always made in tf32, which holds what they
// store exactly.
CSMRI_CUDA_WITHOUT_SCRATCH(separable_node, SeparableNodeArgs)
CSMRI_CUDA(separable_node_backward, SeparableNodeBackwardArgs)

}  // namespace csmri

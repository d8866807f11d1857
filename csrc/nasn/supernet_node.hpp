// What the backward pass of a node of NasN's search network has of its own (the rest: separable_node.hpp). On a GPU the
// backward pass of one edge, all its operations together,
//
//     out = sum over terms k of alpha[k] operation_k(x)
//
// with point-wise, depth-wise 3x3 and skip terms (separable_node.hpp), G the gradient of out, t = first * relu(x):
//     P = sum over pixels of G relu(t)^T,   d second = alpha P,   d alpha = <P, second>,
//     g = alpha (second^T G) [t > 0],       d first = corr(g, relu(x)),
//     dx = addend + [x > 0] sum over terms of (first^T * g, or g where there is no first) + alpha G, of skip,
//     d alpha = <G, x> of skip.
// Nothing is computed for the alphas alone, and nothing is divided by them.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "core/storage.hpp"
#include "rows/separable.hpp"

namespace csmri {

template <class T>
struct EdgeTerm {
  Separable operation;  // not column_row, not relu_conv
  const T* alpha;       // one number
  const T* first;       // (channels, 3, 3), or null: pointwise and skip
  const T* second;      // (outputs, channels), or null: skip
  T* grad_alpha;        // one number
  T* grad_first;        // as first
  T* grad_second;       // as second
};

template <class T>
struct SupernetEdgeBackwardArgs {
  EdgeTerm<T> term[kMaxTerms];
  int n_terms;
  const T* x;  // (batch, ny, nx, channels)
  std::int64_t channels, pixel;
  const T* grad;  // (batch, ny, nx, outputs); skip needs channels == outputs
  std::int64_t outputs, grad_pixel;
  const T* addend;  // (batch, ny, nx, channels), or null: 0; may be grad_x
  std::int64_t addend_pixel;
  T* grad_x;  // (batch, ny, nx, channels), or null: not wanted
  std::int64_t grad_x_pixel;
  bool need_weight;  // whether the gradients in `term` are wanted
  std::int64_t batch, ny, nx;
  bool tf32;  // as in SeparableNodeArgs
};

// As the CUDA functions of separable_node.hpp.
CSMRI_CUDA(supernet_edge_backward, SupernetEdgeBackwardArgs)

// On the CPU one operation after the other, skip by this: the backward pass of factor * x,
// grad_x = addend + factor * grad, grad_factor = <grad, x>.
template <class T>
struct ScaledSkipBackwardArgs {
  const T* x;  // (batch, ny, nx, channels)
  std::int64_t channels, pixel;
  const T* factor;  // one number
  const T* grad;    // (batch, ny, nx, channels)
  std::int64_t grad_pixel;
  const T* addend;  // (batch, ny, nx, channels), or null: 0; may be grad_x
  std::int64_t addend_pixel;
  T* grad_x;  // (batch, ny, nx, channels), or null: not wanted
  std::int64_t grad_x_pixel;
  T* grad_factor;  // one number, or null
  std::int64_t batch, ny, nx;
};

CSMRI_CPU(scaled_skip_backward, ScaledSkipBackwardArgs)

}  // namespace csmri

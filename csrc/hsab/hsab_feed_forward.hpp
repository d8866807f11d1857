// Feed-forward layer of a half-shuffle attention block (GA-HQS, HSAB). Per image, with U = 1x1 convolution to `hidden`
// channels, D = depth-wise 3x3 cross-correlation with zero padding, V = 1x1 convolution back, no biases,
//
//     p = U x,   a = gelu(p),   q = D a,   h = gelu(q),   y = V h,      gelu(t) = t (1 + erf(t / sqrt 2)) / 2.
//
// Backward, with G = dy:  dV = G h^T,  dq = gelu'(q) V^T G,  dD = corr(a, dq),  dp = gelu'(p) D^T dq,  dU = dp x^T,
// dx = U^T dp;  p, a, q, h are computed again from x. The hidden tensors, four times as wide as x, are never stored.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "core/storage.hpp"

namespace csmri {

template <class T>
struct HsabFeedForwardArgs {
  const T* x;          // (batch, ny, nx, channels)
  const T* expand;     // U: (hidden, channels)
  const T* depthwise;  // D: (hidden, 3, 3)
  const T* contract;   // V: (channels, hidden)
  T* out;              // (batch, ny, nx, channels)
  std::int64_t batch, ny, nx, channels, hidden;
};

template <class T>
struct HsabFeedForwardBackwardArgs {
  const T* grad_out;   // (batch, ny, nx, channels)
  const T* x;          // (batch, ny, nx, channels)
  const T* expand;     // (hidden, channels)
  const T* depthwise;  // (hidden, 3, 3)
  const T* contract;   // (channels, hidden)
  T* grad_x;           // (batch, ny, nx, channels)
  T* grad_expand;      // as expand
  T* grad_depthwise;   // as depthwise
  T* grad_contract;    // as contract
  std::int64_t batch, ny, nx, channels, hidden;
};

CSMRI_CPU(hsab_feed_forward, HsabFeedForwardArgs)
CSMRI_CPU(hsab_feed_forward_backward, HsabFeedForwardBackwardArgs)

// CUDA: T is float, double, BFloat16 or Float16, sums are Sum<T>.
CSMRI_CUDA_WITHOUT_SCRATCH(hsab_feed_forward, HsabFeedForwardArgs)
CSMRI_CUDA(hsab_feed_forward_backward, HsabFeedForwardBackwardArgs)

}  // namespace csmri

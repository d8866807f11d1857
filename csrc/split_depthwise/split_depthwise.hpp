// Split depth-wise convolution chain (GA-HQS, SDC): the channels are split into S groups S_1 ... S_S,
//
//     B_1 = S_1,   B_2 = d_2 * S_2,   B_i = d_i * (S_i + B_{i-1})   for i = 3 ... S,   out = concat(B_1 ... B_S),
//
// where d_i is a depth-wise 3x3 cross-correlation with zero padding and no bias. Channel j of every group depends on
// channel j of the others only, so the pairs (image, j) are independent: one pair is one task.
//
// Backward, with G_i the gradient that reaches B_i in all:  G_S = dB_S,  dS_i = d_i^T * G_i,  G_{i-1} = dB_{i-1} +
// dS_i, dd_i = corr(U_i, G_i) with U_2 = S_2 and U_i = S_i + B_{i-1}; B comes from the saved output.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "core/storage.hpp"

namespace csmri {

constexpr std::int64_t kMaxSplits = 16;

template <class T>
struct SplitDepthwiseArgs {
  const T* x;       // (batch, splits * channels, ny, nx)
  const T* weight;  // (splits - 1, channels, 3, 3)
  T* out;           // (batch, splits * channels, ny, nx)
  std::int64_t batch, splits, channels, ny, nx;
};

template <class T>
struct SplitDepthwiseBackwardArgs {
  const T* grad_out;    // (batch, splits * channels, ny, nx)
  const T* x;           // (batch, splits * channels, ny, nx)
  const T* out;         // (batch, splits * channels, ny, nx), what the forward pass returned
  const T* weight;      // (splits - 1, channels, 3, 3)
  T* grad_x;            // (batch, splits * channels, ny, nx)
  Sum<T>* grad_weight;  // (batch, splits - 1, channels, 3, 3): one term per image, for the caller to sum in order
  std::int64_t batch, splits, channels, ny, nx;
};

// 2 <= splits <= kMaxSplits.
CSMRI_CPU(split_depthwise, SplitDepthwiseArgs)
CSMRI_CPU(split_depthwise_backward, SplitDepthwiseBackwardArgs)

// CUDA: T is float, double, BFloat16 or Float16.
CSMRI_CUDA_WITHOUT_SCRATCH(split_depthwise, SplitDepthwiseArgs)
CSMRI_CUDA(split_depthwise_backward, SplitDepthwiseBackwardArgs)

}  // namespace csmri

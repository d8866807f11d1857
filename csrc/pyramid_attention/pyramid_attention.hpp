// Pyramid of group convolutions (GA-HQS, PGSA): branches i = 1 ... S read the same input and differ in kernel size and
// groups,
//
//     F_i = conv(x, W_i; kernel k_i x k_i, groups g_i, zero padding (k_i - 1) / 2, no bias),   F = concat(F_1 ... F_S),
//     mean_c = mean over pixels of F_c,   maximum_c = max over pixels of F_c.
//
// The gate sigmoid(MLP(mean) + MLP(maximum)) and the product gate * F follow in torch: 32 numbers and one pass.
// The input is a virtual concatenation x = concat(scale_1 part_1, ...) of up to three tensors, so that no one has to
// copy it.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "core/storage.hpp"

namespace csmri {

constexpr int kMaxParts = 3;
constexpr int kKernelSizes[] = {3, 5, 7, 9};
constexpr int kMaxBranches = 4;

struct PyramidShape {
  std::int64_t batch, ny, nx;
  int n_parts;
  std::int64_t part_channels[kMaxParts];
  int n_branches;
  int kernel[kMaxBranches];  // of kKernelSizes
  std::int64_t groups[kMaxBranches];
  std::int64_t branch_channels;  // outputs of each branch

  std::int64_t in_channels() const {
    std::int64_t sum = 0;
    for (int p = 0; p < n_parts; ++p) sum += part_channels[p];
    return sum;
  }
  std::int64_t out_channels() const { return n_branches * branch_channels; }
};

template <class T>
struct PyramidArgs {
  PyramidShape shape;
  const T* part[kMaxParts];       // each (batch, part_channels, ny, nx)
  const T* scale;                 // (n_parts)
  const T* weight[kMaxBranches];  // each (branch_channels, in_channels / groups, k, k)
  T* features;                    // F, (batch, out_channels, ny, nx)
  T* mean;                        // (batch, out_channels)
  T* maximum;                     // (batch, out_channels)
  std::int64_t* argmax;           // (batch, out_channels), index y * nx + x of the first maximum
};

template <class T>
struct PyramidBackwardArgs {
  PyramidShape shape;
  const T* part[kMaxParts];       // as above
  const T* scale;                 // (n_parts)
  const T* weight[kMaxBranches];  // as above
  const T* grad_features;         // (batch, out_channels, ny, nx)
  const T* grad_mean;             // (batch, out_channels)
  const T* grad_maximum;          // (batch, out_channels)
  const std::int64_t* argmax;     // (batch, out_channels)
  T* grad_x[kMaxParts];           // gradient of scale_p part_p, (batch, part_channels, ny, nx); all null: not wanted
  T* grad_weight[kMaxBranches];   // as weight; all null: not wanted
};

CSMRI_CPU(pyramid_attention, PyramidArgs)
CSMRI_CPU(pyramid_attention_backward, PyramidBackwardArgs)

// CUDA: T is float, double, BFloat16 or Float16. Images of less than 2^31 pixels.
CSMRI_CUDA(pyramid_attention, PyramidArgs)
CSMRI_CUDA(pyramid_attention_backward, PyramidBackwardArgs)

}  // namespace csmri

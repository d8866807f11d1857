// The two halves of the pyramid's backward pass on CUDA, and what they are given. Both form
// dF' = dF + dmean / (ny nx) + [pixel is the argmax] dmaximum while they load dF.
#pragma once
#include "pyramid_attention/cuda_tile.cuh"

namespace csmri {
namespace pyramid {

template <class S>
struct BackwardPass {  // tensors: PyramidBackwardArgs
  Shape shape;
  Storage storage;
  const void* part[kMaxParts];
  const void* scale;
  const void* weight[kMaxBranches];
  const void *grad_features, *grad_mean, *grad_maximum;
  const std::int64_t* argmax;
  void* grad_x[kMaxParts];
  void* grad_weight[kMaxBranches];
  S *packed, *partials;       // grad_x_packed_size and n_partials values of scratch
  PooledGradient<S>* pooled;  // (batch, out_channels)
};

// pyramid_attention_grad_x_cuda.cu
template <class S>
std::int64_t grad_x_packed_size(const Shape& shape);
template <class S>
void launch_grad_x(const BackwardPass<S>& pass, cudaStream_t stream);
// pyramid_attention_grad_weight_cuda.cu
template <class S>
std::int64_t n_partials(const Shape& shape);
template <class S>
void launch_grad_weight(const BackwardPass<S>& pass, cudaStream_t stream);

}  // namespace pyramid
}  // namespace csmri

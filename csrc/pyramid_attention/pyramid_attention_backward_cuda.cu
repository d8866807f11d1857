// Entry point of the pyramid's backward pass on CUDA: gradients of the pooled outputs, then grad_x, then grad_weight.
#include "pyramid_attention/cuda_backward.cuh"

namespace csmri {
namespace {

using namespace pyramid;

template <class S>
__global__ void __launch_bounds__(256) pooled_gradient_kernel(BackwardPass<S> pass) {
  const int i = static_cast<int>(blockIdx.x * 256 + threadIdx.x);
  if (i >= pass.shape.batch * pass.shape.out_channels) return;
  const S pixels = static_cast<S>(pass.shape.ny) * static_cast<S>(pass.shape.nx);
  pass.pooled[i] = {read_value<S>(pass.storage, pass.grad_mean, i) / pixels,
                    read_value<S>(pass.storage, pass.grad_maximum, i), static_cast<int>(pass.argmax[i])};
}

}  // namespace

template <class T>
std::int64_t pyramid_attention_backward_cuda_scratch_bytes(const PyramidBackwardArgs<T>& args) {
  using S = Sum<T>;
  const Shape shape(args.shape, false);
  return (grad_x_packed_size<S>(shape) + n_partials<S>(shape)) * std::int64_t{sizeof(S)} +
         std::int64_t{shape.batch} * shape.out_channels * std::int64_t{sizeof(PooledGradient<S>)};
}

template <class T>
void pyramid_attention_backward_cuda(const PyramidBackwardArgs<T>& args, const Workspace& work) {
  using S = Sum<T>;
  const PyramidShape& s = args.shape;
  bool quads = has_quads(args.grad_features, s.nx);
  for (int p = 0; p < s.n_parts; ++p)
    quads = quads && has_quads(args.part[p], s.nx) && (!args.grad_x[p] || has_quads(args.grad_x[p], s.nx));
  BackwardPass<S> pass{Shape(s, quads),
                       kStorage<T>,
                       {},
                       args.scale,
                       {},
                       args.grad_features,
                       args.grad_mean,
                       args.grad_maximum,
                       args.argmax,
                       {},
                       {},
                       static_cast<S*>(work.scratch),
                       nullptr,
                       nullptr};
  const Shape& shape = pass.shape;
  for (int p = 0; p < shape.n_parts; ++p) pass.part[p] = args.part[p], pass.grad_x[p] = args.grad_x[p];
  for (int i = 0; i < shape.n_branches; ++i) pass.weight[i] = args.weight[i], pass.grad_weight[i] = args.grad_weight[i];
  pass.partials = pass.packed + grad_x_packed_size<S>(shape);
  pass.pooled = reinterpret_cast<PooledGradient<S>*>(pass.partials + n_partials<S>(shape));

  const auto on = static_cast<cudaStream_t>(work.stream);
  launch(pooled_gradient_kernel<S>,
         {dim3(static_cast<unsigned>(ceil_div(shape.batch * shape.out_channels, 256))), dim3(256), 0, on}, pass);
  if (args.grad_x[0]) launch_grad_x(pass, on);
  if (args.grad_weight[0]) launch_grad_weight(pass, on);
}

template void pyramid_attention_backward_cuda<float>(const PyramidBackwardArgs<float>&, const Workspace&);
template std::int64_t pyramid_attention_backward_cuda_scratch_bytes(const PyramidBackwardArgs<float>&);
template void pyramid_attention_backward_cuda<BFloat16>(const PyramidBackwardArgs<BFloat16>&, const Workspace&);
template std::int64_t pyramid_attention_backward_cuda_scratch_bytes(const PyramidBackwardArgs<BFloat16>&);
template void pyramid_attention_backward_cuda<Float16>(const PyramidBackwardArgs<Float16>&, const Workspace&);
template std::int64_t pyramid_attention_backward_cuda_scratch_bytes(const PyramidBackwardArgs<Float16>&);
#ifndef CSMRI_ONLY_FLOAT  // a test may build fewer
template void pyramid_attention_backward_cuda<double>(const PyramidBackwardArgs<double>&, const Workspace&);
template std::int64_t pyramid_attention_backward_cuda_scratch_bytes(const PyramidBackwardArgs<double>&);
#endif

}  // namespace csmri

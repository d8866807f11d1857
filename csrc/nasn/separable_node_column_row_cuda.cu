// CUDA backward kernels of the NasN operation 9x1, 1x9: with u = first * relu(x) along y, G the gradient of the node,
//
//     row_gradient_kernel      g = (second^T * G) [u > 0], and the gradient corr(G, relu(u)) of the row weights
//     column_gradient_kernel   dx = addend + (first^T * g) [x > 0], and the gradient corr(g, relu(x)) of the column
//     weights
//
// A warp walks along its row, or column, a lane a channel, with nine inputs and nine gradients in registers. u is
// computed again: nine loads a pixel, which other rows of the block find in the first-level cache.
//
// Bytes, 32 channels in float32: 384 per pixel in either kernel. Bound by the loads of u (estimate: not measured on a
// GPU). 9 KB of shared memory a block.
#include "core/instantiate.hpp"
#include "nasn/backward.cuh"

namespace csmri {
namespace {

using namespace node;

// For i in [begin, end): write(i, sum over j of taps[j] gradient(i - j + 4), zero where input(i) is not positive), and
// sums[j] += gradient(i) input(i + j - 4).
template <class S, class Input, class Gradient, class F>
__device__ __forceinline__ void slide_9(int begin, int end, const Input& input, const Gradient& gradient,
                                        const S (&taps)[9], S (&sums)[9], const F& write) {
  if (begin >= end) return;
  S inputs[9], gradients[9];
  CSMRI_UNROLL
  for (int j = 1; j < 9; ++j) {
    inputs[j] = input(begin + j - 1 - kRadius);
    gradients[j] = gradient(begin + j - 1 - kRadius);
  }
  for (int i = begin; i < end; ++i) {
    CSMRI_UNROLL
    for (int j = 0; j < 8; ++j) inputs[j] = inputs[j + 1], gradients[j] = gradients[j + 1];
    inputs[8] = input(i + kRadius), gradients[8] = gradient(i + kRadius);
    S back = 0;
    CSMRI_UNROLL
    for (int j = 0; j < 9; ++j) {
      back += taps[8 - j] * gradients[j];
      sums[j] += gradients[kRadius] * inputs[j];
    }
    write(i, inputs[kRadius] > 0 ? back : S(0));
  }
}

// Grid: x, blocks along x; y, chunks of channels.
template <class T>
__global__ void __launch_bounds__(kThreads)
    row_gradient_kernel(SeparableNodeBackwardArgs<T> args, Blocks blocks, Sum<T>* g, Sum<T>* parts) {
  using S = Sum<T>;
  const NodeTerm<T>& term = args.term;
  const int image = blocks.image(), y = blocks.y0() + warp_of_thread(), nx = blocks.nx;
  const int chunk = static_cast<int>(blockIdx.y) * kChunk, channel = chunk + lane_of_thread();
  const Channel<T> x(term.x, term.pixel, image, blocks.ny, nx, channel, term.channels);
  const Channel<T> grad(args.grad, args.grad_pixel, image, blocks.ny, nx, channel, args.outputs);
  S column[9], row[9], sums[9] = {};
  load_taps(column, term.first, channel, x.live);
  load_taps(row, term.second, channel, x.live);
  const auto input = [&](int at) {
    S u = 0;
    if (at >= 0 && at < nx) {
      CSMRI_UNROLL
      for (int j = 0; j < 9; ++j) u += column[j] * relu(x(y + j - kRadius, at));
    }
    return relu(u);
  };
  if (y < blocks.ny)
    slide_9(
        blocks.x0(), blocks.x1(), input, [&](int at) { return grad(y, at); }, row, sums,
        [&](int at, S value) {
          if (x.live) g[((std::int64_t{image} * blocks.ny + y) * nx + at) * term.channels + channel] = value;
        });
  if (parts) leave_taps(sums, parts + std::int64_t{blockIdx.x} * 9 * term.channels, chunk, term.channels);
}

// Grid: x, blocks along y; y, chunks of channels.
template <class T>
__global__ void __launch_bounds__(kThreads)
    column_gradient_kernel(SeparableNodeBackwardArgs<T> args, Blocks blocks, const Sum<T>* g, Sum<T>* parts) {
  using S = Sum<T>;
  const NodeTerm<T>& term = args.term;
  const int image = blocks.image(), at = blocks.x0() + warp_of_thread(), nx = blocks.nx;
  const int chunk = static_cast<int>(blockIdx.y) * kChunk, channel = chunk + lane_of_thread();
  const Channel<T> x(term.x, term.pixel, image, blocks.ny, nx, channel, term.channels);
  const Channel<S> gradient(g, term.channels, image, blocks.ny, nx, channel, term.channels);
  S column[9], sums[9] = {};
  load_taps(column, term.first, channel, x.live);
  if (at < nx)
    slide_9(
        blocks.y0(), blocks.y1(), [&](int y) { return relu(x(y, at)); }, [&](int y) { return gradient(y, at); }, column,
        sums,
        [&](int y, S value) {
          if (args.grad_x && x.live)
            write_grad_x(args, (std::int64_t{image} * blocks.ny + y) * nx + at, channel, value);
        });
  if (parts) leave_taps(sums, parts + std::int64_t{blockIdx.x} * 9 * term.channels, chunk, term.channels);
}

}  // namespace

template <class T>
void node::column_row_backward_cuda(const SeparableNodeBackwardArgs<T>& args, const Workspace& work) {
  const BackwardScratch<T> scratch(args, work.scratch);
  const auto chunks = static_cast<unsigned>(ceil_div(args.term.channels, kChunk));
  const std::size_t shared = 9 * kThreads * sizeof(Sum<T>);
  const Blocks along_x = blocks_along_x(args), along_y = blocks_along_y(args);
  const auto shape = [&](const Blocks& blocks) {
    return LaunchShape{dim3(static_cast<unsigned>(count(blocks, args)), chunks), dim3(kThreads), shared,
                       static_cast<cudaStream_t>(work.stream)};
  };
  launch(row_gradient_kernel<T>, shape(along_x), args, along_x, scratch.g, scratch.second_parts(args));
  launch(column_gradient_kernel<T>, shape(along_y), args, along_y, scratch.g, scratch.first_parts(args));
  if (!args.grad_second) return;
  sum_parts(scratch.first_parts(args), scratch.first_blocks, scratch.first_size, args.grad_first, work.stream);
  sum_parts(scratch.second_parts(args), scratch.second_blocks, scratch.second_size, args.grad_second, work.stream);
}

#define INSTANTIATE(T) \
  template void node::column_row_backward_cuda<T>(const SeparableNodeBackwardArgs<T>&, const Workspace&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

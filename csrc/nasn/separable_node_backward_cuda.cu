// CUDA backward kernels of one NasN operation with depth-wise and point-wise weights, or point-wise ones alone; G is
// the gradient of the node, t = first * relu(x):
//
//     point_gradient_kernel   g = (second^T G) [t > 0], and the point-wise weights' gradient, the sum of G relu(t)^T
//     depth_gradient_kernel   dx = addend + (first^T * g) [x > 0], and the depth-wise weights' gradient corr(g,
//     relu(x)) sum_parts_kernel        adds the blocks' parts of a weight gradient, in order
//
// t is computed again, not saved; g goes through memory once, because dx needs it in a neighbourhood. With point-wise
// weights alone, g with x in the place of t is already dx.
//
// Bytes, 32 channels in float32: 384 per pixel in either kernel (read G and x, write g; read g and x, write dx). Bound
// by DRAM (estimate: not measured on a GPU). 74 KB and 9 KB of shared memory a block.
#include "core/instantiate.hpp"
#include "nasn/backward.cuh"

namespace csmri {
namespace {

using namespace node;

// Grid: x, blocks along x; y, chunks of channels; z, chunks of outputs, each of which makes its part of the weights'
// gradient; the first makes g, or dx where the operation is point-wise alone. g or parts may be null: not wanted.
template <bool kTf32, class T>
__global__ void __launch_bounds__(kThreads)
    point_gradient_kernel(SeparableNodeBackwardArgs<T> args, Blocks blocks, Sum<T>* g, Sum<T>* parts) {
  using S = Sum<T>;
  const NodeTerm<T>& term = args.term;
  const bool pointwise = term.operation == Separable::pointwise;
  const int image = blocks.image(), y = blocks.y0() + warp_of_thread(), nx = blocks.nx;
  const int channels = static_cast<int>(blockIdx.y) * kChunk, outputs = static_cast<int>(blockIdx.z) * kChunk;
  const bool makes_g = outputs == 0 && (pointwise ? args.grad_x != nullptr : g != nullptr);
  S* const tile = dynamic_shared<S>() + warp_of_thread() * 2 * kSquare;
  S* const gradient = tile + kSquare;
  Fragment<S> weights;  // (outputs, channels)
  for (int x0 = blocks.x0(); y < blocks.ny && x0 < blocks.x1(); x0 += kPixels) {
    const auto fill = [&](int first) {
      fill_rows(gradient,
                Channel<T>(args.grad, args.grad_pixel, image, blocks.ny, nx, first + lane_of_thread(), args.outputs), y,
                x0);
    };
    __syncwarp();
    fill_tile(tile, term, image, blocks.ny, nx, channels + lane_of_thread(), y, x0);
    fill(outputs);
    __syncwarp();
    if (parts) add_products<kTf32>(weights, gradient, tile, nx - x0);
    if (!makes_g) continue;
    Fragment<S> back;  // (pixels, channels)
    back_through_point<kTf32>(back, term, static_cast<int>(args.outputs), channels, gradient, fill);
    const std::int64_t first = (std::int64_t{image} * blocks.ny + y) * nx + x0;
    back.each([&](int row, int column, S& sum) {
      const int channel = channels + column;
      if (x0 + row >= nx || channel >= term.channels) return;
      const S value = tile[row * kPitch + column] > 0 ? sum : S(0);
      if (pointwise)
        write_grad_x(args, first + row, channel, value);
      else
        g[(first + row) * term.channels + channel] = value;
    });
  }
  if (!parts) return;
  leave_products(weights, [&](int row, int column, S sum) {
    const int output = outputs + row, channel = channels + column;
    if (output < args.outputs && channel < term.channels)
      parts[(std::int64_t{blockIdx.x} * args.outputs + output) * term.channels + channel] = sum;
  });
}

// Grid: x, blocks along x; y, chunks of channels.
template <int kDilation, class T>
__global__ void __launch_bounds__(kThreads)
    depth_gradient_kernel(SeparableNodeBackwardArgs<T> args, Blocks blocks, const Sum<T>* g, Sum<T>* parts) {
  using S = Sum<T>;
  const NodeTerm<T>& term = args.term;
  const int image = blocks.image(), y = blocks.y0() + warp_of_thread();
  const int chunk = static_cast<int>(blockIdx.y) * kChunk, channel = chunk + lane_of_thread();
  const Channel<T> x(term.x, term.pixel, image, blocks.ny, blocks.nx, channel, term.channels);
  const Channel<S> gradient(g, term.channels, image, blocks.ny, blocks.nx, channel, term.channels);
  S taps[9], sums[9] = {};
  load_taps(taps, term.first, channel, x.live);
  if (y < blocks.ny)
    slide_gradients(x, gradient, taps, sums, kDilation, y, blocks.x0(), blocks.x1(), [&](int column, S value) {
      if (args.grad_x && x.live)
        write_grad_x(args, (std::int64_t{image} * blocks.ny + y) * blocks.nx + column, channel, value);
    });
  if (parts) leave_taps(sums, parts + std::int64_t{blockIdx.x} * 9 * term.channels, chunk, term.channels);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    sum_parts_kernel(const Sum<T>* parts, std::int64_t blocks, std::int64_t size, T* gradient) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= size) return;
  double sum = 0;
  for (std::int64_t block = 0; block < blocks; ++block) sum += parts[block * size + i];
  gradient[i] = narrow<T>(static_cast<Sum<T> >(sum));
}

}  // namespace

template <class T>
void node::sum_parts(const Sum<T>* parts, std::int64_t blocks, std::int64_t size, T* gradient, void* stream) {
  launch(sum_parts_kernel<T>,
         {dim3(static_cast<unsigned>(ceil_div(size, kThreads))), dim3(kThreads), 0, static_cast<cudaStream_t>(stream)},
         parts, blocks, size, gradient);
}

template <class T>
std::int64_t separable_node_backward_cuda_scratch_bytes(const SeparableNodeBackwardArgs<T>& args) {
  return BackwardScratch<T>(args).bytes();
}

template <class T>
void separable_node_backward_cuda(const SeparableNodeBackwardArgs<T>& args, const Workspace& work) {
  using S = Sum<T>;
  if (args.term.operation == Separable::column_row) return column_row_backward_cuda(args, work);
  if (args.term.operation == Separable::relu_conv) return relu_conv_backward_cuda(args, work);
  const bool pointwise = args.term.operation == Separable::pointwise;
  const BackwardScratch<T> scratch(args, work.scratch);
  const Blocks blocks = blocks_along_x(args);
  const auto n_blocks = static_cast<unsigned>(count(blocks, args));
  const auto chunks = static_cast<unsigned>(ceil_div(args.term.channels, kChunk));
  const auto grids = static_cast<unsigned>(scratch.second_parts(args) ? ceil_div(args.outputs, kChunk) : 1);
  const auto queue = static_cast<cudaStream_t>(work.stream);
  const LaunchShape shape{dim3(n_blocks, chunks, grids), dim3(kThreads), 2 * kWarps * kSquare * sizeof(S), queue};
  with_products<T>(args.tf32, [&](auto tf32) {
    launch(point_gradient_kernel<tf32(), T>, shape, args, blocks, pointwise ? static_cast<S*>(nullptr) : scratch.g,
           scratch.second_parts(args));
  });
  const auto depthwise = [&](auto kernel) {
    launch(kernel, {dim3(n_blocks, chunks), dim3(kThreads), 9 * kThreads * sizeof(S), queue}, args, blocks, scratch.g,
           scratch.first_parts(args));
  };
  if (args.term.operation == Separable::dilation1) depthwise(depth_gradient_kernel<1, T>);
  if (args.term.operation == Separable::dilation2) depthwise(depth_gradient_kernel<2, T>);
  if (args.term.operation == Separable::dilation3) depthwise(depth_gradient_kernel<3, T>);
  if (!args.grad_second) return;
  if (!pointwise)
    sum_parts(scratch.first_parts(args), scratch.first_blocks, scratch.first_size, args.grad_first, work.stream);
  sum_parts(scratch.second_parts(args), scratch.second_blocks, scratch.second_size, args.grad_second, work.stream);
}

#define INSTANTIATE(T)                                                                                   \
  template void separable_node_backward_cuda<T>(const SeparableNodeBackwardArgs<T>&, const Workspace&);  \
  template std::int64_t separable_node_backward_cuda_scratch_bytes(const SeparableNodeBackwardArgs<T>&); \
  template void node::sum_parts<T>(const Sum<T>*, std::int64_t, std::int64_t, T*, void*);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

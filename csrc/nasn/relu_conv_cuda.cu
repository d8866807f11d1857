// CUDA kernels of the dense 3x3 convolution with few outputs, out = residual + w * relu(x), G the gradient of out:
//
//     relu_conv_kernel            out
//     relu_conv_gradient_kernel   dx = addend + (w^T * G) [x > 0] and, in the same pass, corr(G, relu(x))
//
// A lane is a channel, as in the depth-wise kernels: x is read in lines of 128 bytes, and the rows around a warp's own
// are found in the first-level cache. Forward, a lane adds up its channels for 8 pixels and 2 outputs, then the warp
// adds its lanes: 16 shuffles leave 16 lanes one finished value each, side by side in memory. Backward, the window of G
// around a pixel serves both gradients.
//
// Bytes, 96 channels and 2 outputs in float32: forward 400 per pixel (read x and residual, write out), backward 776
// (read x and G, write dx). 3.5 and 6.9 kflop per pixel, in float32 multiply-adds: at 67 Tflop/s half the time that
// the bytes take at 3.3 TB/s. Bound by DRAM (estimate: not measured on a GPU). 9 KB of shared memory a block, backward.
#include "core/instantiate.hpp"
#include "nasn/backward.cuh"
#include "nasn/relu_conv.hpp"

namespace csmri {
namespace {

using namespace node;

constexpr int kRun = 8, kPair = 2, kSums = kRun * kPair;  // pixels and outputs that a warp makes at once
constexpr int kAcross = 2 * kRun;                         // pixels of a warp
static_assert(kSums == 16);

// What lanes i and i + 16 get: the sum over all lanes of sums[i].
template <class S>
__device__ __forceinline__ S sum_over_lanes(S (&sums)[kSums]) {
  CSMRI_UNROLL
  for (int half = kSums / 2; half > 0; half /= 2) {
    const bool upper = lane_of_thread() & half;
    CSMRI_UNROLL
    for (int i = 0; i < half; ++i) {
      const S given = upper ? sums[i] : sums[i + half], kept = upper ? sums[i + half] : sums[i];
      sums[i] = kept + __shfl_xor_sync(0xffffffffu, given, half);
    }
  }
  return sums[0] + __shfl_xor_sync(0xffffffffu, sums[0], kSums);
}

// Grid: x, blocks of kWarps rows by kAcross columns, image after image; y, pairs of outputs.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks<Sum<T> >) relu_conv_kernel(ReluConvArgs<T> args) {
  using S = Sum<T>;
  const int ny = static_cast<int>(args.ny), nx = static_cast<int>(args.nx), outputs = static_cast<int>(args.outputs);
  const int across = ceil_div(nx, kAcross), down = ceil_div(ny, kWarps), block = static_cast<int>(blockIdx.x);
  const int image = block / (across * down), begin = block % across * kAcross;
  const int y = block / across % down * kWarps + warp_of_thread(), first = static_cast<int>(blockIdx.y) * kPair;
  if (y >= ny) return;
  CSMRI_DEVICE_LOOP
  for (int x0 = begin; x0 < begin + kAcross && x0 < nx; x0 += kRun) {
    S sums[kSums] = {};
    CSMRI_DEVICE_LOOP
    for (int c = 0; c < args.channels; c += kChunk) {
      const int channel = c + lane_of_thread();
      const Channel<T> x(args.x, args.pixel, image, ny, nx, channel, args.channels);
      S taps[kPair][9], window[3][3];
      CSMRI_UNROLL
      for (int o = 0; o < kPair; ++o)
        load_taps(taps[o], args.weight + (first + o) * args.channels * 9, channel, x.live && first + o < outputs);
      const auto load_column = [&](int kx, int column) {
        CSMRI_UNROLL
        for (int ky = 0; ky < 3; ++ky) window[ky][kx] = relu(x(y + ky - 1, column));
      };
      load_column(1, x0 - 1);
      load_column(2, x0);
      CSMRI_UNROLL
      for (int i = 0; i < kRun; ++i) {
        CSMRI_UNROLL
        for (int ky = 0; ky < 3; ++ky) window[ky][0] = window[ky][1], window[ky][1] = window[ky][2];
        load_column(2, x0 + i + 1);
        CSMRI_UNROLL
        for (int o = 0; o < kPair; ++o) sums[kPair * i + o] += weigh(window, taps[o]);
      }
    }
    S value = sum_over_lanes(sums);
    const int lane = lane_of_thread(), column = x0 + lane / kPair, output = first + lane % kPair;
    if (lane >= kSums || column >= nx || output >= outputs) continue;
    const std::int64_t at = (std::int64_t{image} * ny + y) * nx + column;
    if (args.residual) value += widen(args.residual[at * args.residual_pixel + output]);
    args.out[at * args.out_pixel + output] = narrow<T>(value);
  }
}

// Grid: x, blocks along x; y, chunks of channels; z, pairs of outputs, each of which makes its part of the weights'
// gradient; the first makes dx. parts may be null: not wanted.
template <class T>
__global__ void __launch_bounds__(kThreads)
    relu_conv_gradient_kernel(SeparableNodeBackwardArgs<T> args, Blocks blocks, Sum<T>* parts) {
  using S = Sum<T>;
  const NodeTerm<T>& term = args.term;
  const int image = blocks.image(), y = blocks.y0() + warp_of_thread(), outputs = static_cast<int>(args.outputs);
  const int chunk = static_cast<int>(blockIdx.y) * kChunk, channel = chunk + lane_of_thread();
  const int first = static_cast<int>(blockIdx.z) * kPair;
  const Channel<T> x(term.x, term.pixel, image, blocks.ny, blocks.nx, channel, term.channels);
  const auto gradient = [&](int output, int row, int column) {
    return Channel<T>(args.grad, args.grad_pixel, image, blocks.ny, blocks.nx, output, outputs)(row, column);
  };
  S taps[kPair][9], sums[kPair][9] = {}, window[kPair][3][3];
  CSMRI_UNROLL
  for (int o = 0; o < kPair; ++o)
    load_taps(taps[o], term.second + (first + o) * term.channels * 9, channel, x.live && first + o < outputs);
  const auto load_column = [&](int kx, int column) {
    CSMRI_UNROLL
    for (int i = 0; i < 3 * kPair; ++i) window[i / 3][i % 3][kx] = gradient(first + i / 3, y + i % 3 - 1, column);
  };
  if (y < blocks.ny) {
    load_column(1, blocks.x0() - 1);
    load_column(2, blocks.x0());
    for (int column = blocks.x0(); column < blocks.x1(); ++column) {
      CSMRI_UNROLL
      for (int i = 0; i < 3 * kPair; ++i) {
        S(&row)[3] = window[i / 3][i % 3];
        row[0] = row[1], row[1] = row[2];
      }
      load_column(2, column + 1);
      const S input = relu(x(y, column));
      S back = 0;
      CSMRI_UNROLL
      for (int i = 0; i < 9 * kPair; ++i) {
        const S g = window[i / 9][i % 9 / 3][i % 3];
        back += taps[i / 9][8 - i % 9] * g;
        sums[i / 9][8 - i % 9] += g * input;
      }
      if (first > 0 || !args.grad_x || !x.live) continue;
      CSMRI_DEVICE_LOOP
      for (int output = kPair; output < outputs; ++output) {
        const T* const weight = term.second + (output * term.channels + channel) * 9;
        for (int i = 0; i < 9; ++i) back += widen(weight[8 - i]) * gradient(output, y + i / 3 - 1, column + i % 3 - 1);
      }
      const std::int64_t pixel = (std::int64_t{image} * blocks.ny + y) * blocks.nx + column;
      write_grad_x(args, pixel, channel, input > 0 ? back : S(0));
    }
  }
  if (!parts) return;
  for (int o = 0; o < kPair && first + o < outputs; ++o) {
    if (o > 0) __syncthreads();  // shared memory is read by then
    leave_taps(sums[o], parts + (std::int64_t{blockIdx.x} * outputs + first + o) * 9 * term.channels, chunk,
               term.channels);
  }
}

}  // namespace

template <class T>
void relu_conv_cuda(const ReluConvArgs<T>& args, const Workspace& work) {
  const std::int64_t blocks = args.batch * ceil_div(args.ny, kWarps) * ceil_div(args.nx, kAcross);
  launch(relu_conv_kernel<T>,
         {dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(ceil_div(args.outputs, kPair))), dim3(kThreads), 0,
          static_cast<cudaStream_t>(work.stream)},
         args);
}

template <class T>
void node::relu_conv_backward_cuda(const SeparableNodeBackwardArgs<T>& args, const Workspace& work) {
  const BackwardScratch<T> scratch(args, work.scratch);
  const Blocks blocks = blocks_along_x(args);
  Sum<T>* const parts = scratch.second_parts(args);
  const auto pairs = static_cast<unsigned>(parts ? ceil_div(args.outputs, kPair) : 1);
  launch(relu_conv_gradient_kernel<T>,
         {dim3(static_cast<unsigned>(count(blocks, args)), static_cast<unsigned>(ceil_div(args.term.channels, kChunk)),
               pairs),
          dim3(kThreads), 9 * kThreads * sizeof(Sum<T>), static_cast<cudaStream_t>(work.stream)},
         args, blocks, parts);
  if (parts) sum_parts(parts, scratch.second_blocks, scratch.second_size, args.grad_second, work.stream);
}

#define INSTANTIATE(T)                                                       \
  template void relu_conv_cuda<T>(const ReluConvArgs<T>&, const Workspace&); \
  template void node::relu_conv_backward_cuda<T>(const SeparableNodeBackwardArgs<T>&, const Workspace&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

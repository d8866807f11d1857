// CUDA backward kernels of the split depth-wise chain. A block owns one tile of one channel and goes up the chain, from
// the last convolution of a pass to its first, with the gradients G in shared memory as the forward kernel has U:
//
//     dU_i = d_i^T * G_i  goes to grad_x and, added to grad_out of the group before, becomes G_{i-1};
//     dd_i = corr(U_i, G_i) over the tile: nine sums per thread, added up in the block, one partial result per tile.
//
// U_i = S_i + B_{i-1} comes from the saved output. A second kernel adds the tiles' partial results in a fixed order.
//
// Bytes: 16 per element of x in float32 (read grad_out, x, out; write grad_x), and the rings. Bound by DRAM (estimate:
// not measured on a GPU). 61 KB of shared memory: 3 blocks on a multiprocessor.
#include "core/instantiate.hpp"
#include "split_depthwise/chain_tile.cuh"

namespace csmri {
namespace {

using namespace chain;

constexpr int kWarps = kThreads / 32;
static_assert(tile_size(1) >= 9 * kThreads, "a tile of U, once used, holds the threads' sums");

// sums[3 ky + kx] = sum over the thread's part of the tile of g(y, x) u(y + ky - 1, x + kx - 1). u has one ring.
template <class S>
__device__ __forceinline__ void correlate(const S* u, const S* g, int rings_of_g, S (&sums)[9]) {
  const Strip strip(kRows, kColumns);
  const S* gradient = g + rings_of_g * kPitch + kMargin + strip.column;
  CSMRI_DEVICE_UNROLL
  for (int i = 0; i < 9; ++i) sums[i] = 0;
  slide(strip, u + kMargin + strip.column - 1, [&](int r, const auto& window) {
    const S value = gradient[r * kPitch];
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 9; ++i) sums[i] += value * window(i / 3, i % 3);
  });
}

// partials: (batch, convs, channels, 9, tiles).
template <class T>
__global__ void __launch_bounds__(kThreads)
    chain_backward_kernel(SplitDepthwiseBackwardArgs<T> args, Sum<T>* partials, Pass pass) {
  using S = Sum<T>;
  const Place place(pass);
  const int n = pass.n, last = pass.first + n - 1;
  S* const g = dynamic_shared<S>();   // tile i: G of convolution last - i, with n - i rings
  S* const u = g + tile_start(n, n);  // tile i: U of convolution last - i, with one ring
  const auto plane = [&](const T* tensor, int group) { return tensor + place.plane(pass, group); };

  for (int i = 0; i < n; ++i) {
    const int conv = last - i;
    // The gradient that the convolution after passes on comes from shared memory, or from the pass before.
    const T* more = i == 0 && last + 1 < pass.convs ? plane(args.grad_x, last + 2) : nullptr;
    load_tile(g + tile_start(n, i), n - i, plane(args.grad_out, conv + 1), more, pass, place);
    load_tile(u + i * tile_size(1), 1, plane(args.x, conv + 1), conv > 0 ? plane(args.out, conv) : nullptr, pass,
              place);
  }
  copy_async_commit();
  if (pass.first == 0) copy_plane(plane(args.grad_out, 0), args.grad_x + place.plane(pass, 0), pass, place);
  copy_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < n; ++i) {
    const std::int64_t conv = last - i;
    S sums[9];
    correlate(u + i * tile_size(1), g + tile_start(n, i), n - i, sums);
    convolve<true>(g + tile_start(n, i), n - i - 1, args.weight + (conv * pass.channels + place.channel) * 9,
                   i + 1 < n ? g + tile_start(n, i + 1) : nullptr, args.grad_x + place.plane(pass, last - i + 1), pass,
                   place);
    __syncthreads();
    CSMRI_DEVICE_UNROLL
    for (int j = 0; j < 9; ++j) u[i * tile_size(1) + j * kThreads + threadIdx.x] = sums[j];
  }
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int tiles = pass.tiles_y * pass.tiles_x;
  for (int i = warp; i < 9 * n; i += kWarps) {
    const S* of_threads = u + i / 9 * tile_size(1) + i % 9 * kThreads;
    S sum = 0;
    CSMRI_DEVICE_UNROLL
    for (int j = 0; j < kWarps; ++j) sum += of_threads[32 * j + lane];
    CSMRI_DEVICE_UNROLL
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    const std::int64_t plane_of_sum = (place.image * pass.convs + last - i / 9) * pass.channels + place.channel;
    if (lane == 0) partials[(plane_of_sum * 9 + i % 9) * tiles + place.tile] = sum;
  }
}

// sums[i] = sum of partials (n, tiles) over the tiles, one warp each.
template <class S>
__global__ void __launch_bounds__(kThreads) sum_tiles_kernel(const S* partials, S* sums, std::int64_t n, int tiles) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (i >= n) return;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  double sum = 0;
  for (int tile = lane; tile < tiles; tile += 32) sum += partials[i * tiles + tile];
  CSMRI_DEVICE_UNROLL
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (lane == 0) sums[i] = static_cast<S>(sum);
}

}  // namespace

template <class T>
void split_depthwise_backward_cuda(const SplitDepthwiseBackwardArgs<T>& args, const Workspace& work) {
  Pass pass = pass_of(args, has_quads(args.grad_out, args.nx) && has_quads(args.x, args.nx) &&
                                has_quads(args.out, args.nx) && has_quads(args.grad_x, args.nx));
  for (int left = pass.convs; left > 0; left = pass.first) {
    pass.n = left < kMaxConvs ? left : kMaxConvs;
    pass.first = left - pass.n;
    launch(
        chain_backward_kernel<T>,
        {dim3(static_cast<unsigned>(pass.blocks(args.batch))), dim3(kThreads),
         (tile_start(pass.n, pass.n) + pass.n * tile_size(1)) * sizeof(Sum<T>), static_cast<cudaStream_t>(work.stream)},
        args, static_cast<Sum<T>*>(work.scratch), pass);
  }
  const std::int64_t n = args.batch * pass.convs * pass.channels * 9;
  launch(sum_tiles_kernel<Sum<T> >,
         {dim3(static_cast<unsigned>((n + kWarps - 1) / kWarps)), dim3(kThreads), 0,
          static_cast<cudaStream_t>(work.stream)},
         static_cast<const Sum<T>*>(work.scratch), args.grad_weight, n, pass.tiles_y * pass.tiles_x);
}

template <class T>
std::int64_t split_depthwise_backward_cuda_scratch_bytes(const SplitDepthwiseBackwardArgs<T>& args) {
  const Pass pass = pass_of(args, false);
  return args.batch * pass.convs * pass.channels * 9 * pass.tiles_y * pass.tiles_x * std::int64_t{sizeof(Sum<T>)};
}

#define INSTANTIATE(T)                                                                                 \
  template void split_depthwise_backward_cuda(const SplitDepthwiseBackwardArgs<T>&, const Workspace&); \
  template std::int64_t split_depthwise_backward_cuda_scratch_bytes(const SplitDepthwiseBackwardArgs<T>&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

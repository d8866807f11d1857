// CUDA forward kernel of the split depth-wise chain. A block owns one tile of one channel in all groups of a pass: it
// loads the tile of every group, with as many rings as convolutions follow, and goes down the chain in shared memory.
//
// Bytes: 8 per element of x in float32 (read x, write out), and 1.3, 1.2, 1.1 times the reads of the second to fourth
// group for the rings, mostly from the second-level cache; 18 flop per element. Bound by DRAM (estimate: not measured
// on a GPU). 31 KB of shared memory and 64 registers: 4 blocks on a multiprocessor.
#include "core/instantiate.hpp"
#include "split_depthwise/chain_tile.cuh"

namespace csmri {
namespace {

using namespace chain;

template <class T>
__global__ void __launch_bounds__(kThreads)
    chain_kernel(const T* x, const T* weight, T* out, Pass pass) {  // shapes: SplitDepthwiseArgs
  Sum<T>* const tiles = dynamic_shared<Sum<T> >();                  // tile i: input of convolution first + i
  const Place place(pass);
  const auto in = [&](int group) { return x + place.plane(pass, group); };
  const auto result = [&](int group) { return out + place.plane(pass, group); };

  for (int i = 0; i < pass.n; ++i) {
    // The output of the group before comes from the convolution before, or from the pass before.
    const T* other = i == 0 && pass.first > 0 ? result(pass.first) : nullptr;
    load_tile(tiles + tile_start(pass.n, i), pass.n - i, in(pass.first + i + 1), other, pass, place);
  }
  copy_async_commit();
  if (pass.first == 0) copy_plane(in(0), result(0), pass, place);
  copy_async_wait<0>();
  __syncthreads();
  for (int i = 0; i < pass.n; ++i) {
    const std::int64_t conv = pass.first + i;
    Sum<T>* const next = i + 1 < pass.n ? tiles + tile_start(pass.n, i + 1) : nullptr;
    convolve<false>(tiles + tile_start(pass.n, i), pass.n - i - 1, weight + (conv * pass.channels + place.channel) * 9,
                    next, result(pass.first + i + 1), pass, place);
    __syncthreads();
  }
}

}  // namespace

template <class T>
void split_depthwise_cuda(const SplitDepthwiseArgs<T>& args, const Workspace& work) {
  Pass pass = pass_of(args, has_quads(args.x, args.nx) && has_quads(args.out, args.nx));
  for (; pass.first < pass.convs; pass.first += pass.n) {
    pass.n = pass.convs - pass.first < kMaxConvs ? pass.convs - pass.first : kMaxConvs;
    launch(chain_kernel<T>,
           {dim3(static_cast<unsigned>(pass.blocks(args.batch))), dim3(kThreads),
            tile_start(pass.n, pass.n) * sizeof(Sum<T>), static_cast<cudaStream_t>(work.stream)},
           args.x, args.weight, args.out, pass);
  }
}

#define INSTANTIATE(T) template void split_depthwise_cuda<T>(const SplitDepthwiseArgs<T>&, const Workspace&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

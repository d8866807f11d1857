// CUDA forward kernel of a NasN node. A warp makes 32 pixels of a row, 32 outputs, of all terms of the node in the same
// 32 sums per lane: it filters 32 channels into a tile of its own in shared memory and multiplies the tile by the
// point-wise weights on tensor cores, chunk of channels after chunk, term after term. Only the sum goes to memory.
//
// Bytes, 32 channels in float32: 128 per pixel and distinct input, 128 per pixel of output; the rows around a block's
// 8 x 32 pixels are read again, from the second-level cache (1.3 to 2.1 times the input for dilations 1 to 3). 2.6
// kflop per pixel and term, of which the 2 kflop of the point-wise product are made on tensor cores, in one pass or in
// three. Bound by DRAM (estimate: not measured on a GPU). 46 KB of shared memory a block.
#include "core/instantiate.hpp"
#include "nasn/separable_node.hpp"
#include "rows/warp_rows.cuh"

namespace csmri {
namespace {

using namespace node;

// What column_row and skip add to outputs chunk, chunk + 1, ...: their own channels.
template <class T>
__device__ __forceinline__ void add_depthwise(Fragment<Sum<T> >& result, const NodeTerm<T>& term, const Sum<T>* tile,
                                              int chunk) {
  using S = Sum<T>;
  const bool skip = term.operation == Separable::skip;
  const S factor = skip && term.second ? widen(*term.second) : S(1);
  CSMRI_DEVICE_LOOP
  for (int j = 0; j < (skip ? 1 : 9); ++j)
    result.each([&](int row, int column, S& sum) {
      const int channel = chunk + column;
      if (channel < term.channels)
        sum += (skip ? factor : widen(term.second[channel * 9 + j])) * tile[(row + j) * kPitch + column];
    });
}

// Grid: x, blocks of kWarps rows by kPixels columns, image after image; y, chunks of outputs.
template <bool kTf32, class T>
__global__ void __launch_bounds__(kThreads, kBlocks<Sum<T> >) node_kernel(SeparableNodeArgs<T> args) {
  using S = Sum<T>;
  const int ny = static_cast<int>(args.ny), nx = static_cast<int>(args.nx);
  const int across = ceil_div(nx, kPixels), down = ceil_div(ny, kWarps), block = static_cast<int>(blockIdx.x);
  const int image = block / (across * down), x0 = block % across * kPixels;
  const int y = block / across % down * kWarps + warp_of_thread(), chunk = static_cast<int>(blockIdx.y) * kChunk;
  const int outputs = static_cast<int>(args.outputs);
  if (y >= ny) return;
  S* const tile = dynamic_shared<S>() + warp_of_thread() * kTile;
  Fragment<S> result;
  for (int i = 0; i < args.n_terms; ++i) {
    const NodeTerm<T>& term = args.term[i];
    const bool own_channels = term.operation == Separable::column_row || term.operation == Separable::skip;
    const int begin = own_channels ? chunk : 0;
    const int end = own_channels ? chunk + kChunk : static_cast<int>(term.channels);
    for (int c = begin; c < end; c += kChunk) {
      __syncwarp();
      fill_tile(tile, term, image, ny, nx, c + lane_of_thread(), y, x0);
      __syncwarp();
      if (own_channels)
        add_depthwise(result, term, tile, chunk);
      else
        result.template multiply<kTf32>(
            [&](int row, int k) { return tile[row * kPitch + k]; },
            [&](int k, int column) { return point_weight(term, outputs, chunk + column, c + k); });
    }
  }
  T* const out = args.out + ((std::int64_t{image} * ny + y) * nx + x0) * args.out_pixel + chunk;
  result.each([&](int row, int column, S& sum) {
    if (x0 + row < nx && chunk + column < outputs) out[row * args.out_pixel + column] = narrow<T>(sum);
  });
}

}  // namespace

template <class T>
void separable_node_cuda(const SeparableNodeArgs<T>& args, const Workspace& work) {
  const std::int64_t blocks = args.batch * ceil_div(args.ny, kWarps) * ceil_div(args.nx, kPixels);
  const LaunchShape shape{dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(ceil_div(args.outputs, kChunk))),
                          dim3(kThreads), kWarps * kTile * sizeof(Sum<T>), static_cast<cudaStream_t>(work.stream)};
  with_products<T>(args.tf32, [&](auto tf32) { launch(node_kernel<tf32(), T>, shape, args); });
}

#define INSTANTIATE(T) template void separable_node_cuda<T>(const SeparableNodeArgs<T>&, const Workspace&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

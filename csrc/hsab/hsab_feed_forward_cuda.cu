// CUDA forward kernel. A block makes 6 x 30 pixels of up to 64 outputs, 32 hidden channels after the other: eight warps
// multiply U with a row of 32 pixels each (the block's pixels and their border), gelu into shared memory; after a
// barrier six warps filter a row of 30 pixels, a lane a channel, gelu into a tile of their own, and multiply V with it
// into sums that stay in registers. Only y goes to memory.
//
// Bytes, float32: 4 channels per pixel each way; x again, from the caches, for the border (1.4 times) and for every 32
// hidden channels. Per pixel and hidden channel 4 flop for each channel, in three tensor-core products (as exact as
// float32's, whatever torch allows), and 18; all but V again for every 64 outputs beyond the first. Bound by arithmetic
// (estimate: not measured on a GPU). 65 KB of shared memory a block in float32, 130 KB in float64.
#include "core/device_prims.cuh"
#include "core/instantiate.hpp"
#include "core/warp_fragment.cuh"
#include "hsab/gelu.cuh"
#include "hsab/hsab_feed_forward.hpp"

namespace csmri {
namespace {

using namespace hsab;
using namespace warp;

constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kChunk = 32;                           // channels that are multiplied together
constexpr int kRows = kWarps - 2, kPixels = 32 - 2;  // of y, per block
template <class S>
constexpr int kGroups = sizeof(S) == 4 ? 2 : 1;  // chunks of outputs per block
constexpr int kPitch = kChunk + 4;               // of tiles; 32 banks: fragments are read without conflicts
constexpr int kRow = 32 * kPitch;                // elements of a row of a tile
constexpr int kShared = (kWarps + kRows) * kRow;

// rows[row][column] at w[row * columns + column], zero where either does not exist.
template <class T>
__device__ __forceinline__ Sum<T> weight(const T* w, std::int64_t rows, std::int64_t columns, std::int64_t row,
                                         std::int64_t column) {
  return row < rows && column < columns ? widen(w[row * columns + column]) : Sum<T>(0);
}

// Grid: x, blocks of kRows by kPixels pixels, image after image; y, kGroups chunks of outputs.
template <class T>
__global__ void __launch_bounds__(kThreads) feed_forward_kernel(HsabFeedForwardArgs<T> args) {
  using S = Sum<T>;
  const std::int64_t channels = args.channels, hidden = args.hidden;
  const int ny = static_cast<int>(args.ny), nx = static_cast<int>(args.nx);
  const int across = (nx + kPixels - 1) / kPixels, down = (ny + kRows - 1) / kRows;
  const int block = static_cast<int>(blockIdx.x), warp = warp_of_thread(), lane = lane_of_thread();
  const int x0 = block % across * kPixels, y0 = block / across % down * kRows;
  const std::int64_t image = std::int64_t{block / (across * down)} * ny * nx;
  const int first = static_cast<int>(blockIdx.y) * kGroups<S> * kChunk;  // output

  S* const activations = dynamic_shared<S>();  // (kWarps rows, 32 pixels, kPitch) from pixel (y0 - 1, x0 - 1) on
  S* const own = activations + kWarps * kRow + warp * kRow;  // of the first kRows warps: h of row y0 + warp
  const auto inside = [&](int y, int x) { return y >= 0 && y < ny && x >= 0 && x < nx; };
  const int border_y = y0 - 1 + warp;
  Fragment<S> result[kGroups<S>];

  for (std::int64_t k0 = 0; k0 < hidden; k0 += kChunk) {
    {
      Fragment<S> p;
      for (std::int64_t c0 = 0; c0 < channels; c0 += kChunk)
        p.template multiply<false>(
            [&](int row, int k) {
              const int x = x0 - 1 + row;
              if (!inside(border_y, x) || c0 + k >= channels) return S(0);
              return S(widen(args.x[(image + std::int64_t{border_y} * nx + x) * channels + c0 + k]));
            },
            [&](int k, int column) { return weight(args.expand, hidden, channels, k0 + column, c0 + k); });
      p.each([&](int row, int column, S& sum) {  // outside the image gelu(0) = 0
        activations[warp * kRow + row * kPitch + column] = gelu(sum);
      });
    }
    __syncthreads();
    if (warp < kRows) {
      S taps[9];
      CSMRI_UNROLL
      for (int i = 0; i < 9; ++i) taps[i] = weight(args.depthwise, hidden, 9, k0 + lane, i);
      const S* const from = activations + warp * kRow + lane;
      CSMRI_DEVICE_LOOP
      for (int x = 0; x < 32; ++x) {
        S sum = 0;
        if (x < kPixels) {
          CSMRI_UNROLL
          for (int i = 0; i < 9; ++i) sum += taps[i] * from[i / 3 * kRow + (x + i % 3) * kPitch];
        }
        own[x * kPitch + lane] = gelu(sum);
      }
      __syncwarp();
      CSMRI_UNROLL
      for (int g = 0; g < kGroups<S>; ++g) {
        if (first + g * kChunk >= channels) break;
        result[g].template multiply<false>([&](int row, int k) { return own[row * kPitch + k]; },
                                           [&](int k, int column) {
                                             return weight(args.contract, channels, hidden, first + g * kChunk + column,
                                                           k0 + k);
                                           });
      }
    }
    __syncthreads();
  }
  if (warp >= kRows) return;
  CSMRI_UNROLL
  for (int g = 0; g < kGroups<S>; ++g)
    result[g].each([&](int row, int column, S& sum) {
      const int y = y0 + warp, x = x0 + row, channel = first + g * kChunk + column;
      if (row < kPixels && y < ny && x < nx && channel < channels)
        args.out[(image + std::int64_t{y} * nx + x) * channels + channel] = narrow<T>(sum);
    });
}

}  // namespace

template <class T>
void hsab_feed_forward_cuda(const HsabFeedForwardArgs<T>& args, const Workspace& work) {
  const std::int64_t down = (args.ny + kRows - 1) / kRows, across = (args.nx + kPixels - 1) / kPixels;
  const std::int64_t outputs = kGroups<Sum<T>> * kChunk, groups = (args.channels + outputs - 1) / outputs;
  launch(feed_forward_kernel<T>,
         {dim3(static_cast<unsigned>(args.batch * down * across), static_cast<unsigned>(groups)), dim3(kThreads),
          kShared * sizeof(Sum<T>), static_cast<cudaStream_t>(work.stream)},
         args);
}

#define INSTANTIATE(T) template void hsab_feed_forward_cuda<T>(const HsabFeedForwardArgs<T>&, const Workspace&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

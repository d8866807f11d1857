// CUDA backward kernels:
//
//     feed_forward_backward_kernel   dx, and the parts of the gradients of the weights that its blocks see
//     feed_forward_sum_kernel        adds the parts, in order, in float64
//
// A tile is 4 x 28 pixels of dx with a border of two on all sides: eight rows of 32 pixels, a warp each. One after the
// other for 32 hidden channels, with a barrier between two steps:
//
//     1. p = U x on all rows; gelu(p), and gelu'(p) where dx is wanted
//     2. q = D a and dq = gelu'(q) V^T G on the rows with neighbors, which lie in one place; h = gelu(q)
//     3. dp = gelu'(p) D^T dq, in place of gelu'(p), and dD: a lane a channel
//     4. U^T dp into sums of dx that stay in registers; dp x^T and h G^T, of a row or two for each warp
//     5. the rows' products are added up, and to the block's part of dU, dV and dD
//
// A block goes on to the next of its tiles with the same part, which stays in the second-level cache: there are as many
// parts as blocks, 132 at most (the multiprocessors of an H100; a constant, so that bits do not depend on the GPU).
// A part is 37 KB for 32 channels, 0.5 MB for 128. Hidden tensors are never stored. Beyond 64 channels, 32 in float64,
// blocks share dx, dU and dV by channels and repeat steps 1 to 3.
//
// Bytes, float32: 12 channels per pixel, x and G again, from the caches, for the border (2.3 and 1.7 times) and for
// every 32 hidden channels; parts. Per pixel and hidden channel 15 flop for each channel (10 without the border), in
// three tensor-core products (as exact as float32's, whatever torch allows), and 67. Bound by arithmetic (estimate: not
// measured on a GPU). 99 KiB of shared memory a block in float32; in float64, with tiles of two rows, 126 KiB.
#include "core/instantiate.hpp"
#include "core/warp_fragment.cuh"
#include "hsab/gelu.cuh"
#include "hsab/hsab_feed_forward.hpp"

namespace csmri {
namespace {

using namespace hsab;
using namespace warp;

template <class T>
using Args = HsabFeedForwardBackwardArgs<T>;

constexpr int kChunk = 32;           // channels that are multiplied together
constexpr int kPixels = 32 - 2 * 2;  // of dx, per row of a tile
constexpr int kPitch = kChunk + 4;   // of tiles; 32 banks: fragments are read without conflicts
constexpr int kRow = 32 * kPitch;    // elements of a row of a tile
constexpr int kMostBlocks = 132;
constexpr int kSumWarps = 8;

template <class S>
constexpr int kWarps = sizeof(S) == 4 ? 8 : 6;
template <class S>
constexpr int kThreads = 32 * kWarps<S>;
template <class S>
constexpr int kRows = kWarps<S> - 2 * 2;  // of dx, per tile
template <class S>
constexpr int kMostGroups = sizeof(S) == 4 ? 2 : 1;  // chunks of channels whose gradients a block makes

// Shared memory, in rows of a tile: a, then the products of step 4; q and dq, then the rows' sums of dD; gelu'(p), then
// dp; h.
template <class S>
struct Memory {
  static constexpr int a = 0, q = kWarps<S>, slope = q + kWarps<S> - 2, h = slope + kRows<S>;
  static constexpr std::size_t bytes = std::size_t{h + kRows<S>} * kRow * sizeof(S);
  static_assert(9 * 32 * kRows<S> <= kRow * (kWarps<S> - 2), "the sums of dD fit where dq was");
};

// What a warp does in step 4: products of kShareRows rows, for one of dU and dV and one chunk of channels.
template <class S, int kGroups>
struct Share {
  static constexpr int kMost = kWarps<S> / (2 * kGroups);
  static constexpr int kShares = kRows<S> < kMost ? kRows<S> : kMost, kShareRows = kRows<S> / kShares;
  static_assert(kShares * kShareRows == kRows<S>, "every row belongs to one share");
  int which, group, share;  // which: 0 dU, 1 dV

  __device__ explicit Share(int warp) : which(warp % 2), group(warp / 2 % kGroups), share(warp / 2 / kGroups) {}
  __device__ static int warp_of(int which, int group, int share) { return (share * kGroups + group) * 2 + which; }
};

CSMRI_HOST_DEVICE std::int64_t ceil_div(std::int64_t n, std::int64_t step) { return (n + step - 1) / step; }

// Scratch: one part for each block. A part: dU (hidden, channels), dV transposed (hidden, channels), dD (hidden, 9).
template <class T>
struct Parts {
  std::int64_t channels, hidden, tiles, blocks;
  Sum<T>* parts;

  explicit Parts(const Args<T>& args, void* scratch = nullptr)
      : channels(args.channels),
        hidden(args.hidden),
        tiles(args.batch * ceil_div(args.ny, kRows<Sum<T> >) * ceil_div(args.nx, kPixels)),
        blocks(tiles < kMostBlocks ? tiles : kMostBlocks),
        parts(static_cast<Sum<T>*>(scratch)) {}
  CSMRI_HOST_DEVICE std::int64_t matrix() const { return hidden * channels; }
  CSMRI_HOST_DEVICE std::int64_t size() const { return 2 * matrix() + 9 * hidden; }
  CSMRI_HOST_DEVICE Sum<T>* of(std::int64_t block) const { return parts + block * size(); }
  std::int64_t bytes() const { return blocks * size() * static_cast<std::int64_t>(sizeof(Sum<T>)); }
};

// w[row][column] of (rows, columns), zero where either does not exist.
template <class T>
__device__ __forceinline__ Sum<T> weight(const T* w, std::int64_t rows, std::int64_t columns, std::int64_t row,
                                         std::int64_t column) {
  return row < rows && column < columns ? widen(w[row * columns + column]) : Sum<T>(0);
}

// The tile of one round of a block: pixel i of row r of a, each from 0 on, is (y0 + r, x0 + i) of the image.
struct Tile {
  int ny, nx, y0, x0;
  std::int64_t image;  // its first pixel

  template <class T>
  __device__ Tile(const Args<T>& args, std::int64_t tile)
      : ny(static_cast<int>(args.ny)), nx(static_cast<int>(args.nx)) {
    const std::int64_t across = ceil_div(nx, kPixels), down = ceil_div(ny, kRows<Sum<T> >);
    x0 = static_cast<int>(tile % across) * kPixels - 2;
    y0 = static_cast<int>(tile / across % down) * kRows<Sum<T> > - 2;
    image = tile / across / down * ny * nx;
  }
  __device__ bool exists(int row, int i) const { return y0 + row >= 0 && y0 + row < ny && x0 + i >= 0 && x0 + i < nx; }
  __device__ static bool wanted(int i) { return i >= 2 && i < 2 + kPixels; }
  __device__ std::int64_t pixel(int row, int i) const { return image + std::int64_t{y0 + row} * nx + x0 + i; }
  // Zero outside the image, and beyond the channels.
  template <class T>
  __device__ __forceinline__ Sum<T> read(const T* from, std::int64_t channels, int row, int i,
                                         std::int64_t channel) const {
    if (!exists(row, i) || channel >= channels) return Sum<T>(0);
    return widen(from[pixel(row, i) * channels + channel]);
  }
};

// Grid: x, blocks; y, kGroups chunks of channels of dx, dU and dV.
template <int kGroups, class T>
__global__ void __launch_bounds__(kThreads<Sum<T> >) feed_forward_backward_kernel(Args<T> args, Parts<T> parts) {
  using S = Sum<T>;
  using Mine = Share<S, kGroups>;
  const std::int64_t channels = args.channels, hidden = args.hidden;
  const std::int64_t first = std::int64_t{blockIdx.y} * kGroups * kChunk;  // channel of dx, dU and dV
  const int warp = warp_of_thread(), lane = lane_of_thread();
  S* const a = dynamic_shared<S>() + Memory<S>::a * kRow;
  S* const q = dynamic_shared<S>() + Memory<S>::q * kRow;  // row r lies beside rows r to r + 2 of a
  S* const slope = dynamic_shared<S>() + Memory<S>::slope * kRow;
  S* const h = dynamic_shared<S>() + Memory<S>::h * kRow;
  const bool has_q = warp >= 1 && warp < kWarps<S> - 1, has_dx = warp >= 2 && warp < kWarps<S> - 2;
  const Mine mine(warp);
  const int row_of_dx = warp % kRows<S>, group_of_dx = warp / kRows<S>;  // in step 4
  const auto group_exists = [&](int group) { return group < kGroups && first + group * kChunk < channels; };
  S* const part = parts.of(blockIdx.x);

  CSMRI_DEVICE_LOOP
  for (std::int64_t index = blockIdx.x; index < parts.tiles; index += gridDim.x) {
    const Tile tile(args, index);
    Fragment<S> dx;  // (pixels, channels)
    CSMRI_DEVICE_LOOP
    for (std::int64_t k0 = 0; k0 < hidden; k0 += kChunk) {
      {
        Fragment<S> p;
        for (std::int64_t c0 = 0; c0 < channels; c0 += kChunk)
          p.template multiply<false>(
              [&](int i, int k) { return tile.read(args.x, channels, warp, i, c0 + k); },
              [&](int k, int column) { return weight(args.expand, hidden, channels, k0 + column, c0 + k); });
        p.each([&](int i, int column, S& sum) {  // outside the image gelu(0) = 0
          const int at = i * kPitch + column;
          const S derivative = gelu_slope(sum, a[warp * kRow + at]);
          if (has_dx) slope[(warp - 2) * kRow + at] = Tile::wanted(i) ? derivative : S(0);
        });
      }
      __syncthreads();
      S taps[9];
      CSMRI_UNROLL
      for (int tap = 0; tap < 9; ++tap) taps[tap] = weight(args.depthwise, hidden, 9, k0 + lane, tap);
      if (has_q) {
        S* const own = q + (warp - 1) * kRow;
        const S* const from = a + (warp - 1) * kRow + lane;
        CSMRI_DEVICE_LOOP
        for (int i = 0; i < 32; ++i) {
          S sum = 0;
          if (i >= 1 && i < 31) {
            CSMRI_UNROLL
            for (int tap = 0; tap < 9; ++tap) sum += taps[tap] * from[tap / 3 * kRow + (i - 1 + tap % 3) * kPitch];
          }
          own[i * kPitch + lane] = sum;
        }
        __syncwarp();
        Fragment<S> dh;  // zero outside the image, and so is dq
        for (std::int64_t c0 = 0; c0 < channels; c0 += kChunk)
          dh.template multiply<false>(
              [&](int i, int k) { return tile.read(args.grad_out, channels, warp, i, c0 + k); },
              [&](int k, int column) { return weight(args.contract, channels, hidden, c0 + k, k0 + column); });
        dh.each([&](int i, int column, S& sum) {
          S value;
          S& here = own[i * kPitch + column];
          here = sum * gelu_slope(here, value);
          if (has_dx) h[(warp - 2) * kRow + i * kPitch + column] = Tile::wanted(i) ? value : S(0);
        });
      }
      __syncthreads();
      S sums[9] = {};  // of dD
      if (has_dx) {
        const S* const from = a + (warp - 1) * kRow + lane;
        const S* const dq = q + (warp - 2) * kRow + lane;
        S* const dp = slope + (warp - 2) * kRow + lane;
        CSMRI_DEVICE_LOOP
        for (int i = 2; i < 2 + kPixels; ++i) {
          const S here = dq[kRow + i * kPitch];
          S da = 0;
          CSMRI_UNROLL
          for (int tap = 0; tap < 9; ++tap) {
            const int at = tap / 3 * kRow + (i - 1 + tap % 3) * kPitch;
            da += taps[8 - tap] * dq[at];
            sums[tap] += here * from[at];
          }
          dp[i * kPitch] *= da;
        }
      }
      __syncthreads();
      if (has_dx) {
        CSMRI_UNROLL
        for (int tap = 0; tap < 9; ++tap) q[((warp - 2) * 9 + tap) * 32 + lane] = sums[tap];
      }
      if (group_exists(group_of_dx))
        dx.template multiply<false>([&](int i, int k) { return slope[row_of_dx * kRow + i * kPitch + k]; },
                                    [&](int k, int column) {
                                      return weight(args.expand, hidden, channels, k0 + k,
                                                    first + group_of_dx * kChunk + column);
                                    });
      if (mine.share < Mine::kShares && group_exists(mine.group)) {
        const S* const left = mine.which ? h : slope;
        const T* const right = mine.which ? args.grad_out : args.x;
        Fragment<S> product;  // (hidden, channels)
        CSMRI_DEVICE_LOOP
        for (int row = mine.share * Mine::kShareRows; row < (mine.share + 1) * Mine::kShareRows; ++row)
          product.template multiply<false>([&](int k, int i) { return left[row * kRow + i * kPitch + k]; },
                                           [&](int i, int column) {
                                             if (!Tile::wanted(i)) return S(0);
                                             return tile.read(right, channels, row + 2, i,
                                                              first + mine.group * kChunk + column);
                                           });
        product.each([&](int k, int column, S& sum) { a[warp * kRow + k * kPitch + column] = sum; });
      }
      __syncthreads();
      const bool begins = index == blockIdx.x;  // nothing is in the part before
      const auto leave = [&](std::int64_t at, S sum) { part[at] = begins ? sum : part[at] + sum; };
      CSMRI_DEVICE_LOOP
      for (int i = static_cast<int>(threadIdx.x); i < 2 * kGroups * kChunk * kChunk; i += kThreads<S>) {
        const int column = i % kChunk, k = i / kChunk % kChunk;
        const int group = i / (kChunk * kChunk) % kGroups, which = i / (kChunk * kChunk) / kGroups;
        const std::int64_t channel = first + group * kChunk + column;
        if (k0 + k >= hidden || channel >= channels) continue;
        S sum = 0;
        CSMRI_UNROLL
        for (int share = 0; share < Mine::kShares; ++share)
          sum += a[Mine::warp_of(which, group, share) * kRow + k * kPitch + column];
        leave(which * parts.matrix() + (k0 + k) * channels + channel, sum);
      }
      if (blockIdx.y == 0) {
        CSMRI_DEVICE_LOOP
        for (int i = static_cast<int>(threadIdx.x); i < 9 * kChunk; i += kThreads<S>) {
          if (k0 + i / 9 >= hidden) continue;
          S sum = 0;
          CSMRI_UNROLL
          for (int row = 0; row < kRows<S>; ++row) sum += q[(row * 9 + i % 9) * 32 + i / 9];
          leave(2 * parts.matrix() + k0 * 9 + i, sum);
        }
      }
      __syncthreads();
    }
    if (!group_exists(group_of_dx)) continue;
    dx.each([&](int i, int column, S& sum) {
      const std::int64_t channel = first + group_of_dx * kChunk + column;
      if (Tile::wanted(i) && tile.exists(row_of_dx + 2, i) && channel < channels)
        args.grad_x[tile.pixel(row_of_dx + 2, i) * channels + channel] = narrow<T>(sum);
    });
  }
}

// Grid: x, 32 elements each of a part. A warp adds those of every eighth block.
template <class T>
__global__ void __launch_bounds__(32 * kSumWarps) feed_forward_sum_kernel(Args<T> args, Parts<T> parts) {
  const int lane = lane_of_thread();
  const std::int64_t at = std::int64_t{blockIdx.x} * 32 + lane, matrix = parts.matrix();
  double* const shared = dynamic_shared<double>();
  double sum = 0;
  if (at < parts.size())
    for (std::int64_t block = warp_of_thread(); block < parts.blocks; block += kSumWarps) sum += parts.of(block)[at];
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (warp_of_thread() > 0 || at >= parts.size()) return;
  sum = 0;
  for (int warp = 0; warp < kSumWarps; ++warp) sum += shared[warp * 32 + lane];
  const std::int64_t i = at - matrix;  // of dV transposed
  T* const to = i < 0        ? args.grad_expand + at
                : i < matrix ? args.grad_contract + i % args.channels * args.hidden + i / args.channels
                             : args.grad_depthwise + (i - matrix);
  *to = narrow<T>(static_cast<Sum<T> >(sum));
}

}  // namespace

template <class T>
std::int64_t hsab_feed_forward_backward_cuda_scratch_bytes(const HsabFeedForwardBackwardArgs<T>& args) {
  return Parts<T>(args).bytes();
}

template <class T>
void hsab_feed_forward_backward_cuda(const HsabFeedForwardBackwardArgs<T>& args, const Workspace& work) {
  using S = Sum<T>;
  const Parts<T> parts(args, work.scratch);
  const auto stream = static_cast<cudaStream_t>(work.stream);
  const auto backward = [&](auto groups) {
    constexpr int kGroups = decltype(groups)::value;
    const dim3 grid(static_cast<unsigned>(parts.blocks),
                    static_cast<unsigned>(ceil_div(args.channels, kGroups * kChunk)));
    launch(feed_forward_backward_kernel<kGroups, T>, {grid, dim3(kThreads<S>), Memory<S>::bytes, stream}, args, parts);
  };
  if (args.channels > kChunk)
    backward(std::integral_constant<int, kMostGroups<S> >{});
  else
    backward(std::integral_constant<int, 1>{});
  launch(feed_forward_sum_kernel<T>,
         {dim3(static_cast<unsigned>(ceil_div(parts.size(), 32))), dim3(32 * kSumWarps),
          32 * kSumWarps * sizeof(double), stream},
         args, parts);
}

#define INSTANTIATE(T)                                                                                       \
  template void hsab_feed_forward_backward_cuda<T>(const HsabFeedForwardBackwardArgs<T>&, const Workspace&); \
  template std::int64_t hsab_feed_forward_backward_cuda_scratch_bytes<T>(const HsabFeedForwardBackwardArgs<T>&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

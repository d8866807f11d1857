// What the CUDA backward kernels of the NasN operations share: how pixels are dealt out to blocks, scratch, and
// the steps that one operation's kernels and those of a whole edge have in common. A block adds up what its warps have,
// and leaves one part per weight; a last kernel adds the parts in order, in float64. No atomics: the bits depend on
// nothing but the shape of the image.
#pragma once
#include "nasn/separable_node.hpp"
#include "rows/warp_rows.cuh"

namespace csmri {
namespace node {

// The pixels of a block: kAlong of them in one direction, a warp for each of kWarps in the other.
constexpr int kAlong = 64;
static_assert(kAlong % kPixels == 0);
constexpr int kSquare = kPixels * kPitch;  // elements of a tile of an operation that looks no further than 3x3

struct Blocks {
  int ny, nx, height, width;  // of a block

  __device__ int image() const { return static_cast<int>(blockIdx.x) / (down() * across()); }
  __device__ int y0() const { return static_cast<int>(blockIdx.x) / across() % down() * height; }
  __device__ int x0() const { return static_cast<int>(blockIdx.x) % across() * width; }
  __device__ int y1() const { return y0() + height < ny ? y0() + height : ny; }
  __device__ int x1() const { return x0() + width < nx ? x0() + width : nx; }
  CSMRI_HOST_DEVICE int down() const { return ceil_div(ny, height); }
  CSMRI_HOST_DEVICE int across() const { return ceil_div(nx, width); }
};

template <class T>
Blocks blocks_along_x(const SeparableNodeBackwardArgs<T>& args) {
  return {static_cast<int>(args.ny), static_cast<int>(args.nx), kWarps, kAlong};
}
template <class T>
Blocks blocks_along_y(const SeparableNodeBackwardArgs<T>& args) {
  return {static_cast<int>(args.ny), static_cast<int>(args.nx), kAlong, kWarps};
}
template <class Args>
std::int64_t count(const Blocks& blocks, const Args& args) {
  return args.batch * blocks.down() * blocks.across();
}

// Scratch: g (batch, ny, nx, channels) and the parts of the gradients of `first`, unless the operation has
// `second` alone; the parts of the gradients of `second`; parts are (blocks, elements of the weight).
template <class T>
struct BackwardScratch {
  using S = Sum<T>;
  std::int64_t g_size, first_size, second_size;  // elements of g and of the weights
  std::int64_t first_blocks, second_blocks;
  S* g;

  explicit BackwardScratch(const SeparableNodeBackwardArgs<T>& args, void* scratch = nullptr)
      : g(static_cast<S*>(scratch)) {
    const bool column_row = args.term.operation == Separable::column_row;
    const bool relu_conv = args.term.operation == Separable::relu_conv;
    const bool second_alone = relu_conv || args.term.operation == Separable::pointwise;
    const std::int64_t channels = args.term.channels;
    g_size = second_alone ? 0 : args.batch * args.ny * args.nx * channels;
    first_size = second_alone ? 0 : 9 * channels;
    second_size = (column_row ? 1 : args.outputs) * channels * (column_row || relu_conv ? 9 : 1);
    first_blocks = count(column_row ? blocks_along_y(args) : blocks_along_x(args), args);
    second_blocks = count(blocks_along_x(args), args);
  }
  std::int64_t bytes() const {
    return (g_size + first_blocks * first_size + second_blocks * second_size) * static_cast<std::int64_t>(sizeof(S));
  }
  // Null: no weight gradients are wanted.
  S* first_parts(const SeparableNodeBackwardArgs<T>& args) const { return args.grad_second ? g + g_size : nullptr; }
  S* second_parts(const SeparableNodeBackwardArgs<T>& args) const {
    return args.grad_second ? g + g_size + first_blocks * first_size : nullptr;
  }
};

template <template <class> class Args, class T>
__device__ __forceinline__ void write_grad_x(const Args<T>& args, std::int64_t pixel, int channel, Sum<T> value) {
  if (args.addend) value += widen(args.addend[pixel * args.addend_pixel + channel]);
  args.grad_x[pixel * args.grad_x_pixel + channel] = narrow<T>(value);
}

// rows[i][lane] = pixel x0 + i of row y.
template <class T>
__device__ __forceinline__ void fill_rows(Sum<T>* rows, const Channel<T>& grad, int y, int x0) {
  for (int i = 0; i < kPixels; ++i) rows[i * kPitch + lane_of_thread()] = grad(y, x0 + i);
}

// (pixels, channels) += G second, of a warp's pixels. gradient: G of the outputs from `first` on, kChunk of them, which
// fill(first) puts there; those from 0 on are there at the start, those of the last chunk at the end.
template <bool kTf32, class T, class Fill>
__device__ __forceinline__ void back_through_point(Fragment<Sum<T> >& back, const NodeTerm<T>& term, int outputs,
                                                   int channels, const Sum<T>* gradient, const Fill& fill) {
  CSMRI_DEVICE_LOOP
  for (int o = 0; o < outputs; o += kChunk) {
    if (o > 0) {
      __syncwarp();
      fill(o);
      __syncwarp();
    }
    back.template multiply<kTf32>(
        [&](int row, int k) { return gradient[row * kPitch + k]; },
        [&](int k, int column) { return point_weight(term, outputs, o + k, channels + column); });
  }
}

// (outputs, channels) += G^T tile, of the first `pixels` pixels of a warp; G is zero behind them.
template <bool kTf32, class S>
__device__ __forceinline__ void add_products(Fragment<S>& products, const S* gradient, const S* tile, int pixels) {
  products.template multiply<kTf32>([&](int output, int k) { return gradient[k * kPitch + output]; },
                                    [&](int k, int channel) { return k < pixels ? tile[k * kPitch + channel] : S(0); });
}

// leave(output, channel, sum over the block's warps), through their tiles, 2 kSquare apart in dynamic shared memory.
template <class S, class F>
__device__ __forceinline__ void leave_products(Fragment<S>& products, const F& leave) {
  S* const tile = dynamic_shared<S>() + warp_of_thread() * 2 * kSquare;
  __syncwarp();
  products.each([&](int row, int column, S& sum) { tile[row * kPitch + column] = sum; });
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kChunk * kChunk; i += kThreads) {
    S sum = 0;
    for (int warp = 0; warp < kWarps; ++warp)
      sum += dynamic_shared<S>()[warp * 2 * kSquare + i / kChunk * kPitch + i % kChunk];
    leave(i / kChunk, i % kChunk, sum);
  }
}

// For the pixels [x0, x1) of row y: sums += corr(g, relu(x)), and write(pixel, (first^T * g) [x > 0]).
template <class T, class S, class F>
__device__ __forceinline__ void slide_gradients(const Channel<T>& x, const Channel<S>& g, const S (&taps)[9],
                                                S (&sums)[9], int dilation, int y, int x0, int x1, const F& write) {
  for (int residue = 0; residue < dilation; ++residue) {
    S inputs[3][3], gradients[3][3];
    const auto load_column = [&](int kx, int column) {
      CSMRI_UNROLL
      for (int ky = 0; ky < 3; ++ky) {
        inputs[ky][kx] = relu(x(y + (ky - 1) * dilation, column));
        gradients[ky][kx] = g(y + (ky - 1) * dilation, column);
      }
    };
    load_column(1, x0 + residue - dilation);
    load_column(2, x0 + residue);
    for (int column = x0 + residue; column < x1; column += dilation) {
      CSMRI_UNROLL
      for (int ky = 0; ky < 3; ++ky) {
        inputs[ky][0] = inputs[ky][1], inputs[ky][1] = inputs[ky][2];
        gradients[ky][0] = gradients[ky][1], gradients[ky][1] = gradients[ky][2];
      }
      load_column(2, column + dilation);
      S back = 0;
      CSMRI_UNROLL
      for (int i = 0; i < 9; ++i) {
        back += taps[8 - i] * gradients[i / 3][i % 3];
        sums[i] += gradients[1][1] * inputs[i / 3][i % 3];
      }
      write(column, inputs[1][1] > 0 ? back : S(0));
    }
  }
}

// block_parts[channel][tap]: the sums of the lanes of equal channel. Shared memory: 9 * kThreads.
template <class S>
__device__ __forceinline__ void leave_taps(const S (&sums)[9], S* block_parts, int first_channel,
                                           std::int64_t channels) {
  S* const shared = dynamic_shared<S>();
  CSMRI_UNROLL
  for (int tap = 0; tap < 9; ++tap) shared[tap * kThreads + static_cast<int>(threadIdx.x)] = sums[tap];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < 9 * kChunk; i += kThreads) {
    const int channel = first_channel + i / 9;
    if (channel >= channels) continue;
    S sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += shared[i % 9 * kThreads + warp * 32 + i / 9];
    block_parts[channel * 9 + i % 9] = sum;
  }
}

// Enqueues gradient[i] = sum over blocks of parts (blocks, size).
template <class T>
void sum_parts(const Sum<T>* parts, std::int64_t blocks, std::int64_t size, T* gradient, void* stream);

// Enqueues the backward pass of 9x1, 1x9.
template <class T>
void column_row_backward_cuda(const SeparableNodeBackwardArgs<T>& args, const Workspace& work);

// Enqueues the backward pass of relu_conv.
template <class T>
void relu_conv_backward_cuda(const SeparableNodeBackwardArgs<T>& args, const Workspace& work);

}  // namespace node
}  // namespace csmri

// What the CUDA backward kernels of the NasN operations share: how pixels are dealt out to blocks, the workspace, and
// sums over pixels. A block adds up what its warps have, and leaves one part per weight; a last kernel adds the parts
// in order, in float64. No atomics: the bits depend on nothing but the shape of the image.
#pragma once
#include "separable_node/warp_rows.cuh"

namespace csmri {
namespace node {

// The pixels of a block: kAlong of them in one direction, a warp for each of kWarps in the other.
constexpr int kAlong = 64;
static_assert(kAlong % kPixels == 0);

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
template <class T>
std::int64_t count(const Blocks& blocks, const SeparableNodeBackwardArgs<T>& args) {
  return args.batch * blocks.down() * blocks.across();
}

// args.scratch: g (batch, ny, nx, channels) and the parts of the gradients of `first`, unless the operation has
// `second` alone; the parts of the gradients of `second`; parts are (blocks, elements of the weight).
template <class T>
struct Workspace {
  using S = Sum<T>;
  std::int64_t g_size, first_size, second_size;  // elements of g and of the weights
  std::int64_t first_blocks, second_blocks;

  explicit Workspace(const SeparableNodeBackwardArgs<T>& args) {
    const bool column_row = args.term.operation == Separable::column_row;
    const bool dense = args.term.operation == Separable::dense;
    const bool second_alone = dense || args.term.operation == Separable::pointwise;
    const std::int64_t channels = args.term.channels;
    g_size = second_alone ? 0 : args.batch * args.ny * args.nx * channels;
    first_size = second_alone ? 0 : 9 * channels;
    second_size = (column_row ? 1 : args.outputs) * channels * (column_row || dense ? 9 : 1);
    first_blocks = count(column_row ? blocks_along_y(args) : blocks_along_x(args), args);
    second_blocks = count(blocks_along_x(args), args);
  }
  std::int64_t bytes() const {
    return (g_size + first_blocks * first_size + second_blocks * second_size) * static_cast<std::int64_t>(sizeof(S));
  }
  S* g(const SeparableNodeBackwardArgs<T>& args) const { return static_cast<S*>(args.scratch); }
  // Null: no weight gradients are wanted.
  S* first_parts(const SeparableNodeBackwardArgs<T>& args) const {
    return args.grad_second ? g(args) + g_size : nullptr;
  }
  S* second_parts(const SeparableNodeBackwardArgs<T>& args) const {
    return args.grad_second ? g(args) + g_size + first_blocks * first_size : nullptr;
  }
};

template <class T>
__device__ __forceinline__ void write_grad_x(const SeparableNodeBackwardArgs<T>& args, std::int64_t pixel, int channel,
                                             Sum<T> value) {
  if (args.addend) value += widen(args.addend[pixel * args.addend_pixel + channel]);
  args.grad_x[pixel * args.grad_x_pixel + channel] = narrow<T>(value);
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
void column_row_backward_cuda(const SeparableNodeBackwardArgs<T>& args, void* stream);

// Enqueues the backward pass of the dense convolution.
template <class T>
void relu_convolution_backward_cuda(const SeparableNodeBackwardArgs<T>& args, void* stream);

}  // namespace node
}  // namespace csmri

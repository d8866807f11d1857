// CUDA kernel for the gradient of the pyramid's input: the forward kernel with the roles of inputs and outputs swapped
// and the kernels flipped. A block owns a tile of 16 x 32 pixels of 16 channels of dx, two for each of its warps;
// the channels of dF' whose groups meet them go by in shared memory, four at a time.
//
// As many multiply-adds as the forward kernel, which are the bound; the paper's first PGSA reads 700 bytes of
// second-level cache per pixel, as a channel of dF' serves about half of the blocks (estimates: not measured on a GPU).
#include "core/instantiate.hpp"
#include "pyramid_attention/cuda_backward.cuh"

namespace csmri {
namespace {

using namespace pyramid;

constexpr int kWarps = 8;
constexpr int kOutputs = 4;  // channels of dF' that go by together
template <class S>
constexpr int kInputs = std::is_same_v<S, float> ? 2 : 1;  // channels of dx in a warp
template <class S>
constexpr int kMaxPitch = round_up(81 * kInputs<S>, 4);
template <class S>
constexpr int kStage = kOutputs * (Planes<kHalo>::kSize + kWarps * kMaxPitch<S>);

// Packed weights: for every kInputs channels of x in turn and every channel of F, the flipped kernels [ky][kx][channel]
// of that F channel, zero where the two are in different groups; each rounded up to quads.
template <class S>
CSMRI_HOST_DEVICE int pitch_of(const Shape& shape, int branch) {
  return round_up(shape.taps(branch) * kInputs<S>, 4);
}
template <class S>
CSMRI_HOST_DEVICE int packed_begin(const Shape& shape, int branch) {  // of a branch, for the same channels of x
  int sum = 0;
  for (int i = 0; i < branch; ++i) sum += shape.branch_channels * pitch_of<S>(shape, i);
  return sum;
}
template <class S>
CSMRI_HOST_DEVICE int packed_size(const Shape& shape) {  // for kInputs channels of x
  return packed_begin<S>(shape, shape.n_branches);
}

// blockIdx.y: which kInputs channels of x.
template <class S>
__global__ void __launch_bounds__(256) pack_flipped_weights_kernel(BackwardPass<S> pass) {
  const Shape& shape = pass.shape;
  const int i = static_cast<int>(blockIdx.x * 256 + threadIdx.x), size = packed_size<S>(shape);
  if (i >= size) return;
  int branch = 0;
  while (i >= packed_begin<S>(shape, branch + 1)) ++branch;
  const int pitch = pitch_of<S>(shape, branch), offset = i - packed_begin<S>(shape, branch);
  const int output = offset / pitch, tap = offset % pitch / kInputs<S>;
  const int channel = static_cast<int>(blockIdx.y) * kInputs<S> + offset % pitch % kInputs<S>;
  const int inputs = shape.inputs[branch], taps = shape.taps(branch);
  S value = 0;
  if (tap < taps && channel < shape.in_channels && channel / inputs == output / shape.outputs[branch])
    value = read_value<S>(pass.storage, pass.weight[branch],
                          (std::int64_t{output} * inputs + channel % inputs) * taps + taps - 1 - tap);
  pass.packed[std::int64_t{blockIdx.y} * size + i] = value;
}

// The channels of F whose groups meet channels first, ..., last of x: a range in each branch.
struct Range {
  int begin, end;
};
__device__ __forceinline__ Range outputs_of(const Shape& shape, int branch, int first, int last) {
  const int begin = branch * shape.branch_channels, outputs = shape.outputs[branch], inputs = shape.inputs[branch];
  return {begin + first / inputs * outputs, begin + (last / inputs + 1) * outputs};
}

template <class S>
__global__ void __launch_bounds__(32 * kWarps, std::is_same_v<S, float> ? 2 : 1)
    pyramid_grad_x_kernel(BackwardPass<S> pass) {
  S* const shared = dynamic_shared<S>();  // two stages: planes, then the weights of each warp
  int* const list = reinterpret_cast<int*>(shared + 2 * kStage<S>);  // channels of F that the block needs
  const Shape& shape = pass.shape;
  constexpr int kBlockInputs = kWarps * kInputs<S>;
  const int blocks = ceil_div(shape.in_channels, kBlockInputs);  // per tile
  const int block = static_cast<int>(blockIdx.x), warp = static_cast<int>(threadIdx.x) / 32;
  const int first_input = block % blocks * kBlockInputs, tile = block / blocks % shape.tiles();
  const int image = block / blocks / shape.tiles();
  const int y0 = tile / shape.tiles_x * kTileY, x0 = tile % shape.tiles_x * kTileX;
  const int end_input = first_input + kBlockInputs < shape.in_channels ? first_input + kBlockInputs : shape.in_channels;
  const int own = first_input + warp * kInputs<S>;
  const int own_end = own + kInputs<S> < end_input ? own + kInputs<S> : end_input;
  const std::int64_t plane_size = shape.ny * shape.nx;

  int n_list = 0;
  for (int branch = 0; branch < shape.n_branches; ++branch) {
    const Range range = outputs_of(shape, branch, first_input, end_input - 1);
    for (int i = range.begin + static_cast<int>(threadIdx.x); i < range.end; i += 32 * kWarps)
      list[n_list + i - range.begin] = i;
    n_list += range.end - range.begin;
  }
  __syncthreads();

  const auto needed = [&](int output) {
    const Range range = outputs_of(shape, output / shape.branch_channels, own, own_end - 1);
    return own < end_input && output >= range.begin && output < range.end;
  };
  const auto weights_at = [&](int i) { return kOutputs * Planes<kHalo>::kSize + (warp * kOutputs + i) * kMaxPitch<S>; };
  const auto start_loading = [&](int first, S* to) {
    const int n = first + kOutputs < n_list ? kOutputs : n_list - first;
    Planes<kHalo>::load(to, n, y0, x0, shape, pass.storage, [&](int i) {
      return Plane{pass.grad_features, (std::int64_t{image} * shape.out_channels + list[first + i]) * plane_size};
    });
    for (int i = 0; i < n; ++i) {
      const int output = list[first + i], branch = output / shape.branch_channels;
      const int pitch = pitch_of<S>(shape, branch);
      if (needed(output))
        load_weights(to + weights_at(i),
                     pass.packed + std::int64_t{own / kInputs<S>} * packed_size<S>(shape) +
                         packed_begin<S>(shape, branch) + output % shape.branch_channels * pitch,
                     pitch);
    }
    copy_async_commit();
  };

  S sums[kInputs<S> * kLaneRows * 4];
  CSMRI_DEVICE_UNROLL
  for (int i = 0; i < kInputs<S> * kLaneRows * 4; ++i) sums[i] = 0;
  start_loading(0, shared);
  for (int first = 0; first < n_list; first += kOutputs) {
    S* const here = shared + first / kOutputs % 2 * kStage<S>;
    if (first + kOutputs < n_list) {
      start_loading(first + kOutputs, shared + (first / kOutputs + 1) % 2 * kStage<S>);
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    const int n = first + kOutputs < n_list ? kOutputs : n_list - first;
    add_pooled<kHalo>(here, n, y0, x0, shape,
                      [&](int i) { return pass.pooled[std::int64_t{image} * shape.out_channels + list[first + i]]; });
    __syncthreads();
    for (int i = 0; i < n; ++i) {
      const int output = list[first + i], kernel = shape.kernel[output / shape.branch_channels];
      if (!needed(output)) continue;
      const S* in = here + i * Planes<kHalo>::kSize;
      if (kernel == 3)
        convolve<3, kInputs<S> >(sums, in, here + weights_at(i));
      else if (kernel == 5)
        convolve<5, kInputs<S> >(sums, in, here + weights_at(i));
      else if (kernel == 7)
        convolve<7, kInputs<S> >(sums, in, here + weights_at(i));
      else
        convolve<9, kInputs<S> >(sums, in, here + weights_at(i));
    }
    __syncthreads();  // before the planes are overwritten
  }

  CSMRI_DEVICE_UNROLL
  for (int o = 0; o < kInputs<S>; ++o) {
    if (own + o >= end_input) break;
    const int p = shape.part_of(own + o), begin = shape.part_begin[p];
    const std::int64_t plane = (std::int64_t{image} * (shape.part_begin[p + 1] - begin) + own + o - begin) * plane_size;
    with_type<S>(pass.storage,
                 p == 0   ? pass.grad_x[0]
                 : p == 1 ? pass.grad_x[1]
                          : pass.grad_x[2],
                 [&](auto typed) {
                   CSMRI_DEVICE_UNROLL
                   for (int r = 0; r < kLaneRows; ++r) {
                     const int y = y0 + lane_row() + r;
                     if (y >= shape.ny) break;
                     Quad<S> quad;
                     CSMRI_DEVICE_UNROLL
                     for (int i = 0; i < 4; ++i) quad.v[i] = sums[(o * kLaneRows + r) * 4 + i];
                     write_quad(typed + plane + y * shape.nx, x0 + lane_column(), shape.nx, shape.quads, quad);
                   }
                 });
  }
}

}  // namespace

namespace pyramid {

template <class S>
std::int64_t grad_x_packed_size(const Shape& shape) {
  return std::int64_t{ceil_div(shape.in_channels, kInputs<S>)} * packed_size<S>(shape);
}

template <class S>
void launch_grad_x(const BackwardPass<S>& pass, cudaStream_t stream) {
  const Shape& shape = pass.shape;
  const auto count = [](std::int64_t n) { return static_cast<unsigned>(n); };
  launch(pack_flipped_weights_kernel<S>,
         {dim3(count(ceil_div(packed_size<S>(shape), 256)), count(ceil_div(shape.in_channels, kInputs<S>))), dim3(256),
          0, stream},
         pass);
  const int blocks = ceil_div(shape.in_channels, kWarps * kInputs<S>);
  launch(pyramid_grad_x_kernel<S>,
         {dim3(count(std::int64_t{shape.batch} * shape.tiles() * blocks)), dim3(32 * kWarps),
          2 * kStage<S> * sizeof(S) + shape.out_channels * sizeof(int), stream},
         pass);
}

#define INSTANTIATE(T)                                       \
  template std::int64_t grad_x_packed_size<T>(const Shape&); \
  template void launch_grad_x<T>(const BackwardPass<T>&, cudaStream_t);
CSMRI_FOR_CUDA_SUMS(INSTANTIATE)
#undef INSTANTIATE

}  // namespace pyramid
}  // namespace csmri

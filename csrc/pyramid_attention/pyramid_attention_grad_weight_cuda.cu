// CUDA kernels for the gradient of the pyramid's weights. A warp owns the kernels between a few outputs (Slot) and one
// input channel: its lanes hold all taps, each summed over the lane's own pixels, while the tiles of a band of one
// image go by in shared memory, two channels of x and the channels of dF' that meet them. Then the lanes are added up,
// one partial result per image and band. A second kernel adds those in a fixed order, in float64.
//
// As many multiply-adds as the forward kernel, which are the bound: a row of a lane's window meets all rows of the
// kernel before the next is loaded. The paper's first PGSA reads 2.9 kB of second-level cache per pixel (estimates: not
// measured on a GPU).
#include "core/instantiate.hpp"
#include "pyramid_attention/cuda_backward.cuh"

namespace csmri {
namespace {

using namespace pyramid;

template <class S>
struct Grouping {
  CSMRI_HOST_DEVICE static constexpr int of(int kernel) {
    return !std::is_same_v<S, float> || kernel == 9 ? 1 : kernel == 3 ? 8 : 2;
  }
};
template <class S>
constexpr int kMaxSums = std::is_same_v<S, float> ? 2 * 49 : 81;

constexpr int kInputs = 2;  // channels of x in a block
template <class S>
constexpr int kMaxSlots = std::is_same_v<S, float> ? 5 : 3;  // in a block: registers again
constexpr int kBandTiles = 4;                                // rows of tiles in a band
using InputPlanes = Planes<kHalo>;
using GradientPlanes = Planes<0>;

template <class S>
struct WeightPass {
  BackwardPass<S> pass;
  int all_slots, slots, rounds;  // a block does `slots` of all; rounds: blocks for the rest
  int planes;                    // of dF' that a block needs at most
};

CSMRI_HOST_DEVICE int n_bands(const Shape& shape) { return ceil_div(shape.tiles_y, kBandTiles); }

// sums[o][ky][kx] += sum over the lane's pixels of g_o(y, x) in(y + ky - kKernel / 2, x + kx - kKernel / 2).
template <int kKernel, int kOutputs, class S>
__device__ __forceinline__ void correlate(S* sums, const S* in, const S* gradient) {
  constexpr int kSpare = kHalo - kKernel / 2, kWindowRows = kKernel + kLaneRows - 1;
  const S* from = in + (lane_row() + kSpare) * InputPlanes::kPitch + lane_column();
  const S* g = gradient + lane_row() * GradientPlanes::kPitch + lane_column();
  const auto load_gradient = [&](int o, S(&values)[kLaneRows][4]) {
    CSMRI_DEVICE_UNROLL
    for (int r = 0; r < kLaneRows; ++r) {
      const Quad<S> quad = as_quad(g + o * GradientPlanes::kSize + r * GradientPlanes::kPitch);
      CSMRI_DEVICE_UNROLL
      for (int p = 0; p < 4; ++p) values[r][p] = quad.v[p];
    }
  };
  const auto add_row = [&](int o, int ky, const S(&values)[4], const S(&row)[12]) {
    CSMRI_DEVICE_UNROLL
    for (int p = 0; p < 4; ++p) {
      CSMRI_DEVICE_UNROLL
      for (int kx = 0; kx < kKernel; ++kx) sums[(o * kKernel + ky) * kKernel + kx] += values[p] * row[kSpare + kx + p];
    }
  };
  if constexpr (kOutputs > kWindowRows) {  // the window stays in registers, the gradients of the outputs go by
    S rows[kWindowRows][12], values[kLaneRows][4];
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < kWindowRows; ++i) load_window_row<kKernel>(rows[i], from + i * InputPlanes::kPitch);
    CSMRI_DEVICE_UNROLL
    for (int o = 0; o < kOutputs; ++o) {
      load_gradient(o, values);
      CSMRI_DEVICE_UNROLL
      for (int r = 0; r < kLaneRows; ++r) {
        CSMRI_DEVICE_UNROLL
        for (int ky = 0; ky < kKernel; ++ky) add_row(o, ky, values[r], rows[r + ky]);
      }
    }
  } else {  // the other way round
    S row[12], values[kOutputs][kLaneRows][4];
    CSMRI_DEVICE_UNROLL
    for (int o = 0; o < kOutputs; ++o) load_gradient(o, values[o]);
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < kWindowRows; ++i) {
      load_window_row<kKernel>(row, from + i * InputPlanes::kPitch);
      CSMRI_DEVICE_UNROLL
      for (int r = 0; r < kLaneRows; ++r) {
        if (i - r < 0 || i - r >= kKernel) continue;
        CSMRI_DEVICE_UNROLL
        for (int o = 0; o < kOutputs; ++o) add_row(o, i - r, values[o][r], row);
      }
    }
  }
}

template <class S>
__device__ __forceinline__ void correlate_slot(int kernel, int count, S* sums, const S* in, const S* gradient) {
  if constexpr (std::is_same_v<S, float>) {
    if (count > 1) {
      if (kernel == 3) return correlate<3, 8>(sums, in, gradient);
      if (kernel == 5) return correlate<5, 2>(sums, in, gradient);
      return correlate<7, 2>(sums, in, gradient);
    }
  }
  if (kernel == 3) return correlate<3, 1>(sums, in, gradient);
  if (kernel == 5) return correlate<5, 1>(sums, in, gradient);
  if (kernel == 7) return correlate<7, 1>(sums, in, gradient);
  correlate<9, 1>(sums, in, gradient);
}

// Adds 32 values of each lane over the lanes of the warp: lane i returns the sum of values[i]. In every step a lane
// hands half of its values to its partner and takes on the other half.
template <class S>
__device__ __forceinline__ S sum_over_lanes(S (&values)[32], int lane) {
  CSMRI_DEVICE_UNROLL
  for (int j = 0; j < 5; ++j) {
    const int step = 16 >> j;
    const bool upper = lane & step;
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 16; ++i) {
      if (i >= step) continue;
      const S given = upper ? values[i] : values[i + step], kept = upper ? values[i + step] : values[i];
      values[i] = kept + __shfl_xor_sync(0xffffffffu, given, step);
    }
  }
  return values[0];
}

// partials: (batch, bands, weights of all branches).
template <class S>
__global__ void __launch_bounds__(32 * kInputs * kMaxSlots<S>) pyramid_grad_weight_kernel(WeightPass<S> args) {
  S* const shared = dynamic_shared<S>();  // two stages: planes of x, planes of dF'
  const BackwardPass<S>& pass = args.pass;
  const Shape& shape = pass.shape;
  const int stage = kInputs * InputPlanes::kSize + args.planes * GradientPlanes::kSize;
  int* const list = reinterpret_cast<int*>(shared + 2 * stage);  // channels of F that the block needs
  const int pairs = ceil_div(shape.in_channels, kInputs), block = static_cast<int>(blockIdx.x);
  const int first_input = block % pairs * kInputs, round = block / pairs % args.rounds;
  const int band = block / pairs / args.rounds % n_bands(shape);
  const int image = block / pairs / args.rounds / n_bands(shape);
  const int n_inputs = first_input + kInputs <= shape.in_channels ? kInputs : shape.in_channels - first_input;
  const std::int64_t plane_size = shape.ny * shape.nx;

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int own_slot = warp / kInputs, input = first_input + warp % kInputs;
  const bool active = round * args.slots + own_slot < args.all_slots && warp % kInputs < n_inputs;
  Slot slot{};  // the warp's
  int group = 0, own_planes = 0, n_list = 0;
  for (int i = 0; i < args.slots && round * args.slots + i < args.all_slots; ++i) {
    const Slot other = slot_at<Grouping<S> >(shape, round * args.slots + i);
    const int inputs = shape.inputs[other.branch], outputs = shape.outputs[other.branch];
    const int first_group = first_input / inputs, last_group = (first_input + n_inputs - 1) / inputs;
    if (i == own_slot) {
      slot = other;
      group = input / inputs;
      own_planes = n_list + (group - first_group) * other.count;
    }
    for (int g = first_group; g <= last_group; ++g, n_list += other.count)
      if (i == own_slot && warp % kInputs == 0 && lane < other.count)
        list[n_list + lane] = other.branch * shape.branch_channels + g * outputs + other.first + lane;
  }
  __syncthreads();

  const int first_tile = band * kBandTiles * shape.tiles_x;
  const int end_tile =
      (band + 1) * kBandTiles < shape.tiles_y ? (band + 1) * kBandTiles * shape.tiles_x : shape.tiles();
  const auto start_loading = [&](int tile, S* to) {
    const int y0 = tile / shape.tiles_x * kTileY, x0 = tile % shape.tiles_x * kTileX;
    InputPlanes::load(to, n_inputs, y0, x0, shape, pass.storage, [&](int i) {
      const int channel = first_input + i, p = shape.part_of(channel), begin = shape.part_begin[p];
      const std::int64_t plane = std::int64_t{image} * (shape.part_begin[p + 1] - begin) + channel - begin;
      return Plane{p == 0 ? pass.part[0] : p == 1 ? pass.part[1] : pass.part[2], plane * plane_size};
    });
    GradientPlanes::load(to + kInputs * InputPlanes::kSize, n_list, y0, x0, shape, pass.storage, [&](int i) {
      return Plane{pass.grad_features, (std::int64_t{image} * shape.out_channels + list[i]) * plane_size};
    });
    copy_async_commit();
  };

  S sums[kMaxSums<S>];
  CSMRI_DEVICE_UNROLL
  for (int i = 0; i < kMaxSums<S>; ++i) sums[i] = 0;
  start_loading(first_tile, shared);
  for (int tile = first_tile; tile < end_tile; ++tile) {
    S* const here = shared + (tile - first_tile) % 2 * stage;
    if (tile + 1 < end_tile) {
      start_loading(tile + 1, shared + (tile + 1 - first_tile) % 2 * stage);
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    S* const gradients = here + kInputs * InputPlanes::kSize;
    add_pooled<0>(gradients, n_list, tile / shape.tiles_x * kTileY, tile % shape.tiles_x * kTileX, shape,
                  [&](int i) { return pass.pooled[std::int64_t{image} * shape.out_channels + list[i]]; });
    __syncthreads();
    if (active)
      correlate_slot(shape.kernel[slot.branch], slot.count, sums, here + warp % kInputs * InputPlanes::kSize,
                     gradients + own_planes * GradientPlanes::kSize);
    __syncthreads();  // before the planes are overwritten
  }

  if (!active) return;
  const int taps = shape.taps(slot.branch), inputs = shape.inputs[slot.branch];
  const int output = group * shape.outputs[slot.branch] + slot.first;
  S* const partials = pass.partials + (std::int64_t{image} * n_bands(shape) + band) * shape.n_weights() +
                      shape.weight_begin(slot.branch);
  CSMRI_DEVICE_UNROLL
  for (int first = 0; first < kMaxSums<S>; first += 32) {
    if (first >= slot.count * taps) break;
    S values[32];
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 32; ++i) values[i] = first + i < kMaxSums<S> ? sums[first + i] : S(0);
    const S sum = sum_over_lanes(values, lane);
    const int i = first + lane;
    if (i < slot.count * taps) partials[((output + i / taps) * inputs + input % inputs) * taps + i % taps] = sum;
  }
}

template <class S>
__global__ void __launch_bounds__(256) sum_bands_kernel(BackwardPass<S> pass) {
  const Shape& shape = pass.shape;
  const int i = static_cast<int>(blockIdx.x * 256 + threadIdx.x), n = shape.n_weights();
  if (i >= n) return;
  int branch = 0;
  while (i >= shape.weight_begin(branch + 1)) ++branch;
  const int offset = i - shape.weight_begin(branch), kernel = offset / shape.taps(branch);
  const int output = kernel / shape.inputs[branch];
  const int channel = output / shape.outputs[branch] * shape.inputs[branch] + kernel % shape.inputs[branch];
  double sum = 0;
  for (int j = 0; j < shape.batch * n_bands(shape); ++j) sum += pass.partials[std::int64_t{j} * n + i];
  const S scale = read_value<S>(pass.storage, pass.scale, shape.part_of(channel));
  void* const to = branch == 0   ? pass.grad_weight[0]
                   : branch == 1 ? pass.grad_weight[1]
                   : branch == 2 ? pass.grad_weight[2]
                                 : pass.grad_weight[3];
  write_value(pass.storage, to, offset, static_cast<S>(scale * sum));
}

}  // namespace

namespace pyramid {

template <class S>
std::int64_t n_partials(const Shape& shape) {
  return std::int64_t{shape.batch} * n_bands(shape) * shape.n_weights();
}

template <class S>
void launch_grad_weight(const BackwardPass<S>& pass, cudaStream_t stream) {
  const Shape& shape = pass.shape;
  WeightPass<S> args{pass, n_slots<Grouping<S> >(shape), 0, 0, 0};
  if (args.all_slots == 0) return;
  args.rounds = ceil_div(args.all_slots, kMaxSlots<S>);
  args.slots = ceil_div(args.all_slots, args.rounds);
  for (int round = 0; round < args.rounds; ++round) {
    int planes = 0;
    for (int i = round * args.slots; i < (round + 1) * args.slots && i < args.all_slots; ++i) {
      const Slot slot = slot_at<Grouping<S> >(shape, i);
      planes += slot.count * (shape.inputs[slot.branch] % kInputs ? 2 : 1);  // two groups may meet in a block
    }
    args.planes = planes > args.planes ? planes : args.planes;
  }
  const auto count = [](std::int64_t n) { return static_cast<unsigned>(n); };
  const std::size_t stage = kInputs * InputPlanes::kSize + args.planes * GradientPlanes::kSize;
  launch(pyramid_grad_weight_kernel<S>,
         {dim3(count(std::int64_t{ceil_div(shape.in_channels, kInputs)} * args.rounds * n_bands(shape) * shape.batch)),
          dim3(count(32 * kInputs * args.slots)), 2 * stage * sizeof(S) + args.planes * sizeof(int), stream},
         args);
  launch(sum_bands_kernel<S>, {dim3(count(ceil_div(shape.n_weights(), 256))), dim3(256), 0, stream}, pass);
}

#define INSTANTIATE(T)                               \
  template std::int64_t n_partials<T>(const Shape&); \
  template void launch_grad_weight<T>(const BackwardPass<T>&, cudaStream_t);
CSMRI_FOR_CUDA_SUMS(INSTANTIATE)
#undef INSTANTIATE

}  // namespace pyramid
}  // namespace csmri

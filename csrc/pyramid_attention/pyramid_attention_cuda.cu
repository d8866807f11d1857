// CUDA forward kernels of the convolution pyramid. A block owns a tile of 16 x 32 pixels; each of its warps computes a
// share of the outputs (Slot) for the whole tile, in registers. Input channels go by in shared memory, four at a time
// and the next four already on their way; every warp uses them all, so the four branches share one read of the input.
// When the last channel of a group has passed, its outputs are stored and their sum, maximum and argmax over the tile
// taken by shuffles. A small kernel before packs the weights, times the scales of the parts, in the order of use; one
// after adds up the tiles in a fixed order.
//
// The paper's first PGSA (96 -> 32 channels, groups 1, 2, 4, 8) makes 67 kflop per pixel against 512 bytes of DRAM and
// 720 bytes of second-level cache: bound by multiply-adds, 82 us for 320 x 320 at 67 Tflop/s. Its five warps share the
// 351 multiply-adds per pixel and channel as 36, 36, 100, 98 and 81. Per multiply-add of a warp, shared memory is busy
// 0.1 cycles out of 0.25 (estimates: not measured on a GPU). The unrolled bodies in use are 100 KB of code. 168
// registers, two blocks on a multiprocessor; for three of them 128 would have to do, and spill 640 bytes per thread.
#include "pyramid_attention/cuda_tile.cuh"

namespace csmri {
namespace {

using namespace pyramid;

template <class S>
struct Grouping {
  CSMRI_HOST_DEVICE static constexpr int of(int kernel) {
    return !std::is_same_v<S, float> ? 1 : kernel <= 5 ? 4 : kernel == 7 ? 2 : 1;
  }
};
constexpr int kMaxOutputs = 4, kMaxWarps = 5;
constexpr int kChannels = 4;  // that go by together
template <class S>
constexpr int kMaxPitch = std::is_same_v<S, float> ? 100 : 84;  // of a slot: 5 x 5 x 4; 9 x 9

template <class S>
struct Statistics {  // of one channel of F over one tile
  S sum, maximum;
  int argmax;
};

// Whether a maximum a, found at pixel i, replaces b, found at j: the first of equals, and NaN before everything.
template <class S>
__device__ __forceinline__ bool replaces(S a, int i, S b, int j) {
  const bool a_nan = a != a, b_nan = b != b;
  if (a_nan || b_nan) return a_nan && (!b_nan || i < j);
  return a > b || (a == b && i < j);
}

template <class S>
struct ForwardPass {
  Shape shape;
  Storage storage;
  const void* part[kMaxParts];
  const void* scale;
  const void* weight[kMaxBranches];
  void *features, *mean, *maximum;
  std::int64_t* argmax;
  S* packed;                  // slots: (in_channels, pitch) each
  Statistics<S>* statistics;  // (batch, tiles, out_channels)
  int slots, warps, rounds;   // a block does `warps` of the slots; rounds: blocks per tile
};

// packed[slot][channel][ky][kx][output] = scale of the channel's part * weight. blockIdx.y: slot.
template <class S>
__global__ void __launch_bounds__(256) pack_weights_kernel(ForwardPass<S> pass) {
  const Shape& shape = pass.shape;
  const Slot slot = slot_at<Grouping<S> >(shape, static_cast<int>(blockIdx.y));
  const int i = static_cast<int>(blockIdx.x * 256 + threadIdx.x);
  if (i >= shape.in_channels * slot.pitch) return;
  const int channel = i / slot.pitch, tap = i % slot.pitch / slot.count, o = i % slot.pitch % slot.count;
  const int inputs = shape.inputs[slot.branch], taps = shape.taps(slot.branch);
  const int output = channel / inputs * shape.outputs[slot.branch] + slot.first + o;
  S value = 0;
  if (tap < taps)
    value = read_value<S>(pass.storage, pass.weight[slot.branch],
                          (std::int64_t{output} * inputs + channel % inputs) * taps + tap) *
            read_value<S>(pass.storage, pass.scale, shape.part_of(channel));
  pass.packed[slot.begin + i] = value;
}

template <class S>
__device__ __forceinline__ void convolve_slot(const Shape& shape, const Slot& slot, S* sums, const S* in,
                                              const S* weights) {
  const int kernel = shape.kernel[slot.branch];
  if constexpr (std::is_same_v<S, float>) {
    if (slot.count > 1) {
      if (kernel == 3) return convolve<3, 4>(sums, in, weights);
      if (kernel == 5) return convolve<5, 4>(sums, in, weights);
      return convolve<7, 2>(sums, in, weights);
    }
  }
  if (kernel == 3) return convolve<3, 1>(sums, in, weights);
  if (kernel == 5) return convolve<5, 1>(sums, in, weights);
  if (kernel == 7) return convolve<7, 1>(sums, in, weights);
  convolve<9, 1>(sums, in, weights);
}

// Stores the finished outputs of a slot in `group`, and their statistics; sets the sums to zero.
template <class S>
__device__ __forceinline__ void finish_group(const ForwardPass<S>& pass, const Slot& slot, int group, int image,
                                             int tile, int y0, int x0, S* sums) {
  const Shape& shape = pass.shape;
  CSMRI_DEVICE_UNROLL
  for (int o = 0; o < kMaxOutputs; ++o) {
    if (o >= slot.count) break;
    const int channel = slot.branch * shape.branch_channels + group * shape.outputs[slot.branch] + slot.first + o;
    const std::int64_t plane = (std::int64_t{image} * shape.out_channels + channel) * (shape.ny * shape.nx);
    const int x = x0 + lane_column();
    Statistics<S> best{0, 0, -1};
    CSMRI_DEVICE_UNROLL
    for (int r = 0; r < kLaneRows; ++r) {
      const int y = y0 + lane_row() + r;
      if (y >= shape.ny) break;
      Quad<S> quad;
      CSMRI_DEVICE_UNROLL
      for (int p = 0; p < 4; ++p) {
        const S value = quad.v[p] = as_stored(pass.storage, sums[(o * kLaneRows + r) * 4 + p]);
        const int at = y * shape.nx + x + p;
        if (x + p >= shape.nx) continue;
        best.sum += value;
        if (best.argmax < 0 || replaces(value, at, best.maximum, best.argmax)) best.maximum = value, best.argmax = at;
      }
      with_type<S>(pass.storage, pass.features,
                   [&](auto typed) { write_quad(typed + plane + y * shape.nx, x, shape.nx, shape.quads, quad); });
    }
    CSMRI_DEVICE_UNROLL
    for (int step = 16; step; step /= 2) {
      best.sum += __shfl_xor_sync(0xffffffffu, best.sum, step);
      const S maximum = __shfl_xor_sync(0xffffffffu, best.maximum, step);
      const int argmax = __shfl_xor_sync(0xffffffffu, best.argmax, step);
      if (argmax >= 0 && (best.argmax < 0 || replaces(maximum, argmax, best.maximum, best.argmax)))
        best.maximum = maximum, best.argmax = argmax;
    }
    if (threadIdx.x % 32 == 0)
      pass.statistics[(std::int64_t{image} * shape.tiles() + tile) * shape.out_channels + channel] = best;
  }
  CSMRI_DEVICE_UNROLL
  for (int i = 0; i < kMaxOutputs * kLaneRows * 4; ++i) sums[i] = 0;
}

template <class S>
constexpr int stage_size(int warps) {
  return kChannels * (Planes<kHalo>::kSize + warps * kMaxPitch<S>);
}

template <class S>
__global__ void __launch_bounds__(32 * kMaxWarps, std::is_same_v<S, float> ? 2 : 1)
    pyramid_kernel(ForwardPass<S> pass) {
  S* const shared = dynamic_shared<S>();  // two stages: planes, then the weights of each warp
  const Shape& shape = pass.shape;
  const int block = static_cast<int>(blockIdx.x), warp = static_cast<int>(threadIdx.x) / 32;
  const int round = block % pass.rounds, tile = block / pass.rounds % shape.tiles();
  const int image = block / pass.rounds / shape.tiles();
  const int y0 = tile / shape.tiles_x * kTileY, x0 = tile % shape.tiles_x * kTileX;
  // The first warp and the fifth meet on one quarter of a multiprocessor: the two cheap slots of 3 x 3 kernels.
  const int index = round * pass.warps + (warp + 1) % pass.warps;
  const bool active = index < pass.slots;
  const Slot slot = slot_at<Grouping<S> >(shape, active ? index : 0);
  const int stage = kChannels * (Planes<kHalo>::kSize + pass.warps * kMaxPitch<S>);
  const int own_weights = kChannels * (Planes<kHalo>::kSize + warp * kMaxPitch<S>);

  const auto start_loading = [&](int first, S* to) {
    const int n = first + kChannels < shape.in_channels ? kChannels : shape.in_channels - first;
    Planes<kHalo>::load(to, n, y0, x0, shape, pass.storage, [&](int i) {
      const int channel = first + i, p = shape.part_of(channel);
      const std::int64_t plane =
          std::int64_t{image} * (shape.part_begin[p + 1] - shape.part_begin[p]) + channel - shape.part_begin[p];
      return Plane{p == 0 ? pass.part[0] : p == 1 ? pass.part[1] : pass.part[2], plane * (shape.ny * shape.nx)};
    });
    if (active) load_weights(to + own_weights, pass.packed + slot.begin + first * slot.pitch, n * slot.pitch);
    copy_async_commit();
  };

  S sums[kMaxOutputs * kLaneRows * 4];
  CSMRI_DEVICE_UNROLL
  for (int i = 0; i < kMaxOutputs * kLaneRows * 4; ++i) sums[i] = 0;
  int group = 0, taken = 0;
  start_loading(0, shared);
  for (int first = 0; first < shape.in_channels; first += kChannels) {
    const S* here = shared + first / kChannels % 2 * stage;
    if (first + kChannels < shape.in_channels) {
      start_loading(first + kChannels, shared + (first / kChannels + 1) % 2 * stage);
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    __syncthreads();
    const int last = first + kChannels < shape.in_channels ? first + kChannels : shape.in_channels;
    for (int channel = first; active && channel < last; ++channel) {
      convolve_slot(shape, slot, sums, here + (channel - first) * Planes<kHalo>::kSize,
                    here + own_weights + (channel - first) * slot.pitch);
      if (++taken == shape.inputs[slot.branch]) {
        finish_group(pass, slot, group, image, tile, y0, x0, sums);
        taken = 0;
        ++group;
      }
    }
    __syncthreads();  // before the planes are overwritten
  }
}

// Adds up the tiles of one channel of one image, in a fixed order: one warp each.
template <class S>
__global__ void __launch_bounds__(256) pool_tiles_kernel(ForwardPass<S> pass) {
  const Shape& shape = pass.shape;
  const int at = static_cast<int>(blockIdx.x) * 8 + static_cast<int>(threadIdx.x) / 32, tiles = shape.tiles();
  if (at >= shape.batch * shape.out_channels) return;
  const Statistics<S>* of_tile =
      pass.statistics + std::int64_t{at / shape.out_channels} * tiles * shape.out_channels + at % shape.out_channels;
  double sum = 0;
  S maximum = 0;
  int argmax = -1;
  for (int tile = static_cast<int>(threadIdx.x) % 32; tile < tiles; tile += 32) {
    const Statistics<S> next = of_tile[std::int64_t{tile} * shape.out_channels];
    sum += next.sum;
    if (argmax < 0 || replaces(next.maximum, next.argmax, maximum, argmax))
      maximum = next.maximum, argmax = next.argmax;
  }
  CSMRI_DEVICE_UNROLL
  for (int step = 16; step; step /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, step);
    const S other = __shfl_xor_sync(0xffffffffu, maximum, step);
    const int other_argmax = __shfl_xor_sync(0xffffffffu, argmax, step);
    if (other_argmax >= 0 && (argmax < 0 || replaces(other, other_argmax, maximum, argmax)))
      maximum = other, argmax = other_argmax;
  }
  if (threadIdx.x % 32) return;
  write_value(pass.storage, pass.mean, at, static_cast<S>(sum / (static_cast<double>(shape.ny) * shape.nx)));
  write_value(pass.storage, pass.maximum, at, maximum);
  pass.argmax[at] = argmax;
}

template <class S>
std::int64_t packed_size(const Shape& shape) {
  const int slots = n_slots<Grouping<S> >(shape);
  if (slots == 0) return 0;
  const Slot last = slot_at<Grouping<S> >(shape, slots - 1);
  return last.begin + std::int64_t{shape.in_channels} * last.pitch;
}

}  // namespace

template <class T>
std::int64_t pyramid_attention_cuda_scratch_bytes(const PyramidArgs<T>& args) {
  const Shape shape(args.shape, false);
  return packed_size<Sum<T> >(shape) * std::int64_t{sizeof(Sum<T>)} +
         std::int64_t{shape.batch} * shape.tiles() * shape.out_channels * std::int64_t{sizeof(Statistics<Sum<T> >)};
}

template <class T>
void pyramid_attention_cuda(const PyramidArgs<T>& args, const Workspace& work) {
  using S = Sum<T>;
  bool quads = has_quads(args.features, args.shape.nx);
  for (int p = 0; p < args.shape.n_parts; ++p) quads = quads && has_quads(args.part[p], args.shape.nx);
  ForwardPass<S> pass{Shape(args.shape, quads),
                      kStorage<T>,
                      {},
                      args.scale,
                      {},
                      args.features,
                      args.mean,
                      args.maximum,
                      args.argmax,
                      static_cast<S*>(work.scratch),
                      nullptr,
                      0,
                      0,
                      0};
  const Shape& shape = pass.shape;
  for (int p = 0; p < shape.n_parts; ++p) pass.part[p] = args.part[p];
  for (int i = 0; i < shape.n_branches; ++i) pass.weight[i] = args.weight[i];
  pass.statistics = reinterpret_cast<Statistics<S>*>(pass.packed + packed_size<S>(shape));
  pass.slots = n_slots<Grouping<S> >(shape);
  if (pass.slots == 0) return;
  pass.rounds = ceil_div(pass.slots, kMaxWarps);
  pass.warps = ceil_div(pass.slots, pass.rounds);

  const auto on = static_cast<cudaStream_t>(work.stream);
  const auto count = [](std::int64_t n) { return static_cast<unsigned>(n); };
  launch(pack_weights_kernel<S>,
         {dim3(count(ceil_div(shape.in_channels * kMaxPitch<S>, 256)), count(pass.slots)), dim3(256), 0, on}, pass);
  launch(pyramid_kernel<S>,
         {dim3(count(std::int64_t{shape.batch} * shape.tiles() * pass.rounds)), dim3(count(32 * pass.warps)),
          2 * stage_size<S>(pass.warps) * sizeof(S), on},
         pass);
  launch(pool_tiles_kernel<S>, {dim3(count(ceil_div(shape.batch * shape.out_channels, 8))), dim3(256), 0, on}, pass);
}

template void pyramid_attention_cuda<float>(const PyramidArgs<float>&, const Workspace&);
template std::int64_t pyramid_attention_cuda_scratch_bytes(const PyramidArgs<float>&);
template void pyramid_attention_cuda<BFloat16>(const PyramidArgs<BFloat16>&, const Workspace&);
template std::int64_t pyramid_attention_cuda_scratch_bytes(const PyramidArgs<BFloat16>&);
template void pyramid_attention_cuda<Float16>(const PyramidArgs<Float16>&, const Workspace&);
template std::int64_t pyramid_attention_cuda_scratch_bytes(const PyramidArgs<Float16>&);
#ifndef CSMRI_ONLY_FLOAT  // a test may build fewer
template void pyramid_attention_cuda<double>(const PyramidArgs<double>&, const Workspace&);
template std::int64_t pyramid_attention_cuda_scratch_bytes(const PyramidArgs<double>&);
#endif

}  // namespace csmri

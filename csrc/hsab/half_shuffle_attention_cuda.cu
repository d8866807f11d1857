// CUDA forward kernels, three in a row; every warp works alone on 32 pixels, or queries, by 32 channels.
//
//     project_in    q, k, v of a pixel from x: LN's mean and deviation first, then products with Q and K
//     attend        softmax(q k^T / sqrt(width)) v of a head, 32 keys after the other, with a running maximum and sum
//                   (as in flash attention): no score leaves the block
//     project_out   x + O o + b
//
// q, k, v and o lie in scratch, in Sum<T>, pixel after pixel: 4 channels per pixel written and read once, beside x and
// y; keys and values again, from the caches, for every 32 queries of their window or place. Products run on tensor
// cores in three parts (as exact as float32's, whatever torch allows); float64's are plain. Heads wider than 32
// channels compute their scores again for every 32 channels of v. Bound by arithmetic (estimate: not measured on a
// GPU).
#include "core/device_prims.cuh"
#include "core/instantiate.hpp"
#include "core/warp_fragment.cuh"
#include "hsab/half_shuffle_attention.hpp"

namespace csmri {
namespace {

using namespace warp;

constexpr int kWarps = 4, kThreads = 32 * kWarps;
constexpr int kChunk = 32;          // pixels, queries, keys or channels that are multiplied together
constexpr int kPitch = kChunk + 4;  // of a tile of scores; 32 banks: fragments are read without conflicts
constexpr int kPlaces = kWindow * kWindow;

// What the kernels leave for each other.
template <class S>
struct Between {
  S* qkv;       // (pixels, 3 channels): q / sqrt(width), k, v
  S* attended;  // (pixels, channels): o
  std::int64_t bytes;

  template <class Args>
  static Between of(const Args& args, void* scratch) {
    const std::int64_t values = args.batch * args.ny * args.nx * args.channels;
    ScratchCursor cursor(scratch);
    Between between{};
    between.qkv = cursor.take<S>(3 * values);
    between.attended = cursor.take<S>(values);
    between.bytes = cursor.bytes();
    return between;
  }
};

__device__ __forceinline__ float square_root(float value) { return sqrtf(value); }
__device__ __forceinline__ double square_root(double value) { return sqrt(value); }
__device__ __forceinline__ float exponential(float value) { return expf(value); }
__device__ __forceinline__ double exponential(double value) { return exp(value); }

// The tile of a warp: rows from `first` on; no more than `rows` exist.
__device__ __forceinline__ std::int64_t first_of_warp() {
  return (std::int64_t{blockIdx.x} * kWarps + warp_of_thread()) * kChunk;
}

// --- q, k, v = Q n, K n ---------------------------------------------------------------------------------------------
template <class S>
struct Normalization {
  S mean[kChunk], inverse[kChunk];  // of a pixel's channels; 1 / deviation
};

// Grid: x, kWarps tiles of pixels; y, chunks of the 3 channels outputs.
template <class T>
__global__ void __launch_bounds__(kThreads) project_in_kernel(HalfShuffleAttentionArgs<T> args, Between<Sum<T> > to) {
  using S = Sum<T>;
  const std::int64_t channels = args.channels, pixels = args.batch * args.ny * args.nx;
  const std::int64_t first = first_of_warp(), output = std::int64_t{blockIdx.y} * kChunk;
  const int lane = lane_of_thread();
  if (first >= pixels) return;
  Normalization<S>& norm = dynamic_shared<Normalization<S> >()[warp_of_thread()];
  const auto value = [&](int row, std::int64_t channel) {
    return first + row < pixels && channel < channels ? S(widen(args.x[(first + row) * channels + channel])) : S(0);
  };

  S sum = 0, squares = 0;
  for (std::int64_t c = 0; c < channels; ++c) sum += value(lane, c);
  const S mean = sum / S(channels);
  for (std::int64_t c = 0; c < channels; ++c) {
    const S difference = value(lane, c) - mean;
    squares += difference * difference;
  }
  norm.mean[lane] = mean;
  norm.inverse[lane] = S(1) / square_root(squares / S(channels) + S(args.epsilon));
  __syncwarp();

  Fragment<S> result;
  for (std::int64_t c0 = 0; c0 < channels; c0 += kChunk)
    result.template multiply<false>(
        [&](int row, int k) {
          const std::int64_t c = c0 + k;
          if (c >= channels) return S(0);
          const S normal = (value(row, c) - norm.mean[row]) * norm.inverse[row];
          return normal * S(widen(args.norm_weight[c])) + S(widen(args.norm_bias[c]));
        },
        [&](int k, int column) {
          const std::int64_t c = c0 + k, of = output + column;
          if (c >= channels || of >= 3 * channels) return S(0);
          return S(
              widen(of < channels ? args.query[of * channels + c] : args.key_value[(of - channels) * channels + c]));
        });
  const S scale = S(1) / square_root(S(channels / args.heads));
  result.each([&](int row, int column, S& element) {
    const std::int64_t pixel = first + row, of = output + column;
    if (pixel < pixels && of < 3 * channels)
      to.qkv[pixel * 3 * channels + of] = of < channels ? element * scale : element;
  });
}

// --- o = softmax(q k^T) v -------------------------------------------------------------------------------------------
// Which pixels attend to each other: those of a window, or those at the same place of all windows of an image.
struct Groups {
  bool local;
  std::int64_t windows, across, ny, nx;  // of an image

  __device__ __forceinline__ std::int64_t groups() const { return local ? windows : kPlaces; }
  __device__ __forceinline__ std::int64_t tokens() const { return local ? kPlaces : windows; }
  __device__ __forceinline__ std::int64_t pixel(std::int64_t image, std::int64_t group, std::int64_t token) const {
    const std::int64_t window = local ? group : token, place = local ? token : group;
    const std::int64_t y = window / across * kWindow + place / kWindow, x = window % across * kWindow + place % kWindow;
    return (image * ny + y) * nx + x;
  }
};

template <class S>
struct WarpMemory {
  S scores[kChunk * kPitch];                // of 32 queries and 32 keys, then exp(score - largest)
  S factor[kChunk];                         // of a query
  std::int64_t query[kChunk], key[kChunk];  // pixels
};

// Grid: x, kWarps tiles of queries, image after image, group after group; y, chunks of channels, head after head.
template <class T>
__global__ void __launch_bounds__(kThreads)
    attend_kernel(HalfShuffleAttentionArgs<T> args, Between<Sum<T> > between, Groups groups, std::int64_t first_head) {
  using S = Sum<T>;
  const std::int64_t channels = args.channels, width = channels / args.heads, tokens = groups.tokens();
  const std::int64_t tiles = (tokens + kChunk - 1) / kChunk, tile = first_of_warp() / kChunk;
  if (tile >= args.batch * groups.groups() * tiles) return;
  const std::int64_t group = tile / tiles % groups.groups(), image = tile / tiles / groups.groups();
  const std::int64_t first = tile % tiles * kChunk, chunks = (width + kChunk - 1) / kChunk;
  const std::int64_t head = (first_head + blockIdx.y / chunks) * width, channel = blockIdx.y % chunks * kChunk;
  const int lane = lane_of_thread();
  WarpMemory<S>& own = dynamic_shared<WarpMemory<S> >()[warp_of_thread()];
  const auto pixel = [&](std::int64_t token) {
    return groups.pixel(image, group, token < tokens ? token : tokens - 1);  // beyond the last: read and not used
  };
  const auto read = [&](std::int64_t at, int which, std::int64_t c) {
    return c < width ? between.qkv[(3 * at + which) * channels + head + c] : S(0);
  };
  own.query[lane] = pixel(first + lane);

  Fragment<S> result;
  S top = 0, sum = 0;  // of query `lane`: the largest score, the sum of exp(score - largest)
  for (std::int64_t j0 = 0; j0 < tokens; j0 += kChunk) {
    own.key[lane] = pixel(j0 + lane);
    __syncwarp();
    Fragment<S> score;
    for (std::int64_t c0 = 0; c0 < width; c0 += kChunk)
      score.template multiply<false>([&](int row, int k) { return read(own.query[row], 0, c0 + k); },
                                     [&](int k, int column) { return read(own.key[column], 1, c0 + k); });
    score.each([&](int row, int column, S& element) { own.scores[row * kPitch + column] = element; });
    __syncwarp();

    S* const mine = own.scores + lane * kPitch;
    const int n = static_cast<int>(tokens - j0 < kChunk ? tokens - j0 : kChunk);
    const S before = top;
    if (j0 == 0) top = mine[0];
    for (int j = 0; j < n; ++j) top = mine[j] > top ? mine[j] : top;
    own.factor[lane] = j0 == 0 ? S(0) : exponential(before - top);
    sum *= own.factor[lane];
    for (int j = 0; j < kChunk; ++j) {
      mine[j] = j < n ? exponential(mine[j] - top) : S(0);
      sum += mine[j];
    }
    __syncwarp();
    result.each([&](int row, int, S& element) { element *= own.factor[row]; });
    result.template multiply<false>([&](int row, int k) { return own.scores[row * kPitch + k]; },
                                    [&](int k, int column) { return read(own.key[k], 2, channel + column); });
    __syncwarp();
  }
  own.factor[lane] = S(1) / sum;
  __syncwarp();
  result.each([&](int row, int column, S& element) {
    if (first + row < tokens && channel + column < width)
      between.attended[own.query[row] * channels + head + channel + column] = element * own.factor[row];
  });
}

// --- y = x + O o + b ------------------------------------------------------------------------------------------------
// Grid: x, kWarps tiles of pixels; y, chunks of channels.
template <class T>
__global__ void __launch_bounds__(kThreads) project_out_kernel(HalfShuffleAttentionArgs<T> args, const Sum<T>* from) {
  using S = Sum<T>;
  const std::int64_t channels = args.channels, pixels = args.batch * args.ny * args.nx;
  const std::int64_t first = first_of_warp(), output = std::int64_t{blockIdx.y} * kChunk;
  if (first >= pixels) return;
  Fragment<S> result;
  for (std::int64_t c0 = 0; c0 < channels; c0 += kChunk)
    result.template multiply<false>(
        [&](int row, int k) {
          const std::int64_t c = c0 + k;
          return first + row < pixels && c < channels ? from[(first + row) * channels + c] : S(0);
        },
        [&](int k, int column) {
          const std::int64_t c = c0 + k, of = output + column;
          return c < channels && of < channels ? S(widen(args.project[of * channels + c])) : S(0);
        });
  result.each([&](int row, int column, S& element) {
    const std::int64_t pixel = first + row, of = output + column;
    if (pixel >= pixels || of >= channels) return;
    const std::int64_t at = pixel * channels + of;
    args.out[at] = narrow<T>(S(widen(args.x[at])) + (element + S(widen(args.bias[of]))));
  });
}

unsigned blocks_of(std::int64_t tiles) { return static_cast<unsigned>((tiles + kWarps - 1) / kWarps); }
unsigned chunks_of(std::int64_t n) { return static_cast<unsigned>((n + kChunk - 1) / kChunk); }

}  // namespace

template <class T>
void half_shuffle_attention_cuda(const HalfShuffleAttentionArgs<T>& args, const Workspace& work) {
  using S = Sum<T>;
  const auto stream = static_cast<cudaStream_t>(work.stream);
  const std::int64_t pixels = args.batch * args.ny * args.nx, windows = args.ny / kWindow * (args.nx / kWindow);
  const unsigned rows = blocks_of(chunks_of(pixels)), chunks_of_head = chunks_of(args.channels / args.heads);
  const Between<S> between = Between<S>::of(args, work.scratch);
  launch(project_in_kernel<T>,
         {dim3(rows, chunks_of(3 * args.channels)), dim3(kThreads), kWarps * sizeof(Normalization<S>), stream}, args,
         between);
  const std::int64_t local_heads = args.heads == 1 ? 1 : args.heads / 2;
  for (const bool local : {true, false}) {
    const std::int64_t heads = local ? local_heads : args.heads - local_heads;
    const std::int64_t tiles = local ? windows * chunks_of(kPlaces) : kPlaces * std::int64_t{chunks_of(windows)};
    launch(attend_kernel<T>,
           {dim3(blocks_of(args.batch * tiles), static_cast<unsigned>(heads) * chunks_of_head), dim3(kThreads),
            kWarps * sizeof(WarpMemory<S>), stream},
           args, between, Groups{local, windows, args.nx / kWindow, args.ny, args.nx}, local ? 0 : local_heads);
  }
  launch(project_out_kernel<T>, {dim3(rows, chunks_of(args.channels)), dim3(kThreads), 0, stream}, args,
         static_cast<const S*>(between.attended));
}

template <class T>
std::int64_t half_shuffle_attention_cuda_scratch_bytes(const HalfShuffleAttentionArgs<T>& args) {
  return Between<Sum<T> >::of(args, nullptr).bytes;
}

#define INSTANTIATE(T)                                                                                \
  template void half_shuffle_attention_cuda<T>(const HalfShuffleAttentionArgs<T>&, const Workspace&); \
  template std::int64_t half_shuffle_attention_cuda_scratch_bytes<T>(const HalfShuffleAttentionArgs<T>&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

// CUDA backward kernels of an edge of a supernet node, each once for all operations of the edge:
//
//     edge_point_kernel   g of every operation with a point-wise weight, and the parts of d second and of its d alpha
//     edge_depth_kernel   dx, the only time that it is written, and the parts of d first and of skip's d alpha
//     edge_sum_kernel     adds the parts of all gradients, in order, in float64
//
// A block owns 8 rows of 32 pixels. In the first kernel a warp keeps G of its pixels in shared memory and goes from
// operation to operation, filtering x into a tile beside it; in the second it keeps dx of its pixels there, to which
// one operation after another adds. The rows of x and g around it are found in the first-level cache or, by the next
// operation, in the second-level one.
//
// Bytes, k operations with a point-wise weight, 32 channels in float32: 256 + 128 k per pixel (read G and x, write g),
// 384 + 128 k (read g, x and, for skip, G, write dx) and 41 k for parts, written and read: 1530 for an edge of three
// and a skip, where operation after operation moves 3460. g is float32 for 16-bit storage too. Bound by DRAM (estimate:
// not measured on a GPU). 74 KB and 42 KB of shared memory a block.
#include "core/instantiate.hpp"
#include "nasn/backward.cuh"
#include "nasn/supernet_node.hpp"

namespace csmri {
namespace {

using namespace node;

// Scratch: g (terms, batch, ny, nx, channels), then parts (blocks, row). A row: d second (terms, outputs,
// channels), d first (terms, channels, 9), d alpha (terms, chunks of outputs, chunks of channels) and, of skip, (chunks
// of channels). Terms are sorted: those with a depth-wise weight, those with a point-wise weight alone, skips.
template <class T>
struct Edge {
  using S = Sum<T>;
  Blocks blocks;
  int depthwise, learned;  // terms [0, depthwise) have `first`, [0, learned) have `second`
  std::int64_t n_blocks, g_size, planes, second_size, first_size, chunks, skip_chunks;
  bool need_weight;
  S* scratch;

  explicit Edge(const SupernetEdgeBackwardArgs<T>& args, void* scratch_ = nullptr) {
    blocks = {static_cast<int>(args.ny), static_cast<int>(args.nx), kWarps, kPixels};
    depthwise = learned = 0;
    for (int i = 0; i < args.n_terms; ++i) {
      depthwise += has_depthwise_3x3(args.term[i].operation);
      learned += args.term[i].operation != Separable::skip;
    }
    n_blocks = count(blocks, args);
    g_size = args.batch * args.ny * args.nx * args.channels;
    planes = args.grad_x ? learned : depthwise;
    second_size = args.outputs * args.channels, first_size = 9 * args.channels;
    skip_chunks = ceil_div(args.channels, kChunk);
    chunks = skip_chunks * ceil_div(args.outputs, kChunk);
    need_weight = args.need_weight;
    scratch = static_cast<S*>(scratch_);
  }
  CSMRI_HOST_DEVICE std::int64_t first_begin() const { return learned * second_size; }
  CSMRI_HOST_DEVICE std::int64_t alpha_begin() const { return first_begin() + depthwise * first_size; }
  CSMRI_HOST_DEVICE std::int64_t skip_begin() const { return alpha_begin() + learned * chunks; }
  CSMRI_HOST_DEVICE std::int64_t row() const { return skip_begin() + skip_chunks; }
  CSMRI_HOST_DEVICE S* plane(int term) const { return scratch + term * g_size; }
  CSMRI_HOST_DEVICE S* parts(std::int64_t block) const { return scratch + planes * g_size + block * row(); }
  std::int64_t bytes() const {
    return (planes * g_size + (need_weight ? n_blocks * row() : 0)) * static_cast<std::int64_t>(sizeof(S));
  }
};

template <class T>
__device__ __forceinline__ NodeTerm<T> node_term(const SupernetEdgeBackwardArgs<T>& args, int i) {
  return {args.term[i].operation, args.x, args.channels, args.pixel, args.term[i].first, args.term[i].second};
}

template <class S>
__device__ __forceinline__ S sum_over_warp(S value) {
  CSMRI_UNROLL
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  return value;
}

// The first thread gets the sum over the block. shared: kWarps elements, to be read until the next barrier.
template <class S>
__device__ __forceinline__ S sum_over_block(S value, S* shared) {
  value = sum_over_warp(value);
  if (lane_of_thread() == 0) shared[warp_of_thread()] = value;
  __syncthreads();
  S sum = 0;
  if (threadIdx.x == 0)
    for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp];
  return sum;
}

// Grid: x, blocks; y, chunks of channels; z, chunks of outputs, each of which makes its part of d second; the first
// makes g.
template <bool kTf32, class T>
__global__ void __launch_bounds__(kThreads, kBlocks<Sum<T> >)
    edge_point_kernel(SupernetEdgeBackwardArgs<T> args, Edge<T> edge) {
  using S = Sum<T>;
  const Blocks& blocks = edge.blocks;
  const int image = blocks.image(), y = blocks.y0() + warp_of_thread(), x0 = blocks.x0(), nx = blocks.nx;
  const int channels = static_cast<int>(blockIdx.y) * kChunk, outputs = static_cast<int>(blockIdx.z) * kChunk;
  const int all_outputs = static_cast<int>(args.outputs), all_channels = static_cast<int>(args.channels);
  S* const tile = dynamic_shared<S>() + warp_of_thread() * 2 * kSquare;
  S* const gradient = tile + kSquare;
  const auto fill = [&](int first) {
    fill_rows(gradient,
              Channel<T>(args.grad, args.grad_pixel, image, blocks.ny, nx, first + lane_of_thread(), all_outputs), y,
              x0);
  };
  if (y < blocks.ny) fill(outputs);
  CSMRI_DEVICE_LOOP
  for (int i = 0; i < edge.learned; ++i) {
    const NodeTerm<T> term = node_term(args, i);
    if (y < blocks.ny) {
      fill_tile(tile, term, image, blocks.ny, nx, channels + lane_of_thread(), y, x0);
      __syncwarp();
      if (outputs == 0 && i < edge.planes) {
        Fragment<S> back;  // (pixels, channels)
        back_through_point<kTf32>(back, term, all_outputs, channels, gradient, fill);
        const S alpha = widen(*args.term[i].alpha);
        S* const g = edge.plane(i) + ((std::int64_t{image} * blocks.ny + y) * nx + x0) * all_channels + channels;
        back.each([&](int row, int column, S& sum) {
          if (x0 + row < nx && channels + column < all_channels)
            g[row * all_channels + column] = tile[row * kPitch + column] > 0 ? alpha * sum : S(0);
        });
        if (all_outputs > kChunk) {  // gradient holds the last chunk
          __syncwarp();
          fill(outputs);
          __syncwarp();
        }
      }
    }
    if (!edge.need_weight) {
      __syncwarp();  // the tile is read by then
      continue;
    }
    Fragment<S> products;  // (outputs, channels)
    if (y < blocks.ny) add_products<kTf32>(products, gradient, tile, nx - x0);
    S* const parts = edge.parts(blockIdx.x);
    S inner = 0;  // of d second and second
    leave_products(products, [&](int row, int column, S sum) {
      const int output = outputs + row, channel = channels + column;
      if (output >= all_outputs || channel >= all_channels) return;
      parts[i * edge.second_size + output * all_channels + channel] = sum;
      inner += sum * point_weight(term, all_outputs, output, channel);
    });
    inner = sum_over_block(inner, dynamic_shared<S>() + 2 * kWarps * kSquare);
    if (threadIdx.x == 0) parts[edge.alpha_begin() + i * edge.chunks + blockIdx.z * gridDim.y + blockIdx.y] = inner;
  }
}

// Grid: x, blocks; y, chunks of channels.
template <class T>
__global__ void __launch_bounds__(kThreads, sizeof(Sum<T>) == 4 ? 3 : 2)
    edge_depth_kernel(SupernetEdgeBackwardArgs<T> args, Edge<T> edge) {
  using S = Sum<T>;
  const Blocks& blocks = edge.blocks;
  const int image = blocks.image(), y = blocks.y0() + warp_of_thread(), x0 = blocks.x0(), x1 = blocks.x1();
  const int chunk = static_cast<int>(blockIdx.y) * kChunk, channel = chunk + lane_of_thread();
  const Channel<T> x(args.x, args.pixel, image, blocks.ny, blocks.nx, channel, args.channels);
  const auto plane = [&](int term) {
    return Channel<S>(edge.plane(term), args.channels, image, blocks.ny, blocks.nx, channel, args.channels);
  };
  // After what leave_taps needs; a lane reads and writes its own channel alone.
  S* const shared = dynamic_shared<S>() + 9 * kThreads;
  S* const back = shared + kWarps + warp_of_thread() * kPixels * kChunk + lane_of_thread();
  CSMRI_DEVICE_LOOP
  for (int i = 0; i < kPixels; ++i) back[i * kChunk] = 0;
  CSMRI_DEVICE_LOOP
  for (int i = 0; i < edge.depthwise; ++i) {
    S taps[9], sums[9] = {};
    load_taps(taps, args.term[i].first, channel, x.live);
    if (y < blocks.ny)
      slide_gradients(x, plane(i), taps, sums, radius_of(args.term[i].operation), y, x0, x1,
                      [&](int column, S value) { back[(column - x0) * kChunk] += value; });
    if (!edge.need_weight) continue;
    if (i > 0) __syncthreads();  // shared memory is read by then
    leave_taps(sums, edge.parts(blockIdx.x) + edge.first_begin() + i * edge.first_size, chunk, args.channels);
  }
  const bool skips = edge.learned < args.n_terms;
  S factor = 0, inner = 0;  // of G and x
  for (int i = edge.learned; i < args.n_terms; ++i) factor += widen(*args.term[i].alpha);
  if (y < blocks.ny && (skips || args.grad_x)) {
    const Channel<T> grad(args.grad, args.grad_pixel, image, blocks.ny, blocks.nx, channel, args.outputs);
    CSMRI_DEVICE_LOOP
    for (int column = x0; column < x1; ++column) {
      const S g = skips ? grad(y, column) : S(0);
      if (skips) inner += g * x(y, column);
      if (!args.grad_x || !x.live) continue;
      S value = back[(column - x0) * kChunk] + factor * g;
      for (int i = edge.depthwise; i < edge.learned; ++i) value += plane(i)(y, column);
      write_grad_x(args, (std::int64_t{image} * blocks.ny + y) * blocks.nx + column, channel, value);
    }
  }
  if (!edge.need_weight || !skips) return;
  inner = sum_over_block(inner, shared);
  if (threadIdx.x == 0) edge.parts(blockIdx.x)[edge.skip_begin() + blockIdx.y] = inner;
}

// Grid: x, 32 elements each of a gradient; y, terms; z, which gradient: second, first, alpha. A warp adds every eighth
// block's parts.
template <class T>
__global__ void __launch_bounds__(kThreads) edge_sum_kernel(SupernetEdgeBackwardArgs<T> args, Edge<T> edge) {
  const int term = static_cast<int>(blockIdx.y), lane = lane_of_thread();
  const EdgeTerm<T>& to = args.term[term];
  const bool second = blockIdx.z == 0, first = blockIdx.z == 1, alpha = blockIdx.z == 2, skip = term >= edge.learned;
  if ((second && skip) || (first && term >= edge.depthwise)) return;
  const std::int64_t begin = second  ? term * edge.second_size
                             : first ? edge.first_begin() + term * edge.first_size
                             : skip  ? edge.skip_begin()
                                     : edge.alpha_begin() + term * edge.chunks;
  const std::int64_t size = second ? edge.second_size : first ? edge.first_size : skip ? edge.skip_chunks : edge.chunks;
  const std::int64_t at = std::int64_t{blockIdx.x} * 32 + lane;
  if (std::int64_t{blockIdx.x} * 32 >= (alpha ? 1 : size)) return;
  double* const shared = dynamic_shared<double>();
  double sum = 0;
  for (std::int64_t i = at; i < size; i += 32) {
    for (std::int64_t block = warp_of_thread(); block < edge.n_blocks; block += kWarps)
      sum += edge.parts(block)[begin + i];
    if (!alpha) break;  // all chunks belong to one number
  }
  shared[threadIdx.x] = sum;
  __syncthreads();
  if (warp_of_thread() > 0) return;
  sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += shared[warp * 32 + lane];
  if (alpha) {
    sum = sum_over_warp(sum);
    if (lane == 0) *to.grad_alpha = narrow<T>(static_cast<Sum<T> >(sum));
  } else if (at < size) {
    const double value = second ? sum * static_cast<double>(widen(*to.alpha)) : sum;
    (second ? to.grad_second : to.grad_first)[at] = narrow<T>(static_cast<Sum<T> >(value));
  }
}

// The terms in the order that Edge asks for.
template <class T>
SupernetEdgeBackwardArgs<T> sorted(const SupernetEdgeBackwardArgs<T>& args) {
  SupernetEdgeBackwardArgs<T> result = args;
  result.n_terms = 0;
  for (int kind = 0; kind < 3; ++kind)
    for (int i = 0; i < args.n_terms; ++i) {
      const Separable operation = args.term[i].operation;
      if (kind == (operation == Separable::skip ? 2 : operation == Separable::pointwise ? 1 : 0))
        result.term[result.n_terms++] = args.term[i];
    }
  return result;
}

}  // namespace

template <class T>
std::int64_t supernet_edge_backward_cuda_scratch_bytes(const SupernetEdgeBackwardArgs<T>& args) {
  return Edge<T>(args).bytes();
}

template <class T>
void supernet_edge_backward_cuda(const SupernetEdgeBackwardArgs<T>& given, const Workspace& work) {
  using S = Sum<T>;
  const SupernetEdgeBackwardArgs<T> args = sorted(given);
  const Edge<T> edge(args, work.scratch);
  const auto blocks = static_cast<unsigned>(edge.n_blocks), chunks = static_cast<unsigned>(edge.skip_chunks);
  const auto queue = static_cast<cudaStream_t>(work.stream);
  if (edge.learned && (edge.planes || args.need_weight)) {
    const auto grids = static_cast<unsigned>(args.need_weight ? ceil_div(args.outputs, kChunk) : 1);
    const LaunchShape shape{dim3(blocks, chunks, grids), dim3(kThreads), (2 * kWarps * kSquare + kWarps) * sizeof(S),
                            queue};
    with_products<T>(args.tf32, [&](auto tf32) { launch(edge_point_kernel<tf32(), T>, shape, args, edge); });
  }
  const bool weights_of_depth = args.need_weight && (edge.depthwise || edge.learned < args.n_terms);
  if (args.grad_x || weights_of_depth)
    launch(
        edge_depth_kernel<T>,
        {dim3(blocks, chunks), dim3(kThreads), (9 * kThreads + kWarps + kWarps * kPixels * kChunk) * sizeof(S), queue},
        args, edge);
  if (!args.need_weight) return;
  const std::int64_t most = edge.second_size > edge.first_size ? edge.second_size : edge.first_size;
  launch(edge_sum_kernel<T>,
         {dim3(static_cast<unsigned>(ceil_div(most, 32)), static_cast<unsigned>(args.n_terms), 3), dim3(kThreads),
          kThreads * sizeof(double), queue},
         args, edge);
}

#define INSTANTIATE(T)                                                                                \
  template void supernet_edge_backward_cuda<T>(const SupernetEdgeBackwardArgs<T>&, const Workspace&); \
  template std::int64_t supernet_edge_backward_cuda_scratch_bytes(const SupernetEdgeBackwardArgs<T>&);
CSMRI_FOR_CUDA_TYPES(INSTANTIATE)
#undef INSTANTIATE

}  // namespace csmri

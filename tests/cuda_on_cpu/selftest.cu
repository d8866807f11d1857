// Small kernels, right and wrong, on which the emulator itself is tested.
#include "core/device_prims.cuh"
#include "entry.hpp"

using namespace csmri;

namespace {

// out[block] = sum of the block's 256 elements of x (n): shuffles inside warps, then one warp over the 8 sums.
__global__ void block_sums(const float* x, float* out, int n) {
  float* partial = dynamic_shared<float>();
  const int i = static_cast<int>(blockIdx.x * 256 + threadIdx.x), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float value = i < n ? x[i] : 0.0f;
  for (int step = 16; step; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  if (warp == 0) {
    value = lane < 8 ? partial[lane] : 0.0f;
    for (int step = 4; step; step /= 2) value += __shfl_down_sync(0xffffffffu, value, step);
    if (lane == 0) out[blockIdx.x] = value;
  }
}

// out[i] = x[i] + x[i + 1] inside each block of 64, wrapping around. kBarrier: with the barrier that it needs.
// kShared: floats of shared memory that the host asks for.
template <bool kBarrier>
__global__ void neighbour_sums(const float* x, float* out) {
  float* tile = dynamic_shared<float>();
  const int t = threadIdx.x, i = static_cast<int>(blockIdx.x) * 64 + t;
  tile[t] = x[i];
  if (kBarrier) __syncthreads();
  out[i] = tile[t] + tile[(t + 1) % 64];
}

// out[i / 2] = i for all i: neighbouring threads, and with n odd also neighbouring blocks, write the same element.
__global__ void overlapping_blocks(float* out) {
  if (threadIdx.x == 0) out[blockIdx.x / 2] = static_cast<float>(blockIdx.x);
}

__global__ void misuse(int kind, float* out) {
  const int t = threadIdx.x;
  if (kind == 0) {  // a barrier that half the block reaches elsewhere
    if (t < 32)
      __syncthreads();
    else {
      __syncthreads();
    }
  } else if (kind == 1) {  // threads that return before a barrier
    if (t >= 40) return;
    __syncthreads();
  } else if (kind == 2) {  // half a warp shuffles, the other half waits for the block
    if (t % 32 < 16) out[t] = __shfl_sync(0xffffffffu, static_cast<float>(t), 0);
    __syncthreads();
  } else if (kind == 3) {  // a lane outside its own mask
    out[t] = __shfl_sync(0x0000ffffu, static_cast<float>(t), 0);
  } else if (kind == 4) {  // lanes that disagree about who takes part
    out[t] = __shfl_sync(t % 2 ? 0xffffffffu : 0x55555555u, static_cast<float>(t), 0);
  }
}

// out = x, through copies that arrive when waited for; elements from `inside` on are zeros. kWait: with the wait.
template <bool kWait>
__global__ void staged_copy(const float* x, float* out, int inside) {
  float* tile = dynamic_shared<float>();
  const int t = threadIdx.x;
  copy_async<4>(tile + t, x + (t < inside ? t : 0), t < inside);
  copy_async_commit();
  copy_async<16>(tile + 32 + 4 * t, x + 4 * t);
  copy_async_commit();
  if (kWait) copy_async_wait<1>();
  out[t] = tile[t];
  copy_async_wait<0>();
  for (int i = 0; i < 4; ++i) out[32 + 4 * t + i] = tile[32 + 4 * t + i];
}

// Block r of a cluster of 4 reads the tile of block r + 1. kSync: with the second cluster barrier.
__global__ void rotate_blocks(const float* x, float* out) {
  float* tile = dynamic_shared<float>();
  const int t = threadIdx.x, i = static_cast<int>(blockIdx.x) * 32 + t;
  tile[t] = x[i];
  cluster_sync();
  out[i] = shared_of_rank(tile, (cluster_rank() + 1) % 4)[t];
  cluster_sync();
}

// C (16 x 8) += A (16 x k) B (k x 8), row-major float, by one warp.
__global__ void small_products(const float* a, const float* b, float* c_tf32, float* c_bf16) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  float c[4] = {c_tf32[8 * g + 2 * t], c_tf32[8 * g + 2 * t + 1], c_tf32[8 * (g + 8) + 2 * t],
                c_tf32[8 * (g + 8) + 2 * t + 1]};
  const unsigned a8[4] = {tf32_bits(a[16 * g + t]), tf32_bits(a[16 * (g + 8) + t]), tf32_bits(a[16 * g + t + 4]),
                          tf32_bits(a[16 * (g + 8) + t + 4])};
  const unsigned b8[2] = {tf32_bits(b[8 * t + g]), tf32_bits(b[8 * (t + 4) + g])};
  mma_tf32(c, a8, b8);
  float d[4] = {0, 0, 0, 0};
  const auto pair = [](float low, float high) {  // exact in bfloat16
    return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u);
  };
  const auto a_pair = [&](int row, int k) { return pair(a[16 * row + k], a[16 * row + k + 1]); };
  const auto b_pair = [&](int k) { return pair(b[8 * k + g], b[8 * (k + 1) + g]); };
  const unsigned a16[4] = {a_pair(g, 2 * t), a_pair(g + 8, 2 * t), a_pair(g, 2 * t + 8), a_pair(g + 8, 2 * t + 8)};
  const unsigned b16[2] = {b_pair(2 * t), b_pair(2 * t + 8)};
  mma_bf16(d, a16, b16);
  for (int i = 0; i < 4; ++i) {
    const int at = 8 * (g + i / 2 * 8) + 2 * t + i % 2;
    c_tf32[at] = c[i];
    c_bf16[at] = d[i];
  }
}

template <class T = float>
T* array(void* const* arrays, int i) {
  return static_cast<T*>(arrays[i]);
}

}  // namespace

CUDA_ON_CPU_ENTRY(run_block_sums) {
  const int n = static_cast<int>(numbers[0]);
  launch(block_sums, {dim3((n + 255) / 256), dim3(256), 8 * sizeof(float)}, array(arrays, 0), array(arrays, 1), n);
}
CUDA_ON_CPU_ENTRY(run_neighbour_sums) {  // numbers: blocks, with barrier, floats of shared memory
  launch(numbers[1] ? neighbour_sums<true> : neighbour_sums<false>,
         {dim3(static_cast<unsigned>(numbers[0])), dim3(64), static_cast<std::size_t>(numbers[2]) * sizeof(float)},
         array(arrays, 0), array(arrays, 1));
}
CUDA_ON_CPU_ENTRY(run_overlapping_blocks) {
  launch(overlapping_blocks, {dim3(static_cast<unsigned>(numbers[0])), dim3(32)}, array(arrays, 0));
}
CUDA_ON_CPU_ENTRY(run_misuse) { launch(misuse, {dim3(1), dim3(64)}, static_cast<int>(numbers[0]), array(arrays, 0)); }
CUDA_ON_CPU_ENTRY(run_staged_copy) {  // numbers: elements inside, with the wait
  launch(numbers[1] ? staged_copy<true> : staged_copy<false>, {dim3(1), dim3(32), 160 * sizeof(float)},
         array(arrays, 0), array(arrays, 1), static_cast<int>(numbers[0]));
}
CUDA_ON_CPU_ENTRY(run_rotate_blocks) {
  launch(rotate_blocks, {dim3(8), dim3(32), 32 * sizeof(float), nullptr, 4}, array(arrays, 0), array(arrays, 1));
}
CUDA_ON_CPU_ENTRY(run_small_products) {
  launch(small_products, {dim3(1), dim3(32)}, array(arrays, 0), array(arrays, 1), array(arrays, 2), array(arrays, 3));
}

// The only file where kernels meet the machine: launch, dynamic shared memory, streaming loads, asynchronous copies,
// clusters, tensor-core products. Everything else in a .cu file is plain CUDA C++.
//
// Without nvcc the same sources compile with a C++ compiler and run on the CPU (tests/cuda_on_cpu). Each primitive has
// a portable body; the fast body is compiled where the architecture has the instruction. -DCSMRI_PORTABLE selects the
// portable bodies under nvcc too, so that both can be compared on a GPU.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "cuda_on_cpu.hpp"
#endif

#include "core/host_device.hpp"
#include "core/storage.hpp"

// The architecture whose instructions the bodies below may use; 0: portable.
#if defined(__CUDA_ARCH__) && !defined(CSMRI_PORTABLE)
#define CSMRI_SM __CUDA_ARCH__
#else
#define CSMRI_SM 0
#endif

// For bodies of a thousand multiply-adds: unrolled by nvcc, left as loops by a C++ compiler, which would need minutes
// to unroll them. CSMRI_DEVICE_LOOP: left as a loop by nvcc too, where unrolling would cost registers.
#ifdef __CUDACC__
#define CSMRI_DEVICE_UNROLL _Pragma("unroll")
#define CSMRI_DEVICE_LOOP _Pragma("unroll 1")
#else
#define CSMRI_DEVICE_UNROLL
#define CSMRI_DEVICE_LOOP
#endif

namespace csmri {

// --- launch ---------------------------------------------------------------------------------------------------
struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  cudaStream_t stream = nullptr;
  int cluster = 1;  // blocks per cluster, along x; more than 1 needs sm_90
};

#ifdef __CUDACC__
inline void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // or the next CUDA call of the process would report it again
  throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}
#endif

// Enqueues kernel(args...) on the stream; does nothing for an empty grid. Throws std::runtime_error with CUDA's
// message.
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), const LaunchShape& shape, Args&&... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
#ifdef __CUDACC__
  cudaError_t error = cudaSuccess;
  if (shape.shared_bytes > 48 * 1024)
    error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shape.shared_bytes));
  if (error == cudaSuccess) {
    cudaLaunchConfig_t config{};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = shape.stream;
    cudaLaunchAttribute attribute{};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(shape.cluster);
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    config.attrs = &attribute;
    config.numAttrs = shape.cluster > 1 ? 1 : 0;
    error = cudaLaunchKernelEx(&config, kernel, std::forward<Args>(args)...);
  }
  check(error);
#else
  cuda_on_cpu::launch(shape.grid, shape.block, shape.shared_bytes, shape.cluster, [&] { kernel(args...); });
#endif
}

// Enqueues zeros over `bytes` bytes at p.
inline void zero_async(void* p, std::size_t bytes, [[maybe_unused]] cudaStream_t stream) {
#ifdef __CUDACC__
  check(cudaMemsetAsync(p, 0, bytes, stream));
#else
  std::memset(p, 0, bytes);
#endif
}

// Multiprocessors of the current device.
inline int multiprocessors() {
#ifdef __CUDACC__
  int device = 0, count = 1;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
#else
  return 132;
#endif
}

// The dynamic shared memory of the block, 16-byte aligned.
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char csmri_dynamic_shared[];
  return reinterpret_cast<T*>(csmri_dynamic_shared);
#else
  return reinterpret_cast<T*>(cuda_on_cpu::shared_memory());
#endif
}

// --- global memory --------------------------------------------------------------------------------------------
// For data that is used once: first to leave the caches. T: float, float2, float4, double, double2, int types.
template <class T>
__device__ __forceinline__ T load_streaming(const T* p) {
#if CSMRI_SM
  return __ldcs(p);
#else
  return *p;
#endif
}
template <class T>
__device__ __forceinline__ void store_streaming(T* p, T value) {
#if CSMRI_SM
  __stcs(p, value);
#else
  *p = value;
#endif
}

// --- 16-bit storage -------------------------------------------------------------------------------------------
// widen: exact. narrow: to the nearest, ties to even.
__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ float widen(BFloat16 value) { return __uint_as_float(std::uint32_t{value.bits} << 16); }
__device__ __forceinline__ float widen(Float16 value) {
#if CSMRI_SM >= 800
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#else
  const std::uint32_t sign = (value.bits & 0x8000u) << 16, rest = (value.bits & 0x7fffu) << 13;
  const float scaled = __uint_as_float(rest) * 0x1p112f;  // exponents of half precision are biased by 112 less
  const std::uint32_t infinite = rest >= 0x0f800000u ? 0x7f800000u : 0u;
  return __uint_as_float(__float_as_uint(scaled) | infinite | sign);
#endif
}

template <class T>
__device__ __forceinline__ T narrow(Sum<T> value) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    BFloat16 result;
#if CSMRI_SM >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#else
    const std::uint32_t bits = __float_as_uint(value);
    const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    result.bits = static_cast<std::uint16_t>(value != value ? 0x7fffu : rounded);
#endif
    return result;
  } else if constexpr (std::is_same_v<T, Float16>) {
    Float16 result;
#if CSMRI_SM >= 800
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#else
    const std::uint32_t bits = __float_as_uint(value), rest = bits & 0x7fffffffu;
    std::uint32_t half;
    if (rest > 0x7f800000u)
      half = 0x7fffu;  // NaN
    else if (rest >= 0x477ff000u)
      half = 0x7c00u;             // rounds to infinity
    else if (rest < 0x38800000u)  // subnormal: 0.5 has their spacing as its last place
      half = __float_as_uint(__uint_as_float(rest) + 0.5f) - 0x3f000000u;
    else
      half = (rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13;
    result.bits = static_cast<std::uint16_t>(half | (bits >> 16 & 0x8000u));
#endif
    return result;
  } else {
    return value;
  }
}

// --- asynchronous copy, global to shared ----------------------------------------------------------------------
// copy_async<kBytes>(shared, global, inside) for kBytes 4, 8 or 16, both addresses aligned to kBytes; where `inside` is
// false, zeros are written and global is not read. The bytes may be used after copy_async_commit(),
// copy_async_wait<n>() (all but the last n commits have arrived) and __syncthreads().
template <int kBytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool inside = true) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "cp.async copies 4, 8 or 16 bytes");
#if CSMRI_SM >= 800
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  const int bytes = inside ? kBytes : 0;
  if constexpr (kBytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(kBytes), "r"(bytes)
                 : "memory");
  }
#elif defined(__CUDACC__)
  using Word = std::conditional_t<kBytes == 16, uint4, std::conditional_t<kBytes == 8, uint2, unsigned> >;
  *static_cast<Word*>(shared) = inside ? *static_cast<const Word*>(global) : Word{};
#else
  cuda_on_cpu::copy_async(shared, global, kBytes, inside);
#endif
}
__device__ __forceinline__ void copy_async_commit() {
#if CSMRI_SM >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#elif !defined(__CUDACC__)
  cuda_on_cpu::copy_async_commit();
#endif
}
template <int kPending>
__device__ __forceinline__ void copy_async_wait() {
#if CSMRI_SM >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#elif !defined(__CUDACC__)
  cuda_on_cpu::copy_async_wait(kPending);
#endif
}

// --- clusters (sm_90) -----------------------------------------------------------------------------------------
// Without clusters (portable bodies under nvcc) these hold for clusters of one block.
__device__ __forceinline__ int cluster_rank() {
#if CSMRI_SM >= 900
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
#elif defined(__CUDACC__)
  return 0;
#else
  return cuda_on_cpu::machine.current->block->rank;
#endif
}
#ifdef __CUDACC__
__device__ __forceinline__ void cluster_sync() {
#if CSMRI_SM >= 900
  asm volatile("barrier.cluster.arrive.aligned;\n\tbarrier.cluster.wait.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}
#else
#define cluster_sync() cuda_on_cpu::cluster_barrier(__LINE__)
#endif
// The address in block `rank` of the cluster that corresponds to p, which points into this block's shared memory.
template <class T>
__device__ __forceinline__ T* shared_of_rank(T* p, int rank) {
#if CSMRI_SM >= 900
  std::uint64_t there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(reinterpret_cast<std::uint64_t>(p)), "r"(rank));
  return reinterpret_cast<T*>(there);
#elif defined(__CUDACC__)
  (void)rank;
  return p;
#else
  return cuda_on_cpu::shared_of_rank(p, rank);
#endif
}

// --- tensor cores ---------------------------------------------------------------------------------------------
// C += A B by one warp, A (16 x k), B (k x 8), C (16 x 8), fragments in registers as PTX lays them out. With
// lane = 4 g + t:  c = C[g][2t], C[g][2t+1], C[g+8][2t], C[g+8][2t+1].
//
// The portable bodies take the other lanes' registers by shuffles and add in the order of k in float32; tensor cores
// add in another order.

// The registers of all lanes of a warp, for any lane to read.
template <int kRegisters>
class WarpRegisters {
 public:
#ifdef __CUDACC__
  __device__ explicit WarpRegisters(const unsigned (&mine)[kRegisters]) : mine_(mine) {}
  __device__ unsigned of(int lane, int i) const { return __shfl_sync(0xffffffffu, mine_[i], lane); }

 private:
  const unsigned (&mine_)[kRegisters];
#else
  explicit WarpRegisters(const unsigned (&mine)[kRegisters]) { cuda_on_cpu::all_lanes(mine, all_); }
  unsigned of(int lane, int i) const { return all_[lane][i]; }

 private:
  unsigned all_[32][kRegisters];
#endif
};

// The nearest tf32 number (8 bits of exponent, 10 of mantissa; ties away from zero), as the bits of a float.
__device__ __forceinline__ unsigned tf32_bits(float value) {
#if CSMRI_SM >= 800
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
#else
  return (__float_as_uint(value) + 0x1000u) & 0xffffe000u;
#endif
}

// k = 8, tf32 (the low 13 bits of each operand are ignored).
// a = A[g][t], A[g+8][t], A[g][t+4], A[g+8][t+4];  b = B[t][g], B[t+4][g].
__device__ __forceinline__ void mma_tf32(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if CSMRI_SM >= 800
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const WarpRegisters<4> a_of(a);
  const WarpRegisters<2> b_of(b);
  CSMRI_UNROLL
  for (int k = 0; k < 8; ++k) {
    const float a_low = __uint_as_float(a_of.of(4 * g + k % 4, k / 4 * 2) & 0xffffe000u);
    const float a_high = __uint_as_float(a_of.of(4 * g + k % 4, k / 4 * 2 + 1) & 0xffffe000u);
    const float b_left = __uint_as_float(b_of.of(4 * (2 * t) + k % 4, k / 4) & 0xffffe000u);
    const float b_right = __uint_as_float(b_of.of(4 * (2 * t + 1) + k % 4, k / 4) & 0xffffe000u);
    c[0] += a_low * b_left;
    c[1] += a_low * b_right;
    c[2] += a_high * b_left;
    c[3] += a_high * b_right;
  }
#endif
}

// k = 16, bfloat16 in pairs, the lower column (of A) or row (of B) in the low half of the register.
// a = A[g][2t..2t+1], A[g+8][2t..], A[g][2t+8..], A[g+8][2t+8..];  b = B[2t..2t+1][g], B[2t+8..][g].
__device__ __forceinline__ void mma_bf16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if CSMRI_SM >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
  const WarpRegisters<4> a_of(a);
  const WarpRegisters<2> b_of(b);
  CSMRI_UNROLL
  for (int k = 0; k < 16; ++k) {
    const int from = k % 8 / 2, half = k / 8, shift = k % 2 ? 0 : 16;  // a float's high half is a bfloat16
    const float a_low = __uint_as_float(a_of.of(4 * g + from, 2 * half) << shift & 0xffff0000u);
    const float a_high = __uint_as_float(a_of.of(4 * g + from, 2 * half + 1) << shift & 0xffff0000u);
    const float b_left = __uint_as_float(b_of.of(4 * (2 * t) + from, half) << shift & 0xffff0000u);
    const float b_right = __uint_as_float(b_of.of(4 * (2 * t + 1) + from, half) << shift & 0xffff0000u);
    c[0] += a_low * b_left;
    c[1] += a_low * b_right;
    c[2] += a_high * b_left;
    c[3] += a_high * b_right;
  }
#endif
}

}  // namespace csmri

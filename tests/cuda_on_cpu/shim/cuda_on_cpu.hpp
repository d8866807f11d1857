// The names of CUDA that our kernel sources use, for a C++ compiler. csrc/core/device_prims.cuh includes this file
// where nvcc does not compile it.
//
// `__shared__` is missing on purpose: kernels take their shared memory from dynamic_shared() of device_prims.cuh,
// where overruns and reads of what nobody wrote are seen.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "grid.hpp"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

using cudaStream_t = void*;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

#define threadIdx (cuda_on_cpu::machine.current->thread)
#define blockIdx (cuda_on_cpu::machine.current->block->index)
#define blockDim (cuda_on_cpu::machine.block)
#define gridDim (cuda_on_cpu::machine.grid)

#define __syncthreads() cuda_on_cpu::block_barrier(__LINE__)
#define __syncthreads_count(predicate) cuda_on_cpu::block_count(__LINE__, predicate)
#define __syncwarp(...) cuda_on_cpu::WarpSync{__LINE__}(__VA_ARGS__)
#define __shfl_sync(mask, value, lane) cuda_on_cpu::shuffle(mask, __LINE__, value, lane)
#define __shfl_xor_sync(mask, value, bits) \
  cuda_on_cpu::shuffle(mask, __LINE__, value, cuda_on_cpu::lane_number() ^ (bits))
#define __shfl_down_sync(mask, value, n) \
  cuda_on_cpu::shuffle(mask, __LINE__, value, cuda_on_cpu::lane_number() + static_cast<int>(n))
#define __shfl_up_sync(mask, value, n) \
  cuda_on_cpu::shuffle(mask, __LINE__, value, cuda_on_cpu::lane_number() - static_cast<int>(n))
#define __ballot_sync(mask, predicate) cuda_on_cpu::ballot(mask, __LINE__, predicate)

namespace cuda_on_cpu {

// __syncthreads_count. Generations take turns with three counters: one is counted, one read, one cleared.
CUDA_ON_CPU_QUIET inline int block_count(int line, bool predicate) {
  Block& block = *machine.current->block;
  const unsigned generation = block.generation;
  block.counts[generation % 3] += predicate;
  block_barrier(line);
  block.counts[(generation + 2) % 3] = 0;
  return block.counts[generation % 3];
}

struct WarpSync {
  int line;
  void operator()(unsigned mask = 0xffffffffu) const {
    char nothing = 0;
    warp_collective(mask, line, nothing, [](char* const*) {});
  }
};

inline unsigned ballot(unsigned mask, int line, bool predicate) {
  struct Lane {
    bool predicate;
    unsigned result;
  } mine{predicate, 0};
  warp_collective(mask, line, mine, [](Lane* const* lanes) {
    unsigned bits = 0;
    for (int lane = 0; lane < kWarp; ++lane)
      if (lanes[lane] && lanes[lane]->predicate) bits |= 1u << lane;
    for (int lane = 0; lane < kWarp; ++lane)
      if (lanes[lane]) lanes[lane]->result = bits;
  });
  return mine.result;
}

// all[lane] = what `lane` passes as `mine`.
template <class T, int n>
void all_lanes(const T (&mine)[n], T (&all)[kWarp][n]) {
  struct Lane {
    const T (*mine)[n];
    T (*all)[kWarp][n];
  } lane{&mine, &all};
  warp_collective(0xffffffffu, 0, lane, [](Lane* const* lanes) {
    for (int to = 0; to < kWarp; ++to)
      for (int from = 0; from < kWarp; ++from)
        if (lanes[to] && lanes[from]) std::memcpy((*lanes[to]->all)[from], *lanes[from]->mine, sizeof(T) * n);
  });
}

// Asynchronous copies arrive as late as the rules allow: when the thread waits for them.
inline void copy_async(void* shared, const void* global, int bytes, bool inside) {
  if (reinterpret_cast<std::uintptr_t>(shared) % bytes || reinterpret_cast<std::uintptr_t>(global) % bytes)
    fail("copy_async: an address is not aligned to %d bytes", bytes);
  machine.current->copies.push_back({shared, inside ? global : nullptr, bytes, machine.current->commits});
}
inline void copy_async_commit() { ++machine.current->commits; }
inline void copy_async_wait(int pending) {
  auto& copies = machine.current->copies;
  std::size_t n = 0;
  for (; n < copies.size() && copies[n].group < machine.current->commits - pending; ++n) {
    if (copies[n].global)
      std::memcpy(copies[n].shared, copies[n].global, copies[n].bytes);
    else
      std::memset(copies[n].shared, 0, copies[n].bytes);
  }
  copies.erase(copies.begin(), copies.begin() + static_cast<std::ptrdiff_t>(n));
}

}  // namespace cuda_on_cpu

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline void sincospi(double x, double* sine, double* cosine) {
  const double pi = 3.14159265358979323846;
  *sine = std::sin(pi * x);
  *cosine = std::cos(pi * x);
}
template <class T>
T __ldg(const T* p) {
  return *p;
}

// What the CUDA kernels of the pyramid share: planes on their way into shared memory, and the storage type.
//
// The kernels are compiled for the type they compute in, float or double; what lies in memory is an argument. Their
// unrolled bodies are thousands of instructions long, the conversions a few.
#pragma once
#include "core/quads.cuh"
#include "pyramid_attention/cuda_shape.hpp"

namespace csmri {
namespace pyramid {

enum class Storage : int { same, bf16, f16 };  // same: as the type of computation

template <class T>
constexpr Storage kStorage = std::is_same_v<T, BFloat16>  ? Storage::bf16
                             : std::is_same_v<T, Float16> ? Storage::f16
                                                          : Storage::same;

template <class From, class To>
using As = std::conditional_t<std::is_const_v<From>, const To, To>;

// f(p as a pointer to the type in memory). Void: void or const void.
template <class S, class Void, class F>
__device__ __forceinline__ auto with_type(Storage storage, Void* p, const F& f) {
  if constexpr (std::is_same_v<S, float>) {
    if (storage == Storage::bf16) return f(static_cast<As<Void, BFloat16>*>(p));
    if (storage == Storage::f16) return f(static_cast<As<Void, Float16>*>(p));
  }
  return f(static_cast<As<Void, S>*>(p));
}

template <class S>
__device__ __forceinline__ S read_value(Storage storage, const void* p, std::int64_t i) {
  return with_type<S>(storage, p, [&](auto typed) -> S { return widen(typed[i]); });
}
template <class S>
__device__ __forceinline__ void write_value(Storage storage, void* p, std::int64_t i, S value) {
  with_type<S>(storage, p, [&](auto typed) { typed[i] = narrow<std::remove_reference_t<decltype(*typed)> >(value); });
}
// The value that memory will hold.
template <class S>
__device__ __forceinline__ S as_stored(Storage storage, S value) {
  if constexpr (std::is_same_v<S, float>) {
    if (storage == Storage::bf16) return widen(narrow<BFloat16>(value));
    if (storage == Storage::f16) return widen(narrow<Float16>(value));
  }
  return value;
}

// A plane of a tensor: the element at (y, x) is number offset + y * nx + x.
struct Plane {
  const void* tensor;
  std::int64_t offset;
};

constexpr int kHalo = 4;  // of a 9 x 9 kernel; and a quad, so that rows keep their alignment

// Planes in shared memory: a tile and kMargin pixels around it, zero outside the image.
template <int kMargin>
struct Planes {
  static constexpr int kPitch = kTileX + 2 * kMargin, kRows = kTileY + 2 * kMargin, kSize = kRows * kPitch;
  static constexpr int kRowQuads = kPitch / 4, kQuads = kRows * kRowQuads;

  // f(number of the plane, offset in its shared memory, y, x) for the quads of n planes that the thread takes care of.
  template <class F>
  __device__ static __forceinline__ void for_quads(int n, int y0, int x0, const F& f) {
    for (int i = static_cast<int>(threadIdx.x); i < n * kQuads; i += static_cast<int>(blockDim.x)) {
      const int plane = i / kQuads, quad = i % kQuads, row = quad / kRowQuads, column = quad % kRowQuads * 4;
      f(plane, row * kPitch + column, y0 - kMargin + row, x0 - kMargin + column);
    }
  }

  // Starts copies of the planes plane_at(0), ..., plane_at(n - 1): commit them and wait for them.
  template <class S, class PlaneAt>
  __device__ static __forceinline__ void load(S* to, int n, int y0, int x0, const Shape& shape, Storage storage,
                                              const PlaneAt& plane_at) {
    for_quads(n, y0, x0, [&](int i, int at, int y, int x) {
      const Plane plane = plane_at(i);
      const bool inside = y >= 0 && y < shape.ny;
      with_type<S>(storage, plane.tensor, [&](auto typed) {
        copy_quad(to + i * kSize + at, typed + plane.offset + (inside ? y * shape.nx : 0), x, inside ? shape.nx : 0,
                  shape.quads);
      });
    });
  }
};

// What the pooled outputs pass back to every pixel of a channel of F.
template <class S>
struct PooledGradient {
  S mean;     // gradient of the mean, divided by the number of pixels
  S maximum;  // gradient of the maximum, for the pixel argmax
  int argmax;
};

// Turns gradients of F, loaded by the same thread and waited for, into dF'. pooled_at(i): of plane i.
template <int kMargin, class S, class PooledAt>
__device__ __forceinline__ void add_pooled(S* planes, int n, int y0, int x0, const Shape& shape,
                                           const PooledAt& pooled_at) {
  Planes<kMargin>::for_quads(n, y0, x0, [&](int i, int at, int y, int x) {
    if (y < 0 || y >= shape.ny || x + 3 < 0 || x >= shape.nx) return;
    const PooledGradient<S> pooled = pooled_at(i);
    Quad<S>& quad = as_quad(planes + i * Planes<kMargin>::kSize + at);
    Quad<S> values = quad;
    CSMRI_DEVICE_UNROLL
    for (int j = 0; j < 4; ++j) {
      if (x + j < 0 || x + j >= shape.nx) continue;
      values.v[j] += pooled.mean;
      if (y * shape.nx + x + j == pooled.argmax) values.v[j] += pooled.maximum;
    }
    quad = values;
  });
}

// Copies n weights, a multiple of four, by one warp; the same rules as for planes.
template <class S>
__device__ __forceinline__ void load_weights(S* to, const S* from, int n) {
  for (int i = 4 * (static_cast<int>(threadIdx.x) % 32); i < n; i += 128) copy_quad(to + i, from, i, n, true);
}

// A lane's pixels are rows kLaneRows * (lane / 8), ... and columns 4 * (lane % 8), ... of the tile.
__device__ __forceinline__ int lane_row() { return static_cast<int>(threadIdx.x) % 32 / 8 * kLaneRows; }
__device__ __forceinline__ int lane_column() { return static_cast<int>(threadIdx.x) % 8 * 4; }

// The columns of one row that a kernel of size kKernel meets in a lane's four pixels, and up to three more on either
// side: a lane's window begins on a quad.
template <int kKernel, class S>
__device__ __forceinline__ void load_window_row(S (&row)[12], const S* from) {
  constexpr int kSpare = kHalo - kKernel / 2;  // columns on either side that nobody needs
  static_assert(kSpare < 4);
  CSMRI_DEVICE_UNROLL
  for (int i = 0; i < 3; ++i) {
    const Quad<S> quad = as_quad(from + 4 * i);
    CSMRI_DEVICE_UNROLL
    for (int j = 0; j < 4; ++j) row[4 * i + j] = quad.v[j];
  }
}

// sums[o][r][p] += sum over ky, kx of w[ky][kx][o] in(r + ky - kKernel / 2, p + kx - kKernel / 2), with (r, p) a lane's
// pixel. in: a plane with margin kHalo. Every row is loaded once and held while rows of the kernel pass over it; every
// weight is loaded once.
template <int kKernel, int kOutputs, class S>
__device__ __forceinline__ void convolve(S* sums, const S* in, const S* weights) {
  constexpr int kPitch = Planes<kHalo>::kPitch, kSpare = kHalo - kKernel / 2;
  const S* from = in + (lane_row() + kSpare) * kPitch + lane_column();
  S rows[kLaneRows][12];  // row r of the window is in rows[r % kLaneRows]
  CSMRI_DEVICE_UNROLL
  for (int r = 0; r < kLaneRows - 1; ++r) load_window_row<kKernel>(rows[r], from + r * kPitch);
  S w[4];
  CSMRI_DEVICE_UNROLL
  for (int ky = 0; ky < kKernel; ++ky) {
    load_window_row<kKernel>(rows[(ky + kLaneRows - 1) % kLaneRows], from + (ky + kLaneRows - 1) * kPitch);
    CSMRI_DEVICE_UNROLL
    for (int kx = 0; kx < kKernel; ++kx) {
      CSMRI_DEVICE_UNROLL
      for (int o = 0; o < kOutputs; ++o) {
        const int i = (ky * kKernel + kx) * kOutputs + o;
        if (i % 4 == 0) {
          const Quad<S> quad = as_quad(weights + i);
          CSMRI_DEVICE_UNROLL
          for (int j = 0; j < 4; ++j) w[j] = quad.v[j];
        }
        CSMRI_DEVICE_UNROLL
        for (int r = 0; r < kLaneRows; ++r) {
          CSMRI_DEVICE_UNROLL
          for (int p = 0; p < 4; ++p)
            sums[(o * kLaneRows + r) * 4 + p] += rows[(ky + r) % kLaneRows][kSpare + kx + p] * w[i % 4];
        }
      }
    }
  }
}

}  // namespace pyramid
}  // namespace csmri

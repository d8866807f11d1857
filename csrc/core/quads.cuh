// Four neighbouring elements of a row as one value: registers and shared memory hold them as Sum<T>, memory as T.
#pragma once
#include "core/device_prims.cuh"

namespace csmri {

template <class T>
struct alignas(sizeof(T) < 4 ? 8 : 16) Quad {
  T v[4];
};

// Whether the quads of every row of planes (..., nx) at p can be moved by one access each.
template <class T>
bool has_quads(const T* p, std::int64_t nx) {
  return nx % 4 == 0 && reinterpret_cast<std::uintptr_t>(p) % alignof(Quad<T>) == 0;
}

template <class T>
__device__ __forceinline__ Quad<T>& as_quad(T* p) {
  return *reinterpret_cast<Quad<T>*>(p);
}
template <class T>
__device__ __forceinline__ const Quad<T>& as_quad(const T* p) {
  return *reinterpret_cast<const Quad<T>*>(p);
}

// row[x], ..., row[x + 3], zero outside [0, nx). quads: has_quads, and x is a multiple of 4.
template <class T>
__device__ __forceinline__ Quad<Sum<T> > read_quad(const T* row, int x, int nx, bool quads) {
  Quad<Sum<T> > result{};
  if (quads) {
    if (x < 0 || x >= nx) return result;
    const Quad<T> stored = as_quad(row + x);
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 4; ++i) result.v[i] = widen(stored.v[i]);
  } else {
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 4; ++i)
      if (x + i >= 0 && x + i < nx) result.v[i] = widen(row[x + i]);
  }
  return result;
}

// The same into shared memory, aligned to a quad. Through asynchronous copies where T needs no conversion: wait for
// them, with copy_async_commit() and copy_async_wait(), in any case.
template <class T>
__device__ __forceinline__ void copy_quad(Sum<T>* to, const T* row, int x, int nx, bool quads) {
  if constexpr (sizeof(T) < 4) {
    as_quad(to) = read_quad(row, x, nx, quads);
  } else if (quads) {
    const bool inside = x >= 0 && x < nx;
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 4; i += 16 / sizeof(T)) copy_async<16>(to + i, row + (inside ? x + i : 0), inside);
  } else {
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const bool inside = x + i >= 0 && x + i < nx;
      copy_async<sizeof(T)>(to + i, row + (inside ? x + i : 0), inside);
    }
  }
}

// row[x + i] = quad.v[i] inside [0, nx).
template <class T>
__device__ __forceinline__ void write_quad(T* row, int x, int nx, bool quads, const Quad<Sum<T> >& quad) {
  if (quads) {
    if (x < 0 || x >= nx) return;
    Quad<T> stored;
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 4; ++i) stored.v[i] = narrow<T>(quad.v[i]);
    as_quad(row + x) = stored;
  } else {
    CSMRI_DEVICE_UNROLL
    for (int i = 0; i < 4; ++i)
      if (x + i >= 0 && x + i < nx) row[x + i] = narrow<T>(quad.v[i]);
  }
}

}  // namespace csmri

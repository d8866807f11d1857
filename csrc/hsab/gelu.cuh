// gelu(t) = t Phi(t) and its derivative Phi(t) + t phi(t) on a GPU, from CUDA's own error function, float32 or float64.
#pragma once
#include "core/device_prims.cuh"

namespace csmri {
namespace hsab {

// Phi(t), the part of a normal distribution below t.
__device__ __forceinline__ float normal_below(float t) { return 0.5f * (1.0f + erff(t * 0.707106781186547524f)); }
__device__ __forceinline__ double normal_below(double t) { return 0.5 * (1.0 + erf(t * 0.70710678118654752440)); }

// phi(t), its density.
__device__ __forceinline__ float normal_density(float t) { return 0.398942280401432678f * expf(-0.5f * t * t); }
__device__ __forceinline__ double normal_density(double t) { return 0.39894228040143267794 * exp(-0.5 * t * t); }

template <class S>
__device__ __forceinline__ S gelu(S t) {
  return t * normal_below(t);
}

// The derivative; value becomes gelu(t).
template <class S>
__device__ __forceinline__ S gelu_slope(S t, S& value) {
  const S below = normal_below(t);
  value = t * below;
  return below + t * normal_density(t);
}

}  // namespace hsab
}  // namespace csmri

// What this machine can do at best: the yardstick that benchmarks print beside a kernel's time.
#pragma once
#include "core/simd.hpp"

namespace csmri {

// float32 operations per second of independent fused (or, at the baseline level, separate) multiply-adds in registers.
template <Simd L>
double measure_fma_rate(int threads);

}  // namespace csmri

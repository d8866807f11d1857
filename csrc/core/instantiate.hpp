// The types that kernels are compiled for, in one place.
#pragma once
#include <cstdint>

#include "core/simd.hpp"
#include "core/workspace.hpp"

// At the end of <op>_cpu.cpp: <op>_cpu and <op>_scratch_bytes, for the level that the file is compiled for.
#define CSMRI_INSTANTIATE_CPU(op, Args)                                     \
  template void op##_cpu<kSimd>(const Args<float>&, const Workspace&);      \
  template void op##_cpu<kSimd>(const Args<double>&, const Workspace&);     \
  template std::int64_t op##_scratch_bytes<kSimd>(const Args<float>&, int); \
  template std::int64_t op##_scratch_bytes<kSimd>(const Args<double>&, int);

// At the end of <op>_cuda.cu, where INSTANTIATE(T) instantiates what the file defines: for all types that are stored,
// or for those that sums are made in. A test may build float alone.
#ifdef CSMRI_ONLY_FLOAT
#define CSMRI_FOR_CUDA_TYPES(INSTANTIATE) INSTANTIATE(float)
#define CSMRI_FOR_CUDA_SUMS(INSTANTIATE) INSTANTIATE(float)
#else
#define CSMRI_FOR_CUDA_SUMS(INSTANTIATE) INSTANTIATE(float) INSTANTIATE(double)
#define CSMRI_FOR_CUDA_TYPES(INSTANTIATE) \
  INSTANTIATE(float) INSTANTIATE(double) INSTANTIATE(BFloat16) INSTANTIATE(Float16)
#endif

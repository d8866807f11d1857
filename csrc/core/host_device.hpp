// Marks for code that is compiled both by nvcc for the device and by a C++ compiler for the CPU.
#pragma once

#ifdef __CUDACC__
#define CSMRI_HOST_DEVICE __host__ __device__ __forceinline__
#define CSMRI_UNROLL _Pragma("unroll")
#else
#define CSMRI_HOST_DEVICE inline __attribute__((always_inline))
#define CSMRI_UNROLL _Pragma("GCC unroll 64")
#endif

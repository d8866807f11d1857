// The entry points of a kernel, all of one form: <op>.hpp declares them, the bindings call them.
//
//   <op>_cpu<L>(args, work)                one for each instruction set L (core/simd.hpp); T is float or double
//   <op>_scratch_bytes<L>(args, threads)   scratch of all threads together
//   <op>_cuda(args, work)                  enqueued on work.stream, every pointer on the device; never allocates, never
//                                          waits; throws std::runtime_error with CUDA's message
//   <op>_cuda_scratch_bytes(args)          where it needs scratch
#pragma once
#include <cstdint>

#include "core/simd.hpp"
#include "core/workspace.hpp"

#define CSMRI_CPU_WITHOUT_SCRATCH(op, Args) \
  template <Simd L, class T>                \
  void op##_cpu(const Args<T>& args, const Workspace& work);

#define CSMRI_CPU(op, Args)           \
  CSMRI_CPU_WITHOUT_SCRATCH(op, Args) \
  template <Simd L, class T>          \
  std::int64_t op##_scratch_bytes(const Args<T>& args, int threads);

#define CSMRI_CUDA_WITHOUT_SCRATCH(op, Args) \
  template <class T>                         \
  void op##_cuda(const Args<T>& args, const Workspace& work);

#define CSMRI_CUDA(op, Args)           \
  CSMRI_CUDA_WITHOUT_SCRATCH(op, Args) \
  template <class T>                   \
  std::int64_t op##_cuda_scratch_bytes(const Args<T>& args);

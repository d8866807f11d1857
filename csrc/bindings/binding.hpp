// What the binding files share.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/simd.hpp"
#include "data_consistency/data_consistency.hpp"
#ifdef CSMRI_WITH_CUDA
#include <cuda_runtime.h>
#endif

using Address = std::uintptr_t;

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

// Kernels end with two integers that say where they run: on the CPU scratch memory and a number of threads, on a GPU
// the device and a stream. run calls cpu(level, work) or cuda(stream).
template <bool kCuda, class Cpu, class Cuda>
void run(std::int64_t where, std::int64_t how, const Cpu& cpu, [[maybe_unused]] const Cuda& cuda) {
  pybind11::gil_scoped_release release;
  if constexpr (!kCuda) {
    const csmri::CpuWork work{pointer<void>(static_cast<Address>(where)), static_cast<int>(how)};
    csmri::at_simd_level([&](auto level) { cpu(level, work); });
  } else {
#ifdef CSMRI_WITH_CUDA
    struct DeviceGuard {
      int before = 0;
      explicit DeviceGuard(int device) {
        cudaError_t error = cudaGetDevice(&before);
        if (error == cudaSuccess) error = cudaSetDevice(device);
        if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
      }
      ~DeviceGuard() { cudaSetDevice(before); }
    };
    const DeviceGuard guard(static_cast<int>(where));
    cuda(pointer<void>(static_cast<Address>(how)));
#endif
  }
}

template <class Args>
const Args& with(Args& args, const csmri::CpuWork& work) {
  args.scratch = work.scratch, args.threads = work.threads;
  return args;
}

void define_separable(pybind11::module_& m);  // the operations of NasN

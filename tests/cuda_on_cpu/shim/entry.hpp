// CUDA_ON_CPU_ENTRY(name) { ... } defines a function that emulator.py can call, in the test process through ctypes or
// in a process of its own (shim/call.cpp). Its arguments are `arrays`, pointers to the arrays of the call in order, and
// `numbers`. What it throws becomes an exception in Python.
#pragma once
#include <cstdint>
#include <exception>
#include <string>

#include "core/storage.hpp"
#include "core/workspace.hpp"

using namespace csmri;

// A workspace of a CUDA kernel, all threads of which are here.
inline Workspace on_gpu(void* scratch) { return {scratch, 1, 0, nullptr}; }

template <class T>
T* array(void* const* arrays, int i) {
  return static_cast<T*>(arrays[i]);
}

// Where ENTRIES(T, name) defines the entries of one type, those of all types; a test may build float alone.
#ifdef CSMRI_ONLY_FLOAT
#define CUDA_ON_CPU_ENTRIES(ENTRIES) ENTRIES(float, f32)
#else
#define CUDA_ON_CPU_ENTRIES(ENTRIES) \
  ENTRIES(float, f32) ENTRIES(double, f64) ENTRIES(BFloat16, bf16) ENTRIES(Float16, f16)
#endif

#define CUDA_ON_CPU_ENTRY(name)                                                   \
  static void name##_body(void* const* arrays, const std::int64_t* numbers);      \
  extern "C" const char* name(void* const* arrays, const std::int64_t* numbers) { \
    static std::string error;                                                     \
    try {                                                                         \
      name##_body(arrays, numbers);                                               \
      return nullptr;                                                             \
    } catch (const std::exception& e) {                                           \
      error = e.what();                                                           \
      return error.c_str();                                                       \
    }                                                                             \
  }                                                                               \
  static void name##_body([[maybe_unused]] void* const* arrays, [[maybe_unused]] const std::int64_t* numbers)

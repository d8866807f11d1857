// CUDA_ON_CPU_ENTRY(name) { ... } defines a function that emulator.py can call, in the test process through ctypes or
// in a process of its own (shim/call.cpp). Its arguments are `arrays`, pointers to the arrays of the call in order, and
// `numbers`. What it throws becomes an exception in Python.
#pragma once
#include <cstdint>
#include <exception>
#include <string>

#include "core/workspace.hpp"

// A workspace of a CUDA kernel, all threads of which are here.
inline csmri::Workspace on_gpu(void* scratch) { return {scratch, 1, 0, nullptr}; }

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

// Where a call works. Three words, in every room and in csmri_ext/ops:
//
//   scratch     bytes that a call overwrites, of no meaning before it and after it: 64-byte aligned, as many as
//               <op>_scratch_bytes says for all threads of the call together. There is no such function where none are
//               needed.
//   partials    values within scratch, each the sum over a part of the data (a line, a band of rows, a tile), which the
//               end of the call adds up in a fixed order.
//   workspace   scratch, and who works in it.
#pragma once
#include <cstdint>

#include "core/simd.hpp"

namespace csmri {

struct Workspace {
  void* scratch;
  int threads;   // of a CPU kernel
  int device;    // the GPU of a CUDA kernel, current when it is called
  void* stream;  // a cudaStream_t of that GPU
};

inline namespace CSMRI_LEVEL {

// Hands out 64-byte aligned pieces of scratch; with base null it only counts.
class ScratchCursor {
 public:
  explicit ScratchCursor(void* base) : base_(static_cast<char*>(base)), used_(0) {}
  template <class T>
  T* take(std::int64_t count) {
    T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += (count * static_cast<std::int64_t>(sizeof(T)) + 63) / 64 * 64;
    return piece;
  }
  std::int64_t bytes() const { return used_; }

 private:
  char* base_;
  std::int64_t used_;
};

}  // namespace CSMRI_LEVEL
}  // namespace csmri

// What a CPU kernel works in beside its arguments.
#pragma once

namespace csmri {

struct CpuWork {
  void* scratch;  // 64-byte aligned
  int threads;
};

}  // namespace csmri

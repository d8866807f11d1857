// Threads that work on the same image: run them with parallel_region, let them meet with TeamBarrier.
#pragma once
#include <atomic>
#include <thread>

#include "core/parallel.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

// f(thread, threads) on every thread of a region; `threads` may be less than asked for, and is 1 without OpenMP.
template <class F>
inline void parallel_region(int threads, const F& f) {
#ifdef _OPENMP
  if (threads > 1) {
#pragma omp parallel num_threads(threads)
    f(omp_get_thread_num(), omp_get_num_threads());
    return;
  }
#else
  (void)threads;
#endif
  f(0, 1);
}

// Spins, as the wait is short; yields after a while, for machines with more threads than processors.
class TeamBarrier {
 public:
  void wait(int threads) {
    if (threads == 1) return;
    const unsigned phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins)
      if (spins > 2000) std::this_thread::yield();
  }

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> phase_{0};
};

}  // namespace CSMRI_LEVEL
}  // namespace csmri

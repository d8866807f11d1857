// parallel_for(n, threads, f): f(i) for i in [0, n), on at most `threads` threads.
// parallel_tasks(n, threads, f): f(i, thread), thread in [0, threads), for tasks that need scratch of their own; handed
// out in runs of neighbours as threads become free.
// parallel_runs(n, threads, f): f(run, first, last), [0, n) cut into one run of neighbours for each thread, for tasks
// that share preparations; run is in [0, threads).
//
// The number of threads always comes from the caller (torch.get_num_threads()): OpenMP's own default differs from
// torch's in a fresh Python thread. Without OpenMP it is a plain loop. The order of i is unspecified: f(i) must not
// depend on another f(j), so that results do not depend on the number of threads.
#pragma once
#include <algorithm>
#include <cstdint>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "core/simd.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class F>
inline void parallel_for(std::int64_t n, int threads, const F& f) {
#ifdef _OPENMP
  if (threads > 1 && n > 1) {
    const int team = n < threads ? static_cast<int>(n) : threads;
#pragma omp parallel for num_threads(team) schedule(static)
    for (std::int64_t i = 0; i < n; ++i) f(i);
    return;
  }
#else
  (void)threads;
#endif
  for (std::int64_t i = 0; i < n; ++i) f(i);
}

template <class F>
inline void parallel_tasks(std::int64_t n, int threads, const F& f) {
#ifdef _OPENMP
  if (threads > 1 && n > 1) {
    const int team = n < threads ? static_cast<int>(n) : threads;
    const std::int64_t run = n / (8 * team) + 1;
#pragma omp parallel for num_threads(team) schedule(dynamic, run)
    for (std::int64_t i = 0; i < n; ++i) f(i, omp_get_thread_num());
    return;
  }
#else
  (void)threads;
#endif
  for (std::int64_t i = 0; i < n; ++i) f(i, 0);
}

template <class F>
inline void parallel_runs(std::int64_t n, int threads, const F& f) {
  const std::int64_t runs = std::clamp<std::int64_t>(threads, 1, std::max<std::int64_t>(n, 1));
  parallel_for(runs, threads, [&](std::int64_t run) { f(run, n * run / runs, n * (run + 1) / runs); });
}

// f(image, y0, y1): what of the run [first, last) lies in each image, where every image has `rows` rows.
template <class F>
inline void for_images(std::int64_t first, std::int64_t last, std::int64_t rows, const F& f) {
  while (first < last) {
    const std::int64_t image = first / rows, end = std::min(last, (image + 1) * rows);
    f(image, first - image * rows, end - image * rows);
    first = end;
  }
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

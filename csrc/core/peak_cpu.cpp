#include <chrono>

#include "core/parallel.hpp"
#include "core/peak.hpp"
#include "core/vec.hpp"

namespace csmri {
namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Twelve accumulators hide the latency of the multiply-add and fit the registers of every level.
float chains(long rounds) {
  const Vec<float> m = broadcast(0.999f);
  Vec<float> a0 = m, a1 = a0 + m, a2 = a1 + m, a3 = a2 + m, a4 = a3 + m, a5 = a4 + m, a6 = a5 + m, a7 = a6 + m,
             a8 = a7 + m, a9 = a8 + m, a10 = a9 + m, a11 = a10 + m;  // all different, or one chain would stand for all
  for (long i = 0; i < rounds; ++i) {
    a0 = a0 * m + m, a1 = a1 * m + m, a2 = a2 * m + m, a3 = a3 * m + m, a4 = a4 * m + m, a5 = a5 * m + m;
    a6 = a6 * m + m, a7 = a7 * m + m, a8 = a8 * m + m, a9 = a9 * m + m, a10 = a10 * m + m, a11 = a11 * m + m;
  }
  return sum<float>(a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11);
}

}  // namespace

template <Simd L>
double measure_fma_rate(int threads) {
  constexpr long kRounds = 2000000;
  double best = 0;
  for (int repetition = 0; repetition < 7; ++repetition) {
    const double start = seconds();
    parallel_for(threads, threads, [](std::int64_t) {
      volatile float keep = chains(kRounds);
      (void)keep;
    });
    const double rate = 24.0 * kLanes<float> * kRounds * threads / (seconds() - start);
    best = rate > best ? rate : best;
  }
  return best;
}

template double measure_fma_rate<kSimd>(int);

}  // namespace csmri

#include "core/simd.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace csmri {

const char* simd_name(Simd level) {
  switch (level) {
    case Simd::avx512:
      return "avx512";
    case Simd::avx2:
      return "avx2";
    default:
      return "baseline";
  }
}

Simd simd_level_of_machine() {
#ifdef CSMRI_X86_LEVELS
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return Simd::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Simd::avx2;
#endif
  return Simd::baseline;
}

namespace {

Simd choose() {
  const Simd best = simd_level_of_machine();
  const char* wanted = std::getenv("CSMRI_SIMD");
  if (!wanted || !*wanted) return best;
  for (Simd level : {Simd::baseline, Simd::avx2, Simd::avx512}) {
    if (std::string(wanted) != simd_name(level)) continue;
    if (level > best)
      throw std::runtime_error(std::string("CSMRI_SIMD=") + wanted + ", but this machine has only " + simd_name(best));
    return level;
  }
  throw std::runtime_error(std::string("CSMRI_SIMD=") + wanted + ": expected baseline, avx2 or avx512");
}

}  // namespace

Simd simd_level() {
  static const Simd level = choose();
  return level;
}

}  // namespace csmri

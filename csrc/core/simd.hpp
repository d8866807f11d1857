// Run-time choice of the instruction set.
//
// Every <op>_cpu.cpp is compiled once per level (CMakeLists.txt passes CSMRI_LEVEL and the flags). It defines its
// entry points as templates on Simd and instantiates them for its own level only, so that the three objects share
// one source and no symbol:
//
//     template <Simd L, class T> void my_op_cpu(const MyOpArgs<T>& args);            // my_op.hpp
//     template void my_op_cpu<kSimd, float>(const MyOpArgs<float>&);                  // my_op_cpu.cpp
//     at_simd_level([&](auto level) { my_op_cpu<level(), float>(args); });            // bindings.cpp
//
// Everything else in a kernel source lives in an anonymous namespace or in a header's `inline namespace CSMRI_LEVEL`:
// a function with the same name in two objects would be merged by the linker, and AVX code could run anywhere.
#pragma once
#include <type_traits>
#include <utility>

#ifndef CSMRI_LEVEL
#define CSMRI_LEVEL baseline
#endif

namespace csmri {

enum class Simd : int { baseline, avx2, avx512 };

constexpr Simd kSimd = Simd::CSMRI_LEVEL;  // the level this file is compiled for

// The best level of this machine, or the lower one that the environment variable CSMRI_SIMD names
// (baseline, avx2, avx512). Read once. Throws std::runtime_error where the machine lacks the level asked for.
Simd simd_level();
Simd simd_level_of_machine();
const char* simd_name(Simd level);

// Calls f(std::integral_constant<Simd, level>) with simd_level().
template <class F>
decltype(auto) at_simd_level(F&& f) {
  switch (simd_level()) {
#ifdef CSMRI_X86_LEVELS
    case Simd::avx512:
      return f(std::integral_constant<Simd, Simd::avx512>{});
    case Simd::avx2:
      return f(std::integral_constant<Simd, Simd::avx2>{});
#endif
    default:
      return f(std::integral_constant<Simd, Simd::baseline>{});
  }
}

}  // namespace csmri

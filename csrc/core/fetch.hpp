// Asks for memory before it is read.
#pragma once
#include "core/simd.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

// The cache line at p, into all levels. The second level alone (prefetcht1) would do, and leave the first to what is
// computed meanwhile; but on AMD's Zen 5 such requests at times have no effect, and a kernel waits for each line.
inline __attribute__((always_inline)) void fetch_line(const void* p) { __builtin_prefetch(p, 0, 3); }

}  // namespace CSMRI_LEVEL
}  // namespace csmri

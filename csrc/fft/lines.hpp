// Between images in memory and line buffers: kLanes<T> lines at a time, one line per lane.
#pragma once
#include <cstdint>

#include "fft/line_fft.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

// Parallel lines of one complex image, element e of line l at offset e * element_stride + l * line_stride (in T) from
// re and im. One of the strides is 2 (interleaved, im = re + 1) or 1 (planar).
template <class T>
struct Lines {
  T* re;
  T* im;
  std::int64_t n;      // elements per line
  std::int64_t count;  // lines
  std::int64_t element_stride, line_stride;
  bool interleaved;

  bool contiguous() const { return element_stride == (interleaved ? 2 : 1); }
};

// Lines first ... first + kLanes - 1 into the lanes of w[0] ... w[n - 1]; lanes beyond the last line become 0.
template <class T>
void load_lines(const Lines<const T>& x, std::int64_t first, Line<T> w);

// The other way round; lanes beyond the last line are not stored. streamed: past the caches (stream() of vec.hpp), for
// lines that may_stream; fenced.
template <class T>
void store_lines(const Lines<T>& x, std::int64_t first, const Complex<Vec<T>>* w, bool streamed = false);

// Reads rows from start to end, once per cache line: the processor fetches ahead along one row, but not well along
// kLanes rows in turn.
template <class T>
void touch_rows(const T* p, std::int64_t row_stride, int count, std::int64_t n_real) {
  for (int l = 0; l < count; ++l)
    for (std::int64_t e = 0; e < n_real; e += 64 / static_cast<int>(sizeof(T)))
      (void)*static_cast<const volatile T*>(p + l * row_stride + e);
}

// Whether every vector that store_lines writes is aligned.
template <class T>
bool may_stream(const Lines<T>& x) {
  const auto address = reinterpret_cast<std::uintptr_t>(x.re);
  const std::int64_t row = x.contiguous() ? x.line_stride : x.element_stride;
  return x.interleaved && address % kVecBytes == 0 && row % kLanes<T> == 0 && 2 * x.n % kLanes<T> == 0;
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

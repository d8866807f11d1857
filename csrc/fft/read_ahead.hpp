// Memory that is read next: fetched into the caches while something else is computed. A core can wait for few lines of
// memory at a time, and does nothing else once it waits for more: so a few lines at a time.
#pragma once
#include <cstdint>

#include "core/fetch.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr std::int64_t kCacheLine = 64;

template <class T>
struct ReadNext {
  const T *begin, *end;

  void fetch(std::int64_t part, std::int64_t parts) const {
    const std::int64_t n = end - begin;
    for (const T* p = begin + n * part / parts; p < begin + n * (part + 1) / parts; p += kCacheLine / sizeof(T))
      fetch_line(p);
  }
};

// Two pieces of memory, fetched one after the other in steps of equal length, one for each butterfly of a transform.
template <class T>
class ReadAhead {
 public:
  ReadAhead() : ReadAhead({nullptr, nullptr}, {nullptr, nullptr}) {}
  ReadAhead(ReadNext<T> first, ReadNext<T> second) : now_(first), then_(second) {}

  void in_steps(std::int64_t steps) {
    const std::int64_t lines = (now_.end - now_.begin + then_.end - then_.begin) * std::int64_t{sizeof(T)} / kCacheLine;
    lines_ = static_cast<int>((lines + steps - 1) / steps);
  }
  inline __attribute__((always_inline)) void step() {
    const T* p = now_.begin;
    if (p >= now_.end) return;
    for (int i = 0; i < lines_; ++i, p += kCacheLine / sizeof(T)) fetch_line(p);
    now_.begin = p;
    if (p >= now_.end) now_ = then_, then_.begin = then_.end;
  }

 private:
  ReadNext<T> now_, then_;
  int lines_ = 0;  // of the cache, in a step
};

}  // namespace CSMRI_LEVEL
}  // namespace csmri

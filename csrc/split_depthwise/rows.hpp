// Rows of a depth-wise 3x3 on the CPU: padded ring buffers and the three inner loops that work on them.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/vec.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

// The last four rows of each of n_planes planes, zero beyond the left, right, upper and lower border, so that no inner
// loop knows about borders. Row r of a plane lies in slot r mod 4; at most three are alive while a fourth is written.
template <class T>
class RowRings {
 public:
  // memory: bytes(n_planes, nx), 64-byte aligned.
  RowRings(T* memory, std::int64_t n_planes, std::int64_t ny, std::int64_t nx)
      : memory_(memory), ny_(ny), nx_(nx), pitch_(row_bytes(nx) / std::int64_t{sizeof(T)}) {
    std::fill_n(memory, pitch_ * (4 * n_planes + 1), T(0));
    zero_ = memory + pitch_ * 4 * n_planes + kPad;
  }

  // Four rows of each plane and one row of zeros, padded by at least a cache line on either side.
  static std::int64_t bytes(std::int64_t n_planes, std::int64_t nx) { return (4 * n_planes + 1) * row_bytes(nx); }

  // Row r of a plane for reading: elements [-1, nx] are valid, those outside the image are 0.
  const T* row(std::int64_t plane, std::int64_t r) const { return r < 0 || r >= ny_ ? zero_ : slot(plane, r); }

  // The same for writing whole vectors; close it with finish_row, which clears what they wrote beyond nx.
  T* slot(std::int64_t plane, std::int64_t r) const { return memory_ + (4 * plane + (r & 3)) * pitch_ + kPad; }
  void finish_row(T* row) const { std::fill(row + nx_, row + pitch_ - kPad, T(0)); }

 private:
  static std::int64_t row_bytes(std::int64_t nx) { return (nx * std::int64_t{sizeof(T)} + 3 * 64 - 1) / 64 * 64; }
  static constexpr std::int64_t kPad = 64 / sizeof(T);
  T* memory_;
  T* zero_;
  std::int64_t ny_, nx_, pitch_;
};

// f(x, n) for each vector of a row of nx elements: n == kLanes, or the remainder at the end.
template <class T, class F>
inline __attribute__((always_inline)) void for_vectors(std::int64_t nx, const F& f) {
  std::int64_t x = 0;
  for (; x + kLanes<T> <= nx; x += kLanes<T>) f(x, kLanes<T>);
  if (x < nx) f(x, static_cast<int>(nx - x));
}

template <class T>
inline __attribute__((always_inline)) Vec<T> load_up_to(const T* p, int n) {
  return n == kLanes<T> ? load(p) : load_first(p, n);
}

enum class Store { cached, streamed };

template <Store kStore, class T>
inline __attribute__((always_inline)) void store_up_to(T* p, Vec<T> v, int n) {
  if (n < kLanes<T>)
    store_first(p, v, n);
  else if (kStore == Store::streamed)
    stream(p, v);
  else
    store(p, v);
}

// visit(x, n, v) with v = sum_{dy, dx} w[dy][dx] row_dy[x + dx - 1] for a whole row.
template <class T, class F>
inline __attribute__((always_inline)) void convolve_row(const T* above, const T* here, const T* below, const T* w,
                                                        std::int64_t nx, const F& visit) {
  const Vec<T> w0 = broadcast(w[0]), w1 = broadcast(w[1]), w2 = broadcast(w[2]);
  const Vec<T> w3 = broadcast(w[3]), w4 = broadcast(w[4]), w5 = broadcast(w[5]);
  const Vec<T> w6 = broadcast(w[6]), w7 = broadcast(w[7]), w8 = broadcast(w[8]);
  for_vectors<T>(nx, [&](std::int64_t x, int n) {
    Vec<T> a = load(above + x - 1) * w0, b = load(here + x - 1) * w3, c = load(below + x - 1) * w6;
    a += load(above + x) * w1, b += load(here + x) * w4, c += load(below + x) * w7;
    a += load(above + x + 1) * w2, b += load(here + x + 1) * w5, c += load(below + x + 1) * w8;
    visit(x, n, a + b + c);
  });
}

// acc[dy][dx] += sum_x row_dy[x + dx - 1] g[x], lane by lane.
template <class T>
inline void correlate_row(const T* above, const T* here, const T* below, const T* g, std::int64_t nx, Vec<T>* acc) {
  Vec<T> s0 = acc[0], s1 = acc[1], s2 = acc[2], s3 = acc[3], s4 = acc[4], s5 = acc[5], s6 = acc[6], s7 = acc[7];
  Vec<T> s8 = acc[8];
  for (std::int64_t x = 0; x < nx; x += kLanes<T>) {  // g is 0 beyond nx
    const Vec<T> v = load(g + x);
    s0 += load(above + x - 1) * v, s1 += load(above + x) * v, s2 += load(above + x + 1) * v;
    s3 += load(here + x - 1) * v, s4 += load(here + x) * v, s5 += load(here + x + 1) * v;
    s6 += load(below + x - 1) * v, s7 += load(below + x) * v, s8 += load(below + x + 1) * v;
  }
  acc[0] = s0, acc[1] = s1, acc[2] = s2, acc[3] = s3, acc[4] = s4, acc[5] = s5, acc[6] = s6, acc[7] = s7;
  acc[8] = s8;
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

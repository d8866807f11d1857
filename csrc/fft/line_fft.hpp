// The FFT of kLanes<T> lines at a time, one line per SIMD lane, on a buffer of n vectors that stays in the L1 cache.
// Every lane does the same arithmetic, so a line's result does not depend on its neighbours or on its place.
#pragma once
#include <cstdint>

#include "core/vec.hpp"
#include "fft/codelets.hpp"
#include "fft/line_plan.hpp"
#include "fft/read_ahead.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class T>
using Line = Complex<Vec<T>>*;

// In all functions: w has plan.n vectors, work has work_elements(plan); T is float or double; no 1 / n anywhere.

// Natural order -> the slot order of LinePlan.
template <class T>
void forward_line(const LinePlan<T>& plan, Line<T> w, Line<T> work);
// Slot order -> natural order.
template <class T>
void inverse_line(const LinePlan<T>& plan, Line<T> w, Line<T> work);

// A diagonal operator on the slots of a line: w <- (identity - eta m) w + eta s, with weights m and samples s.
//
// One weight per lane (per_lane): m and s of slot e at e * weight_step and e * sample_step. One weight per slot:
// weights holds pairs (m, position), and s lies at position * sample_step, so that the samples that matter are
// neighbours; a negative position stands for s = 0, read from `zeros` like any other sample because a branch would be
// mispredicted.
template <class T>
struct LineDiagonal {
  T identity, eta;
  const T* weights;
  const T* samples;  // imaginary parts `imaginary` after the real ones; or null: s = 0
  const T* zeros;    // as far as one sample reaches
  int weight_step, sample_step, imaginary;
  bool per_lane;

  template <bool kPerLane>
  CSMRI_HOST_DEVICE Vec<T> weight(int e) const {
    const T* m = weights + e * (kPerLane ? weight_step : 2);
    if constexpr (kPerLane) return load(m);
    return broadcast(*m);
  }
  template <bool kPerLane>
  CSMRI_HOST_DEVICE int position(int e) const {
    return kPerLane ? e : static_cast<int>(weights[2 * e + 1]);
  }
  template <bool kPerLane>
  CSMRI_HOST_DEVICE Complex<Vec<T>> sample(int e) const {
    const int at = position<kPerLane>(e);
    const T* s = at < 0 ? zeros : samples + at * sample_step;
    return {load(s), load(s + imaginary)};
  }
  template <bool kPerLane, bool kSamples>
  CSMRI_HOST_DEVICE Complex<Vec<T>> apply(int e, Complex<Vec<T>> w) const {
    const Vec<T> a = identity - eta * weight<kPerLane>(e);
    w = {w.re * a, w.im * a};
    if constexpr (kSamples) {
      const Complex<Vec<T>> s = sample<kPerLane>(e);
      w = {w.re + eta * s.re, w.im + eta * s.im};
    }
    return w;
  }
};

// inverse(diagonal(forward(w))): natural order -> natural order. Meanwhile what is read next is fetched.
template <class T>
void filter_line(const LinePlan<T>& plan, const LineDiagonal<T>& diagonal, Line<T> w, Line<T> work,
                 ReadAhead<T> ahead = {});
template <class T>
void apply_diagonal(const LineDiagonal<T>& diagonal, int n, Line<T> w);

}  // namespace CSMRI_LEVEL
}  // namespace csmri

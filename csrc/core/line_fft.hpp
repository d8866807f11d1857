// The FFT of kLanes<T> lines at a time, one line per SIMD lane, on a buffer of n vectors that stays in the L1 cache.
//
//     forward_line:  natural order -> the slot order of LinePlan      (not normalised)
//     inverse_line:  slot order -> natural order                      (not normalised)
//
// Every lane does the same arithmetic, so a line's result does not depend on its neighbours or on its place.
#pragma once
#include "core/fft_codelets.hpp"
#include "core/line_plan.hpp"
#include "core/vec.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class T>
using Line = Complex<Vec<T>>*;

// w: plan.n vectors; work: work_elements(plan). T is float or double.
template <class T>
void forward_line(const LinePlan<T>& plan, Line<T> w, Line<T> work);
template <class T>
void inverse_line(const LinePlan<T>& plan, Line<T> w, Line<T> work);

}  // namespace CSMRI_LEVEL
}  // namespace csmri

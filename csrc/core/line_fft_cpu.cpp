#include "core/line_fft.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

namespace {

// One pass. An inverse transform is a forward one with real and imaginary parts exchanged, hence re and im: they point
// to the two parts of element 0, and elements are two vectors apart.
template <int R, bool kTwiddled, class T>
void pass(Vec<T>* re, Vec<T>* im, const FftPass& p, const T* twiddles, int per_block, int per_element) {
  const int stride = 2 * p.span;
  for (int block = 0; block < p.blocks; ++block, twiddles += per_block) {
    const T* w = twiddles;
    for (int t = 0; t < p.span; ++t, w += per_element, re += 2, im += 2) {
      Complex<Vec<T>> v[R];
      CSMRI_UNROLL
      for (int j = 0; j < R; ++j) {
        v[j] = {re[j * stride], im[j * stride]};
        if (kTwiddled && j) {
          const T c = w[2 * j - 2], tan = w[2 * j - 1];
          v[j] = {c * (v[j].re + tan * v[j].im), c * (v[j].im - tan * v[j].re)};
        }
      }
      dft<R, -1>(v);
      CSMRI_UNROLL
      for (int j = 0; j < R; ++j) re[j * stride] = v[j].re, im[j * stride] = v[j].im;
    }
    re += stride * (R - 1);
    im += stride * (R - 1);
  }
}

template <int R, class T>
void pass(Vec<T>* re, Vec<T>* im, const FftPass& p, const T* twiddles, int per_block, int per_element) {
  if (per_block ? p.blocks > 1 : p.span > 1)
    pass<R, true>(re, im, p, twiddles, per_block * 2 * (R - 1), per_element * 2 * (R - 1));
  else
    pass<R, false>(re, im, p, twiddles, 0, 0);
}

template <class T>
void pass(Vec<T>* re, Vec<T>* im, const FftPass& p, const T* twiddles, int per_block, int per_element) {
  switch (p.radix) {
#define CSMRI_RADIX(R) \
  case R:              \
    return pass<R>(re, im, p, twiddles, per_block, per_element);
    CSMRI_RADIX(2)
    CSMRI_RADIX(3)
    CSMRI_RADIX(4)
    CSMRI_RADIX(5)
    CSMRI_RADIX(7)
    CSMRI_RADIX(8)
    CSMRI_RADIX(9)
    CSMRI_RADIX(11)
    CSMRI_RADIX(13)
    CSMRI_RADIX(16)
    CSMRI_RADIX(17)
    CSMRI_RADIX(19)
    CSMRI_RADIX(20)
    CSMRI_RADIX(23)
    CSMRI_RADIX(29)
    CSMRI_RADIX(31)
#undef CSMRI_RADIX
  }
}

template <class T>
void mixed_radix(const LinePlan<T>& plan, Vec<T>* re, Vec<T>* im, bool inverse) {
  if (inverse)
    for (int i = plan.n_passes; i-- > 0;) pass<T>(im, re, plan.passes[i], plan.inverse_twiddles[i], 0, 1);
  else
    for (int i = 0; i < plan.n_passes; ++i) pass<T>(re, im, plan.passes[i], plan.forward_twiddles[i], 1, 0);
}

template <class T>
void bluestein(const LinePlan<T>& plan, Vec<T>* re, Vec<T>* im, Line<T> work) {
  const int n = plan.n, length = plan.convolution->n;
  for (int j = 0; j < n; ++j) {
    const Complex<Vec<T>> x = {re[2 * j], im[2 * j]};
    work[j] = rotate<1>(x, plan.chirp[2 * j], plan.chirp[2 * j + 1]);
  }
  for (int j = n; j < length; ++j) work[j] = Complex<Vec<T>>{};
  mixed_radix(*plan.convolution, &work->re, &work->im, false);
  for (int s = 0; s < length; ++s)
    work[s] = rotate<1>(work[s], plan.chirp_spectrum[2 * s], plan.chirp_spectrum[2 * s + 1]);
  mixed_radix(*plan.convolution, &work->re, &work->im, true);
  for (int k = 0; k < n; ++k) {
    const Complex<Vec<T>> x = rotate<1>(work[k], plan.chirp[2 * k], plan.chirp[2 * k + 1]);
    re[2 * k] = x.re, im[2 * k] = x.im;
  }
}

}  // namespace

template <class T>
void forward_line(const LinePlan<T>& plan, Line<T> w, Line<T> work) {
  if (plan.convolution)
    bluestein<T>(plan, &w->re, &w->im, work);
  else
    mixed_radix<T>(plan, &w->re, &w->im, false);
}
template <class T>
void inverse_line(const LinePlan<T>& plan, Line<T> w, Line<T> work) {
  if (plan.convolution)
    bluestein<T>(plan, &w->im, &w->re, work);
  else
    mixed_radix<T>(plan, &w->re, &w->im, true);
}

template void forward_line<float>(const LinePlan<float>&, Line<float>, Line<float>);
template void forward_line<double>(const LinePlan<double>&, Line<double>, Line<double>);
template void inverse_line<float>(const LinePlan<float>&, Line<float>, Line<float>);
template void inverse_line<double>(const LinePlan<double>&, Line<double>, Line<double>);

}  // namespace CSMRI_LEVEL
}  // namespace csmri

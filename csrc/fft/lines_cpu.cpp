#include <algorithm>

#include "fft/lines.hpp"
#include "fft/transpose.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

namespace {

// A block of up to kLanes rows of n_real contiguous numbers <-> n_real vectors at distance `step`. n_real need not be a
// multiple of kLanes: the last square overlaps the one before.
template <class T>
void load_rows(const T* p, std::int64_t row_stride, int count, std::int64_t n_real, Vec<T>* w, int step) {
  constexpr int L = kLanes<T>;
  if (n_real < L) {
    for (std::int64_t e = 0; e < n_real; ++e)
      for (int l = 0; l < L; ++l) w[e * step][l] = l < count ? p[l * row_stride + e] : T(0);
    return;
  }
  touch_rows(p, row_stride, count, n_real);
  for (std::int64_t e = 0; e < n_real; e += L) {
    const std::int64_t at = std::min(e, n_real - L);
    Vec<T> r[L];
    for (int l = 0; l < L; ++l) r[l] = l < count ? load(p + l * row_stride + at) : Vec<T>{};
    transpose<T>(r);
    for (int l = 0; l < L; ++l) w[(at + l) * step] = r[l];
  }
}
template <bool kStream, class T>
CSMRI_HOST_DEVICE void put(T* p, Vec<T> v) {
  kStream ? stream(p, v) : store(p, v);
}
template <bool kStream, class T>
void store_rows(T* p, std::int64_t row_stride, int count, std::int64_t n_real, const Vec<T>* w, int step) {
  constexpr int L = kLanes<T>;
  if (n_real < L) {
    for (std::int64_t e = 0; e < n_real; ++e)
      for (int l = 0; l < count; ++l) p[l * row_stride + e] = w[e * step][l];
    return;
  }
  for (std::int64_t e = 0; e < n_real; e += L) {
    const std::int64_t at = std::min(e, n_real - L);
    Vec<T> r[L];
    for (int l = 0; l < L; ++l) r[l] = w[(at + l) * step];
    transpose<T>(r);
    for (int l = 0; l < count; ++l) put<kStream>(p + l * row_stride + at, r[l]);
  }
}

}  // namespace

template <class T>
void load_lines(const Lines<const T>& x, std::int64_t first, Line<T> w) {
  constexpr int L = kLanes<T>;
  const int count = static_cast<int>(std::clamp<std::int64_t>(x.count - first, 0, L));
  const T* re = x.re + first * x.line_stride;
  const T* im = x.im + first * x.line_stride;
  if (x.contiguous()) {
    if (x.interleaved) {
      load_rows(re, x.line_stride, count, 2 * x.n, &w->re, 1);
    } else {
      load_rows(re, x.line_stride, count, x.n, &w->re, 2);
      load_rows(im, x.line_stride, count, x.n, &w->im, 2);
    }
  } else if (count < L) {
    for (std::int64_t e = 0; e < x.n; ++e) {
      w[e] = Complex<Vec<T>>{};
      for (int l = 0; l < count; ++l) {
        w[e].re[l] = re[e * x.element_stride + l * x.line_stride];
        w[e].im[l] = im[e * x.element_stride + l * x.line_stride];
      }
    }
  } else if (x.interleaved) {
    for (std::int64_t e = 0; e < x.n; ++e) w[e] = load_complex(re + e * x.element_stride);
  } else {
    for (std::int64_t e = 0; e < x.n; ++e) w[e] = {load(re + e * x.element_stride), load(im + e * x.element_stride)};
  }
}

template <bool kStream, class T>
static void store_block(const Lines<T>& x, std::int64_t first, const Complex<Vec<T>>* w) {
  constexpr int L = kLanes<T>;
  const int count = static_cast<int>(std::clamp<std::int64_t>(x.count - first, 0, L));
  T* re = x.re + first * x.line_stride;
  T* im = x.im + first * x.line_stride;
  if (x.contiguous()) {
    if (x.interleaved) {
      store_rows<kStream>(re, x.line_stride, count, 2 * x.n, &w->re, 1);
    } else {
      store_rows<kStream>(re, x.line_stride, count, x.n, &w->re, 2);
      store_rows<kStream>(im, x.line_stride, count, x.n, &w->im, 2);
    }
  } else if (count < L) {
    for (std::int64_t e = 0; e < x.n; ++e)
      for (int l = 0; l < count; ++l) {
        re[e * x.element_stride + l * x.line_stride] = w[e].re[l];
        im[e * x.element_stride + l * x.line_stride] = w[e].im[l];
      }
  } else if (x.interleaved) {
    for (std::int64_t e = 0; e < x.n; ++e) store_complex<kStream>(re + e * x.element_stride, w[e]);
  } else {
    for (std::int64_t e = 0; e < x.n; ++e) {
      put<kStream>(re + e * x.element_stride, w[e].re);
      put<kStream>(im + e * x.element_stride, w[e].im);
    }
  }
}

template <class T>
void store_lines(const Lines<T>& x, std::int64_t first, const Complex<Vec<T>>* w, bool streamed) {
  if (!streamed) return store_block<false>(x, first, w);
  store_block<true>(x, first, w);
  stream_fence();
}

template void load_lines<float>(const Lines<const float>&, std::int64_t, Line<float>);
template void load_lines<double>(const Lines<const double>&, std::int64_t, Line<double>);
template void store_lines<float>(const Lines<float>&, std::int64_t, const Complex<Vec<float>>*, bool);
template void store_lines<double>(const Lines<double>&, std::int64_t, const Complex<Vec<double>>*, bool);

}  // namespace CSMRI_LEVEL
}  // namespace csmri

#include <type_traits>

#include "fft/line_fft.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

namespace {

// The real or the imaginary parts of all elements of a line, every second vector. A forward transform with the two
// exchanged is an inverse one, so passes know only the forward direction and take the parts in either order.
template <class T>
using Part = Vec<T>*;

// Each butterfly has radix - 1 pairs of numbers in a table, one after the other. In a forward pass they belong to its
// block, in an inverse pass to its place in the block.
template <class T>
struct Twiddles {
  const T* table;
  bool by_block;
};

// Element j of the butterfly that starts at re, im, times its twiddle factor c (1 + i tan).
template <bool kTwiddled, class T>
CSMRI_HOST_DEVICE Complex<Vec<T>> element(const Vec<T>* re, const Vec<T>* im, int distance, const T* twiddles, int j) {
  const Vec<T> a = re[j * distance], b = im[j * distance];
  if (!kTwiddled || j == 0) return {a, b};
  const T c = twiddles[2 * j - 2], tan = twiddles[2 * j - 1];
  return {c * (a + tan * b), c * (b - tan * a)};
}

// f(re, im, distance between elements, twiddles) for each butterfly.
template <class T, class F>
CSMRI_HOST_DEVICE void for_butterflies(Part<T> re, Part<T> im, const FftPass& p, Twiddles<T> twiddles,
                                       ReadAhead<T>& ahead, const F& f) {
  const int distance = 2 * p.span, per_butterfly = 2 * (p.radix - 1);
  for (int block = 0; block < p.blocks; ++block) {
    const T* w = twiddles.table + (twiddles.by_block ? block * per_butterfly : 0);
    for (int t = 0; t < p.span; ++t, re += 2, im += 2) {
      f(re, im, distance, w);
      ahead.step();
      if (!twiddles.by_block) w += per_butterfly;
    }
    re += distance * (p.radix - 1);
    im += distance * (p.radix - 1);
  }
}

template <int R, bool kTwiddled, class T>
void codelet_pass(Part<T> re, Part<T> im, const FftPass& p, Twiddles<T> twiddles, ReadAhead<T>& ahead) {
  for_butterflies(re, im, p, twiddles, ahead,
                  [](Part<T> x, Part<T> y, int distance, const T* w) __attribute__((always_inline)) {
                    Complex<Vec<T>> v[R];
                    CSMRI_UNROLL
                    for (int j = 0; j < R; ++j) v[j] = element<kTwiddled>(x, y, distance, w, j);
                    dft<R, -1>(v);
                    CSMRI_UNROLL
                    for (int j = 0; j < R; ++j) x[j * distance] = v[j].re, y[j * distance] = v[j].im;
                  });
}

// An odd prime radix: as in dft_odd_prime, with loops over the pairs, two results of each parity at a time.
template <class T>
void prime_pass(Part<T> re, Part<T> im, const FftPass& p, Twiddles<T> twiddles, const T* turns, ReadAhead<T>& ahead) {
  const int radix = p.radix, pairs = (radix - 1) / 2;
  for_butterflies(re, im, p, twiddles, ahead, [=](Part<T> x, Part<T> y, int distance, const T* w) {
    Complex<Vec<T>> sum[kMaxPrime / 2], difference[kMaxPrime / 2], total = {x[0], y[0]};
    const Complex<Vec<T>> first = total;
    for (int j = 1; j <= pairs; ++j) {
      const Complex<Vec<T>> a = element<true>(x, y, distance, w, j), b = element<true>(x, y, distance, w, radix - j);
      sum[j - 1] = a + b;
      difference[j - 1] = a - b;
      total = total + sum[j - 1];
    }
    x[0] = total.re, y[0] = total.im;
    const auto store_pair = [&](int k, const Complex<Vec<T>>& even, const Complex<Vec<T>>& odd) {
      const Complex<Vec<T>> turned = quarter_turn<-1>(odd), low = even + turned, high = even - turned;
      x[k * distance] = low.re, y[k * distance] = low.im;
      x[(radix - k) * distance] = high.re, y[(radix - k) * distance] = high.im;
    };
    const T* c = turns;
    int k = 1;
    for (; k < pairs; k += 2) {
      Complex<Vec<T>> even = first, odd{}, next_even = first, next_odd{};
      for (int j = 0; j < pairs; ++j, c += 4) {
        const Complex<Vec<T>> s = sum[j], d = difference[j];
        even.re += c[0] * s.re, even.im += c[0] * s.im, odd.re += c[1] * d.re, odd.im += c[1] * d.im;
        next_even.re += c[2] * s.re, next_even.im += c[2] * s.im;
        next_odd.re += c[3] * d.re, next_odd.im += c[3] * d.im;
      }
      store_pair(k, even, odd);
      store_pair(k + 1, next_even, next_odd);
    }
    if (k > pairs) return;
    Complex<Vec<T>> even = first, odd{};
    for (int j = 0; j < pairs; ++j, c += 2) {
      even.re += c[0] * sum[j].re, even.im += c[0] * sum[j].im;
      odd.re += c[1] * difference[j].re, odd.im += c[1] * difference[j].im;
    }
    store_pair(k, even, odd);
  });
}

// f(std::integral_constant<int, radix>) for the radices that have codelets here.
template <class F>
void with_radix(int radix, const F& f) {
  switch (radix) {
    case 2:
      return f(std::integral_constant<int, 2>{});
    case 3:
      return f(std::integral_constant<int, 3>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    case 5:
      return f(std::integral_constant<int, 5>{});
    case 7:
      return f(std::integral_constant<int, 7>{});
    case 8:
      return f(std::integral_constant<int, 8>{});
  }
}

template <class T>
void pass(Part<T> re, Part<T> im, const FftPass& p, Twiddles<T> twiddles, const T* prime_turns, ReadAhead<T>& ahead) {
  if (p.radix > kMaxCodelet) return prime_pass(re, im, p, twiddles, prime_turns, ahead);
  const bool twiddled = (twiddles.by_block ? p.blocks : p.span) > 1;
  with_radix(p.radix, [&](auto radix) {
    twiddled ? codelet_pass<radix(), true>(re, im, p, twiddles, ahead)
             : codelet_pass<radix(), false>(re, im, p, twiddles, ahead);
  });
}

template <class T>
void forward_passes(const LinePlan<T>& plan, Part<T> re, Part<T> im, int begin, int end, ReadAhead<T>& ahead) {
  for (int i = begin; i < end; ++i)
    pass<T>(re, im, plan.passes[i], {plan.forward_twiddles[i], true}, plan.prime_turns[i], ahead);
}
template <class T>
void inverse_passes(const LinePlan<T>& plan, Part<T> re, Part<T> im, int begin, int end, ReadAhead<T>& ahead) {
  for (int i = end; i-- > begin;)
    pass<T>(im, re, plan.passes[i], {plan.inverse_twiddles[i], false}, plan.prime_turns[i], ahead);
}

template <class T>
void bluestein(const LinePlan<T>& plan, Part<T> re, Part<T> im, Line<T> work) {
  const LinePlan<T>& longer = *plan.convolution;
  const int n = plan.n;
  ReadAhead<T> nothing;
  for (int j = 0; j < n; ++j)
    work[j] = rotate<1>(Complex<Vec<T>>{re[2 * j], im[2 * j]}, plan.chirp[2 * j], plan.chirp[2 * j + 1]);
  for (int j = n; j < longer.n; ++j) work[j] = Complex<Vec<T>>{};
  forward_passes<T>(longer, &work->re, &work->im, 0, longer.n_passes, nothing);
  for (int s = 0; s < longer.n; ++s)
    work[s] = rotate<1>(work[s], plan.chirp_spectrum[2 * s], plan.chirp_spectrum[2 * s + 1]);
  inverse_passes<T>(longer, &work->re, &work->im, 0, longer.n_passes, nothing);
  for (int k = 0; k < n; ++k) {
    const Complex<Vec<T>> x = rotate<1>(work[k], plan.chirp[2 * k], plan.chirp[2 * k + 1]);
    re[2 * k] = x.re, im[2 * k] = x.im;
  }
}

// f(per_lane, has_samples), both as std::bool_constant.
template <class T, class F>
void with_kind(const LineDiagonal<T>& diagonal, const F& f) {
  const std::true_type yes;
  const std::false_type no;
  if (diagonal.per_lane)
    diagonal.samples ? f(yes, yes) : f(yes, no);
  else
    diagonal.samples ? f(no, yes) : f(no, no);
}

// The last forward pass, the diagonal and the first inverse pass: butterflies of adjacent elements.
template <int R, bool kPerLane, bool kSamples, class T>
void middle_pass(Line<T> w, const FftPass& p, const T* twiddles, const LineDiagonal<T>& diagonal, ReadAhead<T>& ahead) {
  for (int e = 0; e < p.blocks * R; e += R, twiddles += 2 * (R - 1)) {
    Complex<Vec<T>> v[R];
    CSMRI_UNROLL
    for (int j = 0; j < R; ++j) v[j] = element<true>(&w[e].re, &w[e].im, 2, twiddles, j);
    dft<R, -1>(v);
    CSMRI_UNROLL
    for (int j = 0; j < R; ++j) v[j] = diagonal.template apply<kPerLane, kSamples>(e + j, v[j]);
    dft<R, 1>(v);
    CSMRI_UNROLL
    for (int j = 0; j < R; ++j) w[e + j] = v[j];
    ahead.step();
  }
}

}  // namespace

template <class T>
void forward_line(const LinePlan<T>& plan, Line<T> w, Line<T> work) {
  ReadAhead<T> nothing;
  if (plan.convolution)
    bluestein<T>(plan, &w->re, &w->im, work);
  else
    forward_passes<T>(plan, &w->re, &w->im, 0, plan.n_passes, nothing);
}
template <class T>
void inverse_line(const LinePlan<T>& plan, Line<T> w, Line<T> work) {
  ReadAhead<T> nothing;
  if (plan.convolution)
    bluestein<T>(plan, &w->im, &w->re, work);
  else
    inverse_passes<T>(plan, &w->re, &w->im, 0, plan.n_passes, nothing);
}

template <class T>
void apply_diagonal(const LineDiagonal<T>& diagonal, int n, Line<T> w) {
  with_kind(diagonal, [&](auto per_lane, auto has_samples) {
    for (int e = 0; e < n; ++e) w[e] = diagonal.template apply<per_lane(), has_samples()>(e, w[e]);
  });
}

template <class T>
void filter_line(const LinePlan<T>& plan, const LineDiagonal<T>& diagonal, Line<T> w, Line<T> work,
                 ReadAhead<T> ahead) {
  const int last = plan.n_passes - 1;
  if (last < 0 || plan.passes[last].radix > kMaxCodelet) {
    ahead.in_steps(1);
    ahead.step(), ahead.step();
    forward_line(plan, w, work);
    apply_diagonal(diagonal, plan.n, w);
    inverse_line(plan, w, work);
    return;
  }
  std::int64_t butterflies = plan.n / plan.passes[last].radix;
  for (int i = 0; i < last; ++i) butterflies += 2 * plan.n / plan.passes[i].radix;
  ahead.in_steps(butterflies);
  forward_passes<T>(plan, &w->re, &w->im, 0, last, ahead);
  with_radix(plan.passes[last].radix, [&](auto radix) {
    with_kind(diagonal, [&](auto per_lane, auto has_samples) {
      middle_pass<radix(), per_lane(), has_samples()>(w, plan.passes[last], plan.forward_twiddles[last], diagonal,
                                                      ahead);
    });
  });
  inverse_passes<T>(plan, &w->re, &w->im, 0, last, ahead);
}

template void forward_line<float>(const LinePlan<float>&, Line<float>, Line<float>);
template void forward_line<double>(const LinePlan<double>&, Line<double>, Line<double>);
template void inverse_line<float>(const LinePlan<float>&, Line<float>, Line<float>);
template void inverse_line<double>(const LinePlan<double>&, Line<double>, Line<double>);
template void filter_line<float>(const LinePlan<float>&, const LineDiagonal<float>&, Line<float>, Line<float>,
                                 ReadAhead<float>);
template void filter_line<double>(const LinePlan<double>&, const LineDiagonal<double>&, Line<double>, Line<double>,
                                  ReadAhead<double>);
template void apply_diagonal<float>(const LineDiagonal<float>&, int, Line<float>);
template void apply_diagonal<double>(const LineDiagonal<double>&, int, Line<double>);

}  // namespace CSMRI_LEVEL
}  // namespace csmri

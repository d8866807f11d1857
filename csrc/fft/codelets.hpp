// Small discrete Fourier transforms in registers, shared by the CPU kernels (V = Vec<T>: a line per lane) and the CUDA
// kernels (V = float or double: a thread per transform).
//
//     dft<N, kSign>(v):   v[k] <- sum_j v[j] exp(kSign 2 pi i j k / N),   natural order in and out, no 1/N.
//
// N = A B with A, B coprime needs index maps only (prime-factor algorithm), a prime power takes Cooley-Tukey, an odd
// prime the sum over pairs v[j] +- v[N - j] (4 ((N-1)/2)^2 multiply-adds: fewer than Rader or Bluestein up to 31).
// Sines and cosines are computed by the compiler and end up as immediates.
#pragma once
#include <type_traits>
#include <utility>

#include "core/host_device.hpp"
#include "core/simd.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class V>
struct Complex {
  V re, im;
};

template <class V>
CSMRI_HOST_DEVICE Complex<V> operator+(Complex<V> a, Complex<V> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class V>
CSMRI_HOST_DEVICE Complex<V> operator-(Complex<V> a, Complex<V> b) {
  return {a.re - b.re, a.im - b.im};
}
// a (c + kSign i s), for V or its scalar type as S
template <int kSign, class V, class S>
CSMRI_HOST_DEVICE Complex<V> rotate(Complex<V> a, S c, S s) {
  if constexpr (kSign > 0) return {a.re * c - a.im * s, a.im * c + a.re * s};
  return {a.re * c + a.im * s, a.im * c - a.re * s};
}
// a (kSign i)
template <int kSign, class V>
CSMRI_HOST_DEVICE Complex<V> quarter_turn(Complex<V> a) {
  if constexpr (kSign > 0) return {-a.im, a.re};
  return {a.im, -a.re};
}

namespace codelet {

template <class V, class = void>
struct ScalarOf {
  using type = V;
};
template <class V>
struct ScalarOf<V, std::void_t<decltype(std::declval<V>()[0])>> {  // SIMD vectors
  using type = std::decay_t<decltype(std::declval<V>()[0])>;
};

constexpr double kPi = 3.14159265358979323846;

// sin(x) for |x| <= pi / 4 and cos(x), to double precision
constexpr double series(double x, int first) {
  double term = first ? x : 1.0, sum = term;
  for (int i = first + 1; i < 26; i += 2) {
    term *= -x * x / (i * (i + 1));
    sum += term;
  }
  return sum;
}
// cos(2 pi k / n) for k >= 0, exact at multiples of a quarter turn
constexpr double cos_turns(int k, int n) {
  k %= n;
  if (2 * k > n) k = n - k;                            // now at most half a turn
  if (4 * k > n) return -cos_turns(n - 2 * k, 2 * n);  // cos(pi - a) = -cos(a)
  if (8 * k > n) return series(kPi * (n - 4 * k) / (2.0 * n), 1);
  return series(2 * kPi * k / n, 0);
}
constexpr double sin_turns(int k, int n) { return cos_turns(k % n * 4 + 3 * n, 4 * n); }

// cos and sin of 2 pi k / N, k < N
template <class T, int N>
struct Turns {
  T cos[N], sin[N];
  constexpr Turns() : cos(), sin() {
    for (int k = 0; k < N; ++k) {
      cos[k] = static_cast<T>(cos_turns(k, N));
      sin[k] = static_cast<T>(sin_turns(k, N));
    }
  }
};

// The first factor of N: its prime power if N has another prime, else half of that power; N itself if prime.
constexpr int first_factor(int n) {
  for (int p = 2; p <= n; ++p) {
    if (n % p) continue;
    int power = 1, exponent = 0;
    for (int rest = n; rest % p == 0; rest /= p) {
      power *= p;
      ++exponent;
    }
    if (power < n || exponent == 1) return power;
    int half = 1;
    for (int i = 0; i < (exponent + 1) / 2; ++i) half *= p;
    return half;
  }
  return n;
}
constexpr int inverse_mod(int a, int n) {  // a^-1 mod n
  for (int i = 1; i < n; ++i)
    if (a * i % n == 1) return i;
  return 1;
}
constexpr bool coprime(int a, int b) { return b == 0 ? a == 1 : coprime(b, a % b); }

// N = A B.  Coprime: input index B a + A b, result index = a mod A, = b mod B.  Else Cooley-Tukey: input index
// B a + b, twiddle exp(kSign 2 pi i a b / N), result index a + A b.
template <int N>
struct Split {
  static constexpr int kA = first_factor(N), kB = N / kA;
  static constexpr bool kCoprime = coprime(kA, kB);
  static constexpr int kInputA = kB, kInputB = kCoprime ? kA : 1;
  static constexpr int kOutputA = kCoprime ? kB * inverse_mod(kB % kA, kA) : 1;
  static constexpr int kOutputB = kCoprime ? kA * inverse_mod(kA % kB, kB) : kA;
};

// a exp(kSign 2 pi i k / N); k is a constant once the caller's loop is unrolled
template <int N, int kSign, class V>
CSMRI_HOST_DEVICE Complex<V> twiddle(Complex<V> a, int k) {
  using T = typename ScalarOf<V>::type;
  constexpr Turns<T, N> turns;
  if (k == 0) return a;
  if (4 * k == N) return quarter_turn<kSign>(a);
  if (8 * k == N) {  // so written, the factor merges with the additions that follow
    const Complex<V> b = quarter_turn<kSign>(a);
    return {turns.cos[k] * (a.re + b.re), turns.cos[k] * (a.im + b.im)};
  }
  if (8 * k == 3 * N) {
    const Complex<V> b = quarter_turn<kSign>(a);
    return {turns.sin[k] * (b.re - a.re), turns.sin[k] * (b.im - a.im)};
  }
  return rotate<kSign>(a, turns.cos[k], turns.sin[k]);
}

template <int kSign, class V>
CSMRI_HOST_DEVICE void dft_4(Complex<V>* v) {
  const Complex<V> even_sum = v[0] + v[2], even_difference = v[0] - v[2];
  const Complex<V> odd_sum = v[1] + v[3], odd_difference = quarter_turn<kSign>(v[1] - v[3]);
  v[0] = even_sum + odd_sum;
  v[1] = even_difference + odd_difference;
  v[2] = even_sum - odd_sum;
  v[3] = even_difference - odd_difference;
}

template <int N, int kSign, class V>
CSMRI_HOST_DEVICE void dft_odd_prime(Complex<V>* v) {
  using T = typename ScalarOf<V>::type;
  constexpr Turns<T, N> turns;
  constexpr int kPairs = (N - 1) / 2;
  Complex<V> sum[kPairs], difference[kPairs], total = v[0];
  CSMRI_UNROLL
  for (int j = 1; j <= kPairs; ++j) {
    sum[j - 1] = v[j] + v[N - j];
    difference[j - 1] = v[j] - v[N - j];
    total = total + sum[j - 1];
  }
  const Complex<V> first = v[0];
  CSMRI_UNROLL
  for (int k = 1; k <= kPairs; ++k) {
    Complex<V> even = first, odd = {difference[0].re * turns.sin[k], difference[0].im * turns.sin[k]};
    CSMRI_UNROLL
    for (int j = 1; j <= kPairs; ++j) {
      even.re += sum[j - 1].re * turns.cos[j * k % N];
      even.im += sum[j - 1].im * turns.cos[j * k % N];
      if (j == 1) continue;
      odd.re += difference[j - 1].re * turns.sin[j * k % N];
      odd.im += difference[j - 1].im * turns.sin[j * k % N];
    }
    odd = quarter_turn<kSign>(odd);
    v[k] = even + odd;
    v[N - k] = even - odd;
  }
  v[0] = total;
}

}  // namespace codelet

template <int N, int kSign, class V>
CSMRI_HOST_DEVICE void dft(Complex<V>* v) {
  using Split = codelet::Split<N>;
  constexpr int A = Split::kA, B = Split::kB;
  if constexpr (N == 1) {
    return;
  } else if constexpr (N == 2) {
    const Complex<V> difference = v[0] - v[1];
    v[0] = v[0] + v[1];
    v[1] = difference;
  } else if constexpr (N == 4) {
    codelet::dft_4<kSign>(v);
  } else if constexpr (B == 1) {
    codelet::dft_odd_prime<N, kSign>(v);
  } else {
    Complex<V> u[B][A];
    CSMRI_UNROLL
    for (int b = 0; b < B; ++b) {
      CSMRI_UNROLL
      for (int a = 0; a < A; ++a) u[b][a] = v[(Split::kInputA * a + Split::kInputB * b) % N];
      dft<A, kSign>(u[b]);
    }
    CSMRI_UNROLL
    for (int a = 0; a < A; ++a) {
      Complex<V> w[B];
      CSMRI_UNROLL
      for (int b = 0; b < B; ++b) w[b] = Split::kCoprime ? u[b][a] : codelet::twiddle<N, kSign>(u[b][a], a * b);
      dft<B, kSign>(w);
      CSMRI_UNROLL
      for (int b = 0; b < B; ++b) v[(Split::kOutputA * a + Split::kOutputB * b) % N] = w[b];
    }
  }
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

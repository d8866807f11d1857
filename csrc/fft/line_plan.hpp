// How a line of n complex numbers is transformed: the passes, their twiddle factors, and the order of the result.
//
// Mixed radix, in place. Forward: natural order in, frequencies out in the order of `frequency`; inverse: the other way
// round. Nothing is ever reordered, since only diagonal operators are applied between the two. With radices r_1 ...
// r_k, slot (k_1, ..., k_k), k_1 the most significant digit, holds frequency k_1 + r_1 k_2 + r_1 r_2 k_3 + ...
//
// A length with a prime factor above kMaxPrime is a convolution with a chirp (Bluestein) of a longer, smooth length: up
// to there the direct sum of a prime radix takes no longer, and is more accurate.
#pragma once
#include <cstdint>

namespace csmri {

constexpr int kMaxCodelet = 8;  // prime radices above take run-time loops
constexpr int kMaxPrime = 113;
constexpr int kMaxPasses = 32;

struct FftPass {
  int radix;
  int blocks, span;  // blocks * radix * span = n; one butterfly takes elements at distance `span`
};

// Multiplication by c + i s is written c (1 + i t): the outer factor then merges with the additions of the butterfly.
// Per butterfly, radix - 1 pairs (c, t), for elements 1 ... radix - 1.
template <class T>
struct LinePlan {
  int n;
  int n_passes;  // 0: Bluestein, or n = 1
  FftPass passes[kMaxPasses];
  const T* forward_twiddles[kMaxPasses];  // (blocks, radix - 1, 2), cos and tan of 2 pi j kappa(block) / (blocks radix)
  const T* inverse_twiddles[kMaxPasses];  // (span, radix - 1, 2), cos and tan of 2 pi j t / (span radix)
  // Radices above kMaxCodelet: cos and sin of 2 pi j k / radix for j, k = 1 ... (radix - 1) / 2, for two k side by
  // side: (k / 2, j, 2, 2); an odd last k alone.
  const T* prime_turns[kMaxPasses];
  const int* frequency;  // (n) of each slot
  const int* centred;    // (n) of each slot: where its frequency lies in centred k-space, (frequency + n / 2) % n
  const int* slot;       // (n) of each place in centred k-space
  const T* centring;  // (n, 2), slot order: sqrt(n) exp(-2 pi i k floor(n / 2) / n), from centred unitary to plain DFT

  // Bluestein: X = chirp . convolve(chirp . x, conj(chirp)), with chirp[j] = exp(-i pi j^2 / n)
  const LinePlan* convolution;  // plan of length >= 2 n - 1
  const T* chirp;               // (n, 2)
  const T* chirp_spectrum;      // (convolution->n, 2), of conj(chirp), in slot order, divided by convolution->n
};

// Vectors that a transform needs beside the line, of the same scratch.
template <class T>
int work_elements(const LinePlan<T>& plan) {
  return plan.convolution ? plan.convolution->n : 0;
}

// Bytes of scratch in which one thread transforms lines of images (ny, nx): four lines of up to 64-byte vectors, and a
// padded line (less than 4 n) for lengths with large primes.
constexpr std::int64_t line_scratch_bytes(std::int64_t ny, std::int64_t nx) { return 8 * (ny > nx ? ny : nx) * 2 * 64; }

// The plan of a length, made at first use and kept for good (a process meets few lengths). n >= 1, T float or double.
template <class T>
const LinePlan<T>& line_plan(int n);

}  // namespace csmri

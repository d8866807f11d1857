// Discrete Fourier transforms of any length up to kMaxCudaLength in shared memory, float32 or float64: for lengths
// without a kernel of their own, for float64, and for what happens once per measurement.
//
// Stockham's scheme with one pass per factor r of n, each output by its definition as a sum of r terms: n (r1 + r2 +
// ...) multiply-adds, no reordering, exact for every n; a prime factor of n costs itself. Bound by shared memory.
#pragma once
#include "fft/lines.cuh"

namespace csmri {

constexpr int kAnyLengthThreads = 256;

struct Factors {
  int n, count;
  short factor[11];
};
inline Factors factorize(int n) {
  Factors result{n, 0, {}};
  const auto divide = [&](int r) {
    while (n % r == 0) {
      result.factor[result.count++] = static_cast<short>(r);
      n /= r;
    }
  };
  divide(4);
  for (int r = 2; n > 1; ++r) divide(r);
  return result;
}

// Parts side by side, in one access.
template <class T>
struct alignas(2 * sizeof(T)) Pair {
  T re, im;
};
template <class T>
__device__ __forceinline__ Pair<T> as_pair(Complex<T> z) {
  return {z.re, z.im};
}
template <class T>
__device__ __forceinline__ Complex<T> as_complex(Pair<T> z) {
  return {z.re, z.im};
}

// exp(2 pi i k / n), correctly rounded but for the last bit of T
template <class T>
__device__ __forceinline__ Complex<T> unit_root(int k, int n) {
  double sine, cosine;
  sincospi(2.0 * k / n, &sine, &cosine);
  return {static_cast<T>(cosine), static_cast<T>(sine)};
}
template <class T>
__device__ void fill_roots(Pair<T>* roots, int n) {
  for (int k = static_cast<int>(threadIdx.x); k < n; k += static_cast<int>(blockDim.x))
    roots[k] = as_pair(unit_root<T>(k, n));
}

// v[k] <- sum_j v[j] exp(kSign 2 pi i j k / n) for each of `lines` lines, [line][n]. `from` and `spare` hold a line
// each; returns the one with the result. Starts and ends with a barrier.
template <int kSign, class T>
__device__ Pair<T>* transform_lines(Pair<T>* from, Pair<T>* spare, int lines, const Factors& factors,
                                    const Pair<T>* roots) {
  const int n = factors.n;
  int done = 1;  // length of the transforms finished so far: element k of the one that starts at s is at k n / done + s
  for (int pass = 0; pass < factors.count; ++pass) {
    const int r = factors.factor[pass], apart = n / (done * r);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < lines * n; i += static_cast<int>(blockDim.x)) {
      const int line = i / n, element = i - line * n, k = element / apart, start = element - k * apart;
      const Pair<T>* x = from + line * n + k % done * (apart * r) + start;
      Complex<T> sum{0, 0};
      int turn = 0;
      for (int first = 0; first < r; first += 32) {  // sums of sums: large primes lose no accuracy
        Complex<T> part{0, 0};
        for (int j = first; j < r && j < first + 32; ++j) {
          const Complex<T> root = as_complex(roots[turn]), value = as_complex(x[j * apart]);
          part = part + (kSign > 0 ? multiply(value, root) : multiply_conjugate(value, root));
          turn += k * apart;
          if (turn >= n) turn -= n;
        }
        sum = sum + part;
      }
      spare[i] = as_pair(sum);
    }
    Pair<T>* filled = spare;
    spare = from;
    from = filled;
    done *= r;
  }
  __syncthreads();
  return from;
}

// Where element i of the block's lines is: consecutive threads take consecutive addresses.
struct Element {
  int line, index;
  __device__ Element(int i, int n, int lines, bool along_x)
      : line(along_x ? i / n : i % lines), index(along_x ? i % n : i / lines) {}
};

// Lines of the block: first_lane ... first_lane + lines - 1 of one image, those that exist.
struct BlockOfLines {
  int image, first_lane, lines;
  template <class T>
  __device__ BlockOfLines(const LinePass<T>& pass, int lines_per_block) {
    const int blocks = (pass.lanes + lines_per_block - 1) / lines_per_block, block = static_cast<int>(blockIdx.x);
    image = block / blocks;
    first_lane = block % blocks * lines_per_block;
    lines = pass.lanes - first_lane < lines_per_block ? pass.lanes - first_lane : lines_per_block;
  }
};

template <class T>
__device__ void load_lines(Pair<T>* to, const ComplexImages<const T>& stack, const LinePass<T>& pass,
                           const BlockOfLines& block) {
  for (int i = static_cast<int>(threadIdx.x); i < block.lines * pass.n; i += static_cast<int>(blockDim.x)) {
    const Element e(i, pass.n, block.lines, pass.along_x);
    const auto line = line_of(stack, pass.along_x, pass.replicas, block.image, block.first_lane + e.line);
    to[e.line * pass.n + e.index] = {line.re[e.index * line.stride], line.im[e.index * line.stride]};
  }
}
template <class T>
__device__ void store_lines(const Pair<T>* from, const LinePass<T>& pass, const BlockOfLines& block) {
  for (int i = static_cast<int>(threadIdx.x); i < block.lines * pass.n; i += static_cast<int>(blockDim.x)) {
    const Element e(i, pass.n, block.lines, pass.along_x);
    const auto line = line_of(pass.out, pass.along_x, pass.replicas, block.image, block.first_lane + e.line);
    const Pair<T> value = from[e.line * pass.n + e.index];
    line.re[e.index * line.stride] = value.re;
    line.im[e.index * line.stride] = value.im;
  }
}

// f(k, position in the tile, weights and samples of the line) for every element of the block's lines
template <class T, class F>
__device__ void for_each_frequency(const LinePass<T>& pass, const BlockOfLines& block, const F& f) {
  for (int i = static_cast<int>(threadIdx.x); i < block.lines * pass.n; i += static_cast<int>(blockDim.x)) {
    const int line = i / pass.n;
    f(i - line * pass.n, i, LineData<T>(pass, block.image, block.first_lane + line));
  }
}

// Lines of a block: one row, or up to 8 columns in about 48 KiB; the roots and `tiles` tiles.
template <class T>
LaunchShape any_length_shape(const LinePass<T>& pass, int tiles, int* lines, cudaStream_t stream) {
  const std::size_t line_bytes = sizeof(Pair<T>) * static_cast<std::size_t>(pass.n);
  *lines = 1;
  while (!pass.along_x && *lines < 8 && (2 * *lines * tiles + 1) * line_bytes <= 48 * 1024) *lines *= 2;
  const int blocks = pass.images * ((pass.lanes + *lines - 1) / *lines);
  return {dim3(static_cast<unsigned>(blocks)), dim3(kAnyLengthThreads), (*lines * tiles + 1) * line_bytes, stream};
}

}  // namespace csmri

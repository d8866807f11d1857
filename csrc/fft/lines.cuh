// One pass over the lines of a stack of images, and where a line's
// elements, weights and samples lie.
//
// Order of the packed forms on CUDA (packed_kspace.hpp leaves it to the backend), for frequency k of the plain DFT:
//     weights   Axes::x, y: (m_k, rank of k among the k with m_k != 0).   Axes::xy: m of (tile, k, lane), as declared.
//     samples   Axes::x:     complex (batch, n_lane, n_line), the sample of k at its rank: a row's samples side by
//     side.
//               Axes::y, xy: complex (batch, tiles, n_line, kTile).
#pragma once
#include <type_traits>

#include "core/device_prims.cuh"
#include "fft/codelets.hpp"
#include "fft/images.hpp"
#include "fft/packed_kspace.hpp"

namespace csmri {

// Whether the parts of an element lie side by side, aligned: one access then moves both.
template <class T>
bool is_interleaved(const ComplexImages<T>& stack) {
  const auto address = reinterpret_cast<std::uintptr_t>(stack.re);
  return stack.im == stack.re + 1 && address % (2 * sizeof(T)) == 0 &&
         (stack.batch_stride | stack.replica_stride | stack.row_stride | stack.column_stride) % 2 == 0;
}

// For every line, element i at index i:  out = F^-1 D F in,  each of the three optional, F the plain DFT and
//     D X[k] = scale ((identity - eta m_k) X[k] + eta s[k]).
template <class T>
struct LinePass {
  ComplexImages<const T> in;
  ComplexImages<T> out;  // may be `in`
  const T* samples;      // or null: s = 0
  const T* weights;
  const T* eta;  // or null: -1
  T identity, scale;
  int n, lanes, images;  // elements in a line, lines in an image, images
  int replicas, batch_per_mask;
  bool along_x, weights_2d;
  bool forward, diagonal, inverse;
  bool in_pairs, out_pairs;  // is_interleaved
};

// grad_image: the same pass with in = g and samples = null. partials[line] = scale sum_k Re(conj(G_k) (s_k - m_k X_k)).
template <class T>
struct BackwardPass {
  LinePass<T> pass;              // in: g
  ComplexImages<const T> image;  // x
  bool image_pairs;
  double* partials;  // (images, lanes)
};

// The kernels of a tabulated length; false where n has none (line_pass_cuda.cu, line_backward_cuda.cu).
bool line_pass(const LinePass<float>& pass, cudaStream_t stream);
bool line_backward(const BackwardPass<float>& args, cudaStream_t stream);
// Any length up to kMaxCudaLength; T is float or double (any_length_cuda.cu).
template <class T>
void any_length_pass(const LinePass<T>& pass, cudaStream_t stream);
template <class T>
void any_length_backward(const BackwardPass<T>& args, cudaStream_t stream);

// A complex number whose parts lie side by side, aligned to both.
template <class T>
__device__ __forceinline__ Complex<T> load_pair(const T* p) {
  const auto pair = __ldg(reinterpret_cast<const std::conditional_t<sizeof(T) == 4, float2, double2>*>(p));
  return {pair.x, pair.y};
}

template <class T>
__device__ __forceinline__ Complex<T> multiply(Complex<T> a, Complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class T>
__device__ __forceinline__ Complex<T> multiply_conjugate(Complex<T> a, Complex<T> b) {  // a conj(b)
  return {a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}

// Element i of a line: re[i * stride], im[i * stride].
template <class T>
struct Line {
  T* re;
  T* im;
  std::int64_t stride;
};
template <class T>
__device__ __forceinline__ Line<T> line_of(const ComplexImages<T>& stack, bool along_x, int replicas, int image,
                                           int lane) {
  const std::int64_t offset = image / replicas * stack.batch_stride + image % replicas * stack.replica_stride +
                              lane * (along_x ? stack.row_stride : stack.column_stride);
  return {stack.re + offset, stack.im + offset, along_x ? stack.column_stride : stack.row_stride};
}

// Samples of one batch item: sample i of lane `lane` at at(...)[i * stride].
template <class T>
struct SampleLine {
  T* samples;
  int stride;
};
template <class T>
__device__ __forceinline__ SampleLine<T> sample_line(T* samples, bool along_x, int n, int lanes, int batch, int lane) {
  if (along_x) return {samples + 2 * (static_cast<std::int64_t>(batch) * lanes + lane) * n, 2};
  const std::int64_t tile = static_cast<std::int64_t>(batch) * ((lanes + kTile - 1) / kTile) + lane / kTile;
  return {samples + 2 * (tile * n * kTile + lane % kTile), static_cast<int>(2 * kTile)};
}

// Weights and samples of one line.
template <class T>
struct LineData {
  const T* weights;
  int weight_stride;
  bool packed;  // samples in the order of rank
  SampleLine<const T> samples;

  __device__ LineData(const LinePass<T>& pass, int image, int lane) {
    const int batch = image / pass.replicas, mask = batch / pass.batch_per_mask;
    if (pass.weights_2d) {
      const std::int64_t tile = static_cast<std::int64_t>(mask) * ((pass.lanes + kTile - 1) / kTile) + lane / kTile;
      weights = pass.weights + tile * pass.n * kTile + lane % kTile;
      weight_stride = kTile;
    } else {
      weights = pass.weights + 2 * static_cast<std::int64_t>(mask) * pass.n;
      weight_stride = 2;
    }
    packed = pass.along_x;
    samples = pass.samples ? sample_line(pass.samples, pass.along_x, pass.n, pass.lanes, batch, lane)
                           : SampleLine<const T>{nullptr, 0};
  }
  __device__ __forceinline__ T weight(int k) const { return __ldg(weights + k * weight_stride); }
  __device__ __forceinline__ Complex<T> sample(int k, T m) const {  // m: weight(k)
    if (samples.samples == nullptr || m == 0) return {0, 0};
    const int i = packed ? static_cast<int>(__ldg(weights + 2 * k + 1)) : k;
    return load_pair(samples.samples + static_cast<std::int64_t>(i) * samples.stride);
  }
};

// The scalars of D.
template <class T>
struct Diagonal {
  T identity, eta;  // both times scale
  __device__ explicit Diagonal(const LinePass<T>& pass)
      : identity(pass.identity * pass.scale), eta((pass.eta ? __ldg(pass.eta) : T(-1)) * pass.scale) {}
  __device__ __forceinline__ Complex<T> apply(Complex<T> spectrum, T m, Complex<T> sample) const {
    const T a = identity - eta * m;
    return {a * spectrum.re + eta * sample.re, a * spectrum.im + eta * sample.im};
  }
};

}  // namespace csmri

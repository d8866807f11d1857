// Lines of a tabulated length in float32: transform, diagonal and inverse transform without leaving the SM.
//
// n = R1 R2; max(R1, R2) threads hold a line. In the forward transform thread t < R2 takes x[t + R2 j] for all j,
// transforms over j in registers, turns by exp(-2 pi i t k1 / n) and puts row k1 of its column into a tile of shared
// memory; thread k1 < R1 takes its row and transforms again: it holds X[k1 + R1 k2] for all k2. The inverse transform
// goes back the same way. So D is applied in registers, and the pass needs two exchanges and two barriers in all; no
// digit reversal.
//
// Bytes: 8 read and 8 written per element, 8 per acquired sample (Axes::x, y at 4-fold undersampling: 18.5 per pixel);
// backward reads 8 more. Bound by DRAM for 8 and more images of 320 x 320, by latency below (estimates: not measured
// on a GPU). Shared memory: two exchanges of 8 bytes per element, free of bank conflicts.
//
// Each line is computed by the same instructions whatever its block holds besides: results do not depend on the number
// of images or the shape of the grid.
#pragma once
#include "fft/lines.cuh"

namespace csmri {

// exp(2 pi i t k1 / n) at [k1][t]: neighbouring threads read neighbouring elements.
template <int R1, int R2>
struct TwiddleTable {
  float2 value[R1][R2];
  constexpr TwiddleTable() : value() {
    for (int k = 0; k < R1; ++k)
      for (int t = 0; t < R2; ++t)
        value[k][t] = {static_cast<float>(codelet::cos_turns(k * t, R1 * R2)),
                       static_cast<float>(codelet::sin_turns(k * t, R1 * R2))};
  }
};
template <int R1, int R2>
__device__ const TwiddleTable<R1, R2> kTwiddles{};

constexpr int kMaxLines = 8;  // in a block

// The place of a thread in its block of 2 to kMaxLines lines. Lines along x: threads of a line are neighbours. Lines
// along y: the threads with the same t are neighbours and read 8 columns, 64 bytes, in one piece.
//
// Element (row, column) of line `slot` lies at tile[(row * kRow + column) * kElement + slot]. kRow and kElement are
// odd, so the 16 threads of a half-warp fall on 16 different pairs of banks: along x their row or column differs by 1
// to 15; along y, where the half-warp has 8 slots and two values of t, these differ by 8.
template <int R1, int R2>
struct LineGeometry {
  static constexpr int kThreads = R1 > R2 ? R1 : R2, kMaxThreads = kMaxLines * kThreads;
  static constexpr int kRow = R2 | 1, kElement = kMaxLines + 1, kTileElements = R1 * kRow * kElement;
  static_assert(kThreads >= 16, "half-warps of lines along y");
  int t;     // thread in line
  int slot;  // line in block
  int image, lane;
  bool live;
  float2* tile;

  __device__ LineGeometry(const LinePass<float>& pass, float2* shared) {
    const int thread = static_cast<int>(threadIdx.x), block = static_cast<int>(blockIdx.x);
    const int lines = static_cast<int>(blockDim.x) / kThreads;
    if (pass.along_x) {
      slot = thread / kThreads;
      t = thread % kThreads;
      const int line = block * lines + slot;
      live = line < pass.images * pass.lanes;
      image = line / pass.lanes;
      lane = line % pass.lanes;
    } else {
      slot = thread % lines;
      const int u = thread / lines;
      t = u < 16 ? u % 2 * 8 + u / 2 : u;
      const int blocks = (pass.lanes + lines - 1) / lines;
      image = block / blocks;
      lane = block % blocks * lines + slot;
      live = lane < pass.lanes;
    }
    tile = shared + slot;
  }
  __device__ __forceinline__ float2& at(int row, int column) const { return tile[(row * kRow + column) * kElement]; }
};

// v holds x[t + R2 j] (t < R2) on one side of the transform and X[t + R1 j] (t < R1) on the other.
template <int R1, int R2>
__device__ __forceinline__ void forward_line(const LineGeometry<R1, R2>& line, Complex<float>* v) {
  const int t = line.t;
  if (line.live && t < R2) {
    dft<R1, -1>(v);
    CSMRI_UNROLL
    for (int k = 0; k < R1; ++k) {
      const float2 w = kTwiddles<R1, R2>.value[k][t];
      const Complex<float> turned = k == 0 ? v[0] : multiply_conjugate(v[k], {w.x, w.y});
      line.at(k, t) = make_float2(turned.re, turned.im);
    }
  }
  __syncthreads();
  if (line.live && t < R1) {
    CSMRI_UNROLL
    for (int j = 0; j < R2; ++j) v[j] = {line.at(t, j).x, line.at(t, j).y};
    dft<R2, -1>(v);
  }
}
template <int R1, int R2>
__device__ __forceinline__ void inverse_line(const LineGeometry<R1, R2>& line, Complex<float>* v) {
  const int t = line.t;
  if (line.live && t < R1) {
    dft<R2, 1>(v);
    CSMRI_UNROLL
    for (int j = 0; j < R2; ++j) line.at(t, j) = make_float2(v[j].re, v[j].im);  // its own row: nobody else reads it
  }
  __syncthreads();
  if (line.live && t < R2) {
    CSMRI_UNROLL
    for (int k = 0; k < R1; ++k) {
      const float2 w = kTwiddles<R1, R2>.value[k][t], u = line.at(k, t);
      v[k] = k == 0 ? Complex<float>{u.x, u.y} : multiply(Complex<float>{u.x, u.y}, {w.x, w.y});
    }
    dft<R1, 1>(v);
  }
}

// v[j] = element first + step j of a line, j < kCount; and back. kOnce: nobody reads the line again.
template <int kCount, bool kOnce = true>
__device__ __forceinline__ void load_line(Complex<float>* v, const Line<const float>& line, bool pairs, int first,
                                          int step) {
  const auto load = [](const auto* p) {
    if constexpr (kOnce) return load_streaming(p);
    return __ldg(p);
  };
  const std::int64_t offset = first * line.stride, stride = step * line.stride;
  if (pairs) {
    CSMRI_UNROLL
    for (int j = 0; j < kCount; ++j) {
      const float2 u = load(reinterpret_cast<const float2*>(line.re + offset + j * stride));
      v[j] = {u.x, u.y};
    }
  } else {
    CSMRI_UNROLL
    for (int j = 0; j < kCount; ++j) v[j] = {load(line.re + offset + j * stride), load(line.im + offset + j * stride)};
  }
}
template <int kCount>
__device__ __forceinline__ void store_line(const Complex<float>* v, const Line<float>& line, bool pairs, int first,
                                           int step) {
  const std::int64_t offset = first * line.stride, stride = step * line.stride;
  if (pairs) {
    CSMRI_UNROLL
    for (int j = 0; j < kCount; ++j)
      *reinterpret_cast<float2*>(line.re + offset + j * stride) = make_float2(v[j].re, v[j].im);
  } else {
    CSMRI_UNROLL
    for (int j = 0; j < kCount; ++j) {
      line.re[offset + j * stride] = v[j].re;
      line.im[offset + j * stride] = v[j].im;
    }
  }
}

template <int R1, int R2>
__global__ void __launch_bounds__(LineGeometry<R1, R2>::kMaxThreads) line_pass_kernel(const LinePass<float> pass) {
  const LineGeometry<R1, R2> place(pass, dynamic_shared<float2>());
  const int t = place.t;
  const bool holds_image = place.live && t < R2, holds_spectrum = place.live && t < R1;
  const auto in = line_of(pass.in, pass.along_x, pass.replicas, place.image, place.lane);
  const auto out = line_of(pass.out, pass.along_x, pass.replicas, place.image, place.lane);
  Complex<float> v[place.kThreads];
  if (pass.forward) {
    if (holds_image) load_line<R1>(v, in, pass.in_pairs, t, R2);
    forward_line(place, v);
  } else if (holds_spectrum) {
    load_line<R2>(v, in, pass.in_pairs, t, R1);
  }
  if (pass.diagonal && holds_spectrum) {
    const LineData<float> data(pass, place.image, place.lane);
    const Diagonal<float> diagonal(pass);
    CSMRI_UNROLL
    for (int j = 0; j < R2; ++j) {
      const int k = t + R1 * j;
      const float m = data.weight(k);
      v[j] = diagonal.apply(v[j], m, data.sample(k, m));
    }
  }
  if (pass.inverse) {
    inverse_line(place, v);
    if (holds_image) store_line<R1>(v, out, pass.out_pairs, t, R2);
  } else if (holds_spectrum) {
    store_line<R2>(v, out, pass.out_pairs, t, R1);
  }
}

template <int R1, int R2>
__global__ void __launch_bounds__(LineGeometry<R1, R2>::kMaxThreads)
    line_backward_kernel(const BackwardPass<float> args) {
  const LinePass<float>& pass = args.pass;
  float2* shared = dynamic_shared<float2>();
  const LineGeometry<R1, R2> place(pass, shared);
  const int t = place.t;
  float* partial = reinterpret_cast<float*>(shared + place.kTileElements) + place.slot * R1;
  const bool holds_image = place.live && t < R2, holds_spectrum = place.live && t < R1;
  const LineData<float> data(pass, place.image, place.lane);
  const Diagonal<float> diagonal(pass);

  Complex<float> v[place.kThreads], residual[R2];  // s - m X
  const auto image = line_of(args.image, pass.along_x, pass.replicas, place.image, place.lane);
  if (holds_image) load_line<R1>(v, image, args.image_pairs, t, R2);
  forward_line(place, v);
  if (holds_spectrum) {
    CSMRI_UNROLL
    for (int j = 0; j < R2; ++j) {
      const int k = t + R1 * j;
      const float m = data.weight(k);
      const Complex<float> sample = data.sample(k, m);
      residual[j] = {sample.re - m * v[j].re, sample.im - m * v[j].im};
    }
  }
  __syncthreads();  // the tile is free for g

  const auto grad = line_of(pass.in, pass.along_x, pass.replicas, place.image, place.lane);
  if (holds_image) load_line<R1>(v, grad, pass.in_pairs, t, R2);
  forward_line(place, v);
  if (holds_spectrum) {
    float sum = 0;
    CSMRI_UNROLL
    for (int j = 0; j < R2; ++j) {
      sum += v[j].re * residual[j].re + v[j].im * residual[j].im;
      v[j] = diagonal.apply(v[j], data.weight(t + R1 * j), {0, 0});
    }
    partial[t] = sum;
  }
  inverse_line(place, v);
  const auto out = line_of(pass.out, pass.along_x, pass.replicas, place.image, place.lane);
  if (holds_image) store_line<R1>(v, out, pass.out_pairs, t, R2);
  if (place.live && t == 0) {
    double sum = 0;
    for (int k = 0; k < R1; ++k) sum += partial[k];
    args.partials[static_cast<std::int64_t>(place.image) * pass.lanes + place.lane] = sum * pass.scale;
  }
}

}  // namespace csmri

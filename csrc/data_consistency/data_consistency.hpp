// Data consistency of MR images with measured k-space (GA-HQS eq. 6, NasN eq. 7), and what autograd needs of it.
//
//     out = [x] + eta F^H (M y - M F x)                [x]: present if add_image
//
// F is the unitary centred 2-D DFT, M real diagonal weights (a 0/1 mask in most cases), y k-space, eta a scalar. In
// k-space this is one diagonal, (1 - eta m) X + eta m y, so x is read once and out written once.
//
// M may depend on x alone (Axes::x; phase encoding along the last axis), on y alone (Axes::y) or on both (Axes::xy).
// In the first two cases M commutes with the DFT along the other axis, which therefore cancels: one pass over the
// image, lines along one axis only, against data that were transformed along the other axis once, by `pack`.
//
// Centring costs nothing: F_c = S F S' with rolls S, S', and the roll of x cancels too. Only weights and data are
// permuted, by `pack`: with h = floor(n / 2), line frequency k of the plain unnormalised DFT meets
//     m[(k + h) mod n]    and    sqrt(n) exp(-2 pi i k h / n) y[(k + h) mod n]       (2-D: the product over both axes).
//
// Packed forms. Their sizes are fixed, their order is the business of each backend: pack and apply on the same one.
// "Line" axis: x for Axes::x, else y; n_line its extent. "Lane" axis: the other one; tiles = ceil(n_lane / kTile).
//     samples  (batch, tiles, n_line, 2, kTile)   M y as above; zero where nothing is stored
//     weights  (n_masks, n_line, 2)   or, for Axes::xy, (n_masks, tiles, n_line, kTile)
// Pairs of weights are (m, position): the samples of acquired elements lie side by side, in the order of position.
// CPU: elements in the slot order of LinePlan, position -1 where m = 0; for Axes::xy tiles hold slots of the x axis.
//
// Every ny, nx >= 1 is computed, none is padded with zeros that would change the result. What it costs:
//     CPU    factors up to 8: codelets; prime factors up to 113: direct sums, 4 ((p - 1) / 2)^2 multiply-adds for p
//            elements; a larger one: the whole line as a convolution of 2 n - 1 or a few more elements (Bluestein).
//     CUDA   float32, lengths in the table of line_launch.cuh: in registers. Any other up to kMaxCudaLength, and
//            float64: in shared memory, a direct sum for each prime factor, so that 386 = 2 * 193 costs about ten
//            times what 384 does. Beyond: csmri_ext/ops computes in torch.fft (cuFFT), as `reference` does.
#pragma once
#include <cstdint>

#include "core/simd.hpp"

namespace csmri {

constexpr int kTile = 16;
constexpr int kMaxCudaLength = 2048;  // three lines of complex128 and the roots of unity fit into 160 KiB

enum class Axes : int { x, y, xy };

// A stack of complex images. Image i = b * replicas + r; element (row, column) has its real part at
//     re + b * batch_stride + r * replica_stride + row * row_stride + column * column_stride
// and its imaginary part at the same offset from im. All strides count elements of T.
// Interleaved (complex64): column_stride 2, im = re + 1. Planar (channels of a real tensor): column_stride 1.
// GA-HQS, 2 m channels, first the real then the imaginary parts of m replicas, possibly a slice of a wider
// concatenated tensor: replicas m, replica_stride ny * nx, im = re + m * ny * nx, batch_stride that of the tensor.
template <class T>
struct ComplexImages {
  T* re;
  T* im;
  std::int64_t batch_stride, replica_stride, row_stride;
  std::int64_t column_stride;
};

struct DataConsistencyShape {
  std::int64_t batch, replicas;  // images: batch * replicas; the replicas of one batch item share data and mask
  std::int64_t batch_per_mask;   // batch item b uses mask b / batch_per_mask
  std::int64_t ny, nx;
  Axes axes;
};

// out = [x] + eta F^H (M y - M F x).  out may not overlap image.
template <class T>
struct DataConsistencyArgs {
  DataConsistencyShape shape;
  ComplexImages<const T> image;
  ComplexImages<T> out;
  const T* samples;  // (batch, tiles, n_line, 2, kTile), or null: y = 0
  const T* weights;
  const T* eta;  // one value, on the device
  bool add_image;
};

// With g the gradient of out:   grad_image = [g] - eta F^H M F g,   grad_eta = Re <g, F^H (M y - M F x)>,
// the latter as an inner product in k-space, in a fixed order: no result depends on scheduling.
template <class T>
struct DataConsistencyBackwardArgs {
  DataConsistencyShape shape;
  ComplexImages<const T> grad;
  ComplexImages<const T> image;
  ComplexImages<T> grad_image;
  const T* samples;  // or null: y = 0
  const T* weights;
  const T* eta;
  T* grad_eta;       // one value
  double* partials;  // data_consistency_partials(shape) values of work space
  T* workspace;      // Axes::xy only: batch * replicas * ny * nx * 2 values; else may be null
  bool add_image;
};
constexpr std::int64_t data_consistency_partials(const DataConsistencyShape& s) {
  return s.batch * s.replicas * (s.axes == Axes::x ? s.ny : s.nx);  // one per line; a backend may use fewer
}

// samples += sum over replicas of 1/n DFT x, where weights are not zero (Axes::xy: everywhere), onto zeros that the
// caller has written. n = n_line (Axes::xy: ny nx). This is the adjoint of `samples` in DataConsistencyArgs without its
// eta: grad_samples = eta measure(grad).
template <class T>
struct MeasureArgs {
  DataConsistencyShape shape;
  ComplexImages<const T> image;
  const T* weights;
  T* samples;    // (batch, tiles, n_line, 2, kTile)
  T* workspace;  // Axes::xy only: batch * replicas * ny * nx * 2 values; else may be null
};

// pack: kspace -> samples. unpack, its adjoint: samples -> kspace. shape.replicas is 1. The caller has filled what is
// written with zeros; where nothing is acquired it may stay as it is.
template <class T>
struct PackArgs {
  DataConsistencyShape shape;
  T* kspace;      // (batch, ny, nx, 2), centred; written by unpack, only read by pack
  const T* mask;  // (n_masks, n_line), for Axes::xy (n_masks, ny, nx): centred
  T* samples;     // written by pack, only read by unpack
};

// weights of a centred mask, (n_masks, n_line) or (n_masks, ny, nx); shape.batch is n_masks.
template <class T>
struct PackMaskArgs {
  DataConsistencyShape shape;
  const T* mask;
  T* weights;
};

// CPU: one entry per instruction set (core/simd.hpp).
struct CpuWork {
  void* scratch;  // threads * data_consistency_scratch_bytes(ny, nx), 64-byte aligned
  int threads;
};
// Per thread: four lines of up to 64-byte vectors, and a padded line (less than 4 n) for lengths with large primes.
constexpr std::int64_t data_consistency_scratch_bytes(std::int64_t ny, std::int64_t nx) {
  return 8 * (ny > nx ? ny : nx) * 2 * 64;
}
template <Simd L, class T>
void data_consistency_cpu(const DataConsistencyArgs<T>& args, const CpuWork& work);
template <Simd L, class T>
void data_consistency_backward_cpu(const DataConsistencyBackwardArgs<T>& args, const CpuWork& work);
template <Simd L, class T>
void data_consistency_measure_cpu(const MeasureArgs<T>& args, const CpuWork& work);
template <Simd L, class T>
void data_consistency_pack_cpu(const PackArgs<T>& args, const CpuWork& work);
template <Simd L, class T>
void data_consistency_unpack_cpu(const PackArgs<T>& args, const CpuWork& work);
template <Simd L, class T>
void data_consistency_pack_mask_cpu(const PackMaskArgs<T>& args, const CpuWork& work);

// CUDA: enqueued on `stream` (a cudaStream_t) of the current device. Never allocates, never waits; every pointer is on
// the device. Throws std::runtime_error with CUDA's message.
template <class T>
void data_consistency_cuda(const DataConsistencyArgs<T>& args, void* stream);
template <class T>
void data_consistency_backward_cuda(const DataConsistencyBackwardArgs<T>& args, void* stream);
template <class T>
void data_consistency_measure_cuda(const MeasureArgs<T>& args, void* stream);
template <class T>
void data_consistency_pack_cuda(const PackArgs<T>& args, void* stream);
template <class T>
void data_consistency_unpack_cuda(const PackArgs<T>& args, void* stream);
template <class T>
void data_consistency_pack_mask_cuda(const PackMaskArgs<T>& args, void* stream);

}  // namespace csmri

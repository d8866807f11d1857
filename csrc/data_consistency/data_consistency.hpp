// Data consistency of MR images with measured k-space (GA-HQS eq. 6, NasN eq. 7), and what autograd needs of it.
//
//     out = [x] + eta F^H (M y - M F x)                [x]: present if add_image
//
// F is the unitary centred 2-D DFT, M real diagonal weights (a 0/1 mask in most cases), y k-space, eta a scalar. In
// k-space this is one diagonal, (1 - eta m) X + eta m y, so x is read once and out written once.
//
// Packed samples and weights: fft/packed_kspace.hpp. Where M varies along one axis only, one pass over the image does.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "fft/images.hpp"
#include "fft/packed_kspace.hpp"

namespace csmri {

// out = [x] + eta F^H (M y - M F x).  out may not overlap image.
template <class T>
struct DataConsistencyArgs {
  KspaceShape shape;
  ComplexImages<const T> image;
  ComplexImages<T> out;
  const T* samples;  // (batch, tiles, n_line, 2, kTile), or null: y = 0
  const T* weights;
  const T* eta;  // one value, on the device
  bool add_image;
  bool streamed = false;  // CPU: out is part of something too large to be found in the cache again
};

// With g the gradient of out:   grad_image = [g] - eta F^H M F g,   grad_eta = Re <g, F^H (M y - M F x)>,
// the latter as an inner product in k-space, in a fixed order: no result depends on scheduling.
template <class T>
struct DataConsistencyBackwardArgs {
  KspaceShape shape;
  ComplexImages<const T> grad;
  ComplexImages<const T> image;
  ComplexImages<T> grad_image;
  const T* samples;  // or null: y = 0
  const T* weights;
  const T* eta;
  T* grad_eta;  // one value
  bool add_image;
};

// samples += sum over replicas of 1/n DFT x, where weights are not zero (Axes::xy: everywhere), onto zeros that the
// caller has written. n = n_line (Axes::xy: ny nx). This is the adjoint of `samples` in DataConsistencyArgs without its
// eta: grad_samples = eta measure(grad).
template <class T>
struct MeasureArgs {
  KspaceShape shape;
  ComplexImages<const T> image;
  const T* weights;
  T* samples;  // (batch, tiles, n_line, 2, kTile)
};

// pack: kspace -> samples. unpack, its adjoint: samples -> kspace. shape.replicas is 1. The caller has filled what is
// written with zeros; where nothing is acquired it may stay as it is.
template <class T>
struct PackArgs {
  KspaceShape shape;
  T* kspace;                   // (batch, ny, nx, 2), centred; written by unpack, only read by pack
  const T* mask;               // (n_masks, n_line), for Axes::xy (n_masks, ny, nx): centred
  T* samples;                  // written by pack, only read by unpack
  const T* weights = nullptr;  // of the mask, packed: for pack on the CPU and Axes::xy, which else orders them again
};

// weights of a centred mask, (n_masks, n_line) or (n_masks, ny, nx); shape.batch is n_masks.
template <class T>
struct PackMaskArgs {
  KspaceShape shape;
  const T* mask;
  T* weights;
};

// DataConsistencyArgs for k-space and a mask that are used once: they are packed for a few images at a time, in scratch
// that stays in the cache. kspace (batch, ny, nx, 2), centred, or null: y = 0; mask as in PackArgs.
template <class T>
struct DataConsistencyOnceArgs {
  KspaceShape shape;
  ComplexImages<const T> image;
  ComplexImages<T> out;
  const T* kspace;
  const T* mask;
  const T* eta;
  bool add_image;
};

CSMRI_CPU(data_consistency, DataConsistencyArgs)
CSMRI_CPU(data_consistency_once, DataConsistencyOnceArgs)
CSMRI_CPU(data_consistency_backward, DataConsistencyBackwardArgs)
CSMRI_CPU(data_consistency_measure, MeasureArgs)
CSMRI_CPU(data_consistency_pack, PackArgs)
CSMRI_CPU_WITHOUT_SCRATCH(data_consistency_unpack, PackArgs)  // scratch: as much as data_consistency_pack
CSMRI_CPU_WITHOUT_SCRATCH(data_consistency_pack_mask, PackMaskArgs)

// CUDA: T is float or double.
CSMRI_CUDA_WITHOUT_SCRATCH(data_consistency, DataConsistencyArgs)
CSMRI_CUDA(data_consistency_backward, DataConsistencyBackwardArgs)
CSMRI_CUDA(data_consistency_measure, MeasureArgs)
CSMRI_CUDA_WITHOUT_SCRATCH(data_consistency_pack, PackArgs)
CSMRI_CUDA_WITHOUT_SCRATCH(data_consistency_unpack, PackArgs)
CSMRI_CUDA_WITHOUT_SCRATCH(data_consistency_pack_mask, PackMaskArgs)

}  // namespace csmri

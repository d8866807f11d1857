// The normal operator of SENSE, the multi-coil form of data consistency (Pruessmann et al. 2001, A^H A of A = M F S):
//
//     out = sum_c conj(S_c) F^H M F S_c x
//
// F is the unitary centred 2-D DFT, S_c the sensitivity of coil c, M real diagonal weights in the packed form of
// fft/packed_kspace.hpp. What is said there holds for each coil image S_c x: masks along one axis leave one pass over
// lines, and centring costs nothing because no k-space enters or leaves. Axes::xy: scratch holds the coil images of one
// image, transformed along x.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "fft/packed_kspace.hpp"

namespace csmri {

template <class T>
struct SenseNormalArgs {
  // Of the coil images: batch counts images times coils, replicas is 1, batch_per_mask is 1 or a multiple of coils.
  KspaceShape shape;
  std::int64_t coils;
  const T* image;                 // (images, ny, nx, 2)
  const T* sens_maps;             // (images, coils, ny, nx, 2), or (coils, ny, nx, 2) for all images
  std::int64_t sens_maps_stride;  // from image to image: 2 coils ny nx, or 0
  const T* weights;
  T* out;  // (images, ny, nx, 2); may not overlap image
};

CSMRI_CPU(sense_normal, SenseNormalArgs)
// As the CUDA functions of data_consistency.hpp.
CSMRI_CUDA(sense_normal, SenseNormalArgs)

}  // namespace csmri

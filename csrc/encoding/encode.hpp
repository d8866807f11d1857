// The encoding operator of parallel MRI, A = M F S, and its adjoint (Pruessmann et al. 2001):
//
//     kspace_c = M F S_c x          image = sum_c conj(S_c) F^H M y_c
//
// F is the unitary centred 2-D DFT, S_c the sensitivity of coil c (or 1), M real diagonal weights (or 1). k-space is
// written and read as users have it, zero frequency in the centre; the shifts are part of the order in which lines are
// stored and of a factor for each line. Where M is 0 the result is 0, whatever was there.
//
// Each is the other's derivative.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"

namespace csmri {

template <class T>
struct EncodeArgs {
  std::int64_t images, coils, ny, nx;
  T* image;                           // (images, ny, nx, 2); encode reads it, encode_adjoint writes it
  const T* sens_maps;                 // (images, coils, ny, nx, 2), (coils, ny, nx, 2) for all images, or null: 1
  std::int64_t sens_maps_stride;      // from image to image: 2 coils ny nx, or 0
  const T* mask;                      // centred (n_masks, ny or 1, nx or 1), or null: 1
  std::int64_t coil_images_per_mask;  // coil image b = image * coils + coil has mask b / coil_images_per_mask
  std::int64_t mask_row_stride, mask_column_stride;  // 0 along axes on which it does not depend
  T* kspace;  // (images, coils, ny, nx, 2); encode writes it, encode_adjoint reads it
};

// On a GPU csmri_ext/ops composes the two of torch.fft.
CSMRI_CPU(encode, EncodeArgs)
CSMRI_CPU(encode_adjoint, EncodeArgs)

}  // namespace csmri

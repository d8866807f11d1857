// What encode and encode_adjoint share: where coil images and sensitivities lie, and weights.
#pragma once
#include <cstdint>

#include "encoding/encode.hpp"
#include "fft/blocks.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class T>
KspaceShape shape_of(const EncodeArgs<T>& a) {
  return {a.images * a.coils, 1, 1, a.ny, a.nx, Axes::xy};
}
template <class T>
const T* maps_of(const EncodeArgs<T>& a, std::int64_t image) {
  return a.sens_maps + image * a.sens_maps_stride;
}
// Of a coil image, at the first row and column.
template <class T>
const T* mask_of(const EncodeArgs<T>& a, std::int64_t coil_image) {
  const std::int64_t size = (a.mask_row_stride ? a.ny : 1) * (a.mask_column_stride ? a.nx : 1);
  return a.mask + coil_image / a.coil_images_per_mask * size;
}
template <class T>
Complex<Vec<T>> weighted(Vec<T> m, Complex<Vec<T>> z) {
  const Vec<T> zero{};
  return {m != zero ? m * z.re : zero, m != zero ? m * z.im : zero};
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

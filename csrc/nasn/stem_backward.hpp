// Backward pass of the stem of a NasN module, out = second * first * image: two 3x3 convolutions with no activation
// between them, and so one of 5x5, K = second first (composite_stem.hpp), in a sixth of the arithmetic:
//
//     C_k = sum over pixels p of G_p image_{p + k}^T,  k one of 25 shifts,
//     d second[tap] = sum over j of C_{tap + j} first[j]^T,   d first[j] = sum over taps of second[tap]^T C_{tap + j},
//     d image_q = residual_q + sum over k of K_k^T G_{q - k}.
//
// Zero padding of the tensor between the convolutions: border pixels p leave out the taps that would see it outside, so
// C is summed for each of the 16 border cases apart, and K is of the case of q - k. G is the gradient of out; tensors
// are (batch, ny, nx, channels), `pixel` elements from one pixel to the next. C is summed over bands of kBandRows rows
// (separable_node.hpp), the bands then in order, in double precision.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"

namespace csmri {

template <class T>
struct StemBackwardArgs {
  const T* image;  // (batch, ny, nx, in_channels)
  std::int64_t in_channels, pixel;
  const T* first;   // (channels, in_channels, 3, 3)
  const T* second;  // (channels, channels, 3, 3)
  const T* grad;    // (batch, ny, nx, channels)
  std::int64_t channels, grad_pixel;
  const T* residual;  // as image
  std::int64_t residual_pixel;
  T* grad_image;  // as image, or null: not wanted
  std::int64_t grad_image_pixel;
  T *grad_first, *grad_second;  // as first and second; null: not wanted
  std::int64_t batch, ny, nx;
};

CSMRI_CPU(stem_backward, StemBackwardArgs)

}  // namespace csmri

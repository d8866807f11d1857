// Where the elements of a stack of complex images lie.
#pragma once
#include <cstdint>

namespace csmri {

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

}  // namespace csmri

// A stack of images, as a field of a struct: Python gives the same class whether it is read or written.
#pragma once
#include "bindings/binding.hpp"
#include "fft/images.hpp"

namespace csmri::bindings {

template <>
struct Conversion<ComplexImages<const void>> {
  using Given = ComplexImages<void>;
  static void write(ComplexImages<const void>& to, const Given& x, const char*) {
    to = {x.re, x.im, x.batch_stride, x.replica_stride, x.row_stride, x.column_stride};
  }
  static Given read(const ComplexImages<const void>& x) {
    return {const_cast<void*>(x.re), const_cast<void*>(x.im), x.batch_stride, x.replica_stride, x.row_stride,
            x.column_stride};
  }
};

}  // namespace csmri::bindings

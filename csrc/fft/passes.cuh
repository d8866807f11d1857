// Passes over the lines of whole stacks of images (lines.cuh), as entry points put them together.
#pragma once
#include "fft/lines.cuh"

namespace csmri {

template <class T>
ComplexImages<const T> read_only(const ComplexImages<T>& stack) {
  return {stack.re, stack.im, stack.batch_stride, stack.replica_stride, stack.row_stride, stack.column_stride};
}

// A pass over all rows (along_x) or columns of the shape's images that does not transform anything yet.
template <class T>
LinePass<T> pass_over(const KspaceShape& shape, const ComplexImages<const T>& in, const ComplexImages<T>& out,
                      bool along_x) {
  LinePass<T> pass{};
  pass.in = in, pass.out = out;
  pass.n = static_cast<int>(along_x ? shape.nx : shape.ny);
  pass.lanes = static_cast<int>(along_x ? shape.ny : shape.nx);
  pass.images = static_cast<int>(shape.batch * shape.replicas);
  pass.replicas = static_cast<int>(shape.replicas);
  pass.batch_per_mask = static_cast<int>(shape.batch_per_mask);
  pass.along_x = along_x;
  pass.weights_2d = shape.axes == Axes::xy;
  pass.scale = T(1);
  pass.in_pairs = is_interleaved(in);
  pass.out_pairs = is_interleaved(out);
  return pass;
}

// For a length of its table the kernel of line_kernel.cuh, else that of any length.
template <class T>
void run(const LinePass<T>& pass, void* stream) {
  const auto on = static_cast<cudaStream_t>(stream);
  if constexpr (std::is_same_v<T, float>) {
    if (line_pass(pass, on)) return;
  }
  any_length_pass(pass, on);
}

}  // namespace csmri

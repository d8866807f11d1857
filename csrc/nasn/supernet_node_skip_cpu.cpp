// CPU backward kernel of a scaled skip, in one pass: a row's part of <grad, x> is a sum of its own, the rows are added
// in order. Bound by memory.
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "core/parallel.hpp"
#include "core/vec.hpp"
#include "nasn/supernet_node.hpp"

namespace csmri {
namespace {

constexpr int kSums = 16;  // of a row, one per channel modulo kSums: no chain of additions

template <class T>
double inner_product_of_row(const ScaledSkipBackwardArgs<T>& a, std::int64_t row) {
  const T* x = a.x + row * a.nx * a.pixel;
  const T* grad = a.grad + row * a.nx * a.grad_pixel;
  double total = 0;
  for (std::int64_t i = 0; i < a.nx; ++i, x += a.pixel, grad += a.grad_pixel) {
    T sums[kSums] = {};
    std::int64_t c = 0;
    for (; c + kSums <= a.channels; c += kSums)
      for (int k = 0; k < kSums; ++k) sums[k] += grad[c + k] * x[c + k];
    for (int k = 0; c + k < a.channels; ++k) sums[k] += grad[c + k] * x[c + k];
    T pixel = 0;
    for (int k = 0; k < kSums; ++k) pixel += sums[k];
    total += static_cast<double>(pixel);
  }
  return total;
}

template <class T>
void grad_x_of_row(const ScaledSkipBackwardArgs<T>& a, std::int64_t row) {
  const T factor = *a.factor;
  const T* grad = a.grad + row * a.nx * a.grad_pixel;
  const T* addend = a.addend ? a.addend + row * a.nx * a.addend_pixel : nullptr;
  T* to = a.grad_x + row * a.nx * a.grad_x_pixel;
  for (std::int64_t i = 0; i < a.nx; ++i, grad += a.grad_pixel, to += a.grad_x_pixel) {
    if (addend)
      for (std::int64_t c = 0; c < a.channels; ++c) to[c] = addend[c] + factor * grad[c];
    else
      for (std::int64_t c = 0; c < a.channels; ++c) to[c] = factor * grad[c];
    if (addend) addend += a.addend_pixel;
  }
}

}  // namespace

template <Simd L, class T>
void scaled_skip_backward_cpu(const ScaledSkipBackwardArgs<T>& a, const Workspace& work) {
  const std::int64_t rows = a.batch * a.ny;
  double* const partials = static_cast<double*>(work.scratch);  // one a row
  parallel_runs(rows, work.threads, [&](std::int64_t, std::int64_t first, std::int64_t last) {
    for (std::int64_t y = first; y < last; ++y) {
      if (a.grad_factor) partials[y] = inner_product_of_row(a, y);
      if (a.grad_x) grad_x_of_row(a, y);
    }
  });
  if (!a.grad_factor) return;
  double total = 0;
  for (std::int64_t y = 0; y < rows; ++y) total += partials[y];
  *a.grad_factor = static_cast<T>(total);
}

template <Simd L, class T>
std::int64_t scaled_skip_backward_scratch_bytes(const ScaledSkipBackwardArgs<T>& a, int) {
  return a.grad_factor ? a.batch * a.ny * std::int64_t{sizeof(double)} : 0;
}

CSMRI_INSTANTIATE_CPU(scaled_skip_backward, ScaledSkipBackwardArgs)

}  // namespace csmri

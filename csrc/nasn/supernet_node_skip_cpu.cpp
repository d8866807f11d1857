// CPU backward kernel of a scaled skip, in one pass: a row's part of <grad, x> is a sum of its own, the rows are added
// in order. Bound by memory.
#include <algorithm>
#include <cstdint>

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
void scaled_skip_backward_cpu(const ScaledSkipBackwardArgs<T>& a) {
  const std::int64_t rows = a.batch * a.ny,
                     runs = std::clamp<std::int64_t>(a.threads, 1, std::max<std::int64_t>(rows, 1));
  parallel_for(runs, a.threads, [&](std::int64_t run) {
    for (std::int64_t y = rows * run / runs; y < rows * (run + 1) / runs; ++y) {
      if (a.grad_factor) a.partials[y] = inner_product_of_row(a, y);
      if (a.grad_x) grad_x_of_row(a, y);
    }
  });
  if (!a.grad_factor) return;
  double total = 0;
  for (std::int64_t y = 0; y < rows; ++y) total += a.partials[y];
  *a.grad_factor = static_cast<T>(total);
}

template void scaled_skip_backward_cpu<kSimd, float>(const ScaledSkipBackwardArgs<float>&);
template void scaled_skip_backward_cpu<kSimd, double>(const ScaledSkipBackwardArgs<double>&);

}  // namespace csmri

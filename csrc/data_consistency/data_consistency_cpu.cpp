// A block of kLanes lines goes from memory into the L1 cache, through FFT, diagonal and inverse FFT, and back: the
// image is read once and written once (three times for Axes::xy). Bound by arithmetic, then by L1 loads and stores.
#include <cstdint>

#include "data_consistency/blocks.hpp"
#include "data_consistency/data_consistency.hpp"

namespace csmri {

namespace {

// w <- (identity - eta m) w + eta samples, element by element; samples may be null.
template <bool kPerLane, class T>
void apply_diagonal(Line<T> w, std::int64_t n, const T* weights, const T* samples, T identity, T eta) {
  for (std::int64_t e = 0; e < n; ++e) {
    const T* m_at = weights + e * (kPerLane ? kTile : 2);
    Vec<T> m;
    if constexpr (kPerLane)
      m = load(m_at);
    else
      m = broadcast(*m_at);
    const Vec<T> a = identity - eta * m;
    w[e].re *= a;
    w[e].im *= a;
    if (samples && (kPerLane || *m_at != 0)) {
      const T* y = samples + e * 2 * kTile;
      w[e].re += eta * load(y);
      w[e].im += eta * load(y + kTile);
    }
  }
}
template <class T>
void apply_diagonal(Line<T> w, std::int64_t n, const BlockWeights<T>& weights, const T* samples, T identity, T eta) {
  weights.per_lane ? apply_diagonal<true>(w, n, weights.p, samples, identity, eta)
                   : apply_diagonal<false>(w, n, weights.p, samples, identity, eta);
}

// Re <g, samples - m x> over the block, where m is not zero; samples may be null.
template <bool kPerLane, class T>
double residual_product(const Complex<Vec<T>>* g, const Complex<Vec<T>>* x, std::int64_t n, const T* weights,
                        const T* samples) {
  Vec<T> re{}, im{};
  for (std::int64_t e = 0; e < n; ++e) {
    const T* m_at = weights + e * (kPerLane ? kTile : 2);
    if (!kPerLane && *m_at == 0) continue;
    Vec<T> m;
    if constexpr (kPerLane)
      m = load(m_at);
    else
      m = broadcast(*m_at);
    const T* y = samples + e * 2 * kTile;
    re += g[e].re * ((samples ? load(y) : Vec<T>{}) - m * x[e].re);
    im += g[e].im * ((samples ? load(y + kTile) : Vec<T>{}) - m * x[e].im);
  }
  double total = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) total += static_cast<double>(re[lane]) + static_cast<double>(im[lane]);
  return total;
}
template <class T>
double residual_product(const Complex<Vec<T>>* g, const Complex<Vec<T>>* x, std::int64_t n,
                        const BlockWeights<T>& weights, const T* samples) {
  return weights.per_lane ? residual_product<true>(g, x, n, weights.p, samples)
                          : residual_product<false>(g, x, n, weights.p, samples);
}

// 1 / n of the transforms that the diagonal lies between
template <class T>
T normalisation(const DataConsistencyShape& s) {
  const double n = s.axes == Axes::x ? s.nx : s.axes == Axes::y ? s.ny : static_cast<double>(s.nx) * s.ny;
  return static_cast<T>(1 / n);
}

}  // namespace

template <Simd L, class T>
void data_consistency_cpu(const DataConsistencyArgs<T>& a, const CpuWork& cpu) {
  const DataConsistencyShape& s = a.shape;
  const Along along = line_axis(s);
  const std::int64_t n = n_elements(s, along);
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n));
  const T scale = normalisation<T>(s), identity = a.add_image ? scale : T(0), eta = scale * *a.eta;
  const bool both = s.axes == Axes::xy;
  if (both) transform_rows(s, a.image, a.out, false, cpu);
  const ComplexImages<const T> from = both ? as_const(a.out) : a.image;
  for_blocks<T>(s, s.batch * s.replicas, ceil_div(n_lines(s, along), kLanes<T>), cpu,
                [&](std::int64_t image, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>, item = image / s.replicas;
                  const Line<T> w = buffers.first;
                  load_lines(lines_of(from, s, image, along), first, w);
                  forward_line(plan, w, buffers.work);
                  apply_diagonal(w, n, BlockWeights<T>(s, a.weights, item, first),
                                 a.samples ? block_samples(s, a.samples, item, first) : nullptr, identity, eta);
                  inverse_line(plan, w, buffers.work);
                  store_lines(lines_of(a.out, s, image, along), first, w);
                });
  if (both) transform_rows(s, as_const(a.out), a.out, true, cpu);
}

template <Simd L, class T>
void data_consistency_backward_cpu(const DataConsistencyBackwardArgs<T>& a, const CpuWork& cpu) {
  const DataConsistencyShape& s = a.shape;
  const Along along = line_axis(s);
  const std::int64_t n = n_elements(s, along), n_blocks = ceil_div(n_lines(s, along), kLanes<T>);
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n));
  const T scale = normalisation<T>(s), identity = a.add_image ? scale : T(0), eta = scale * *a.eta;
  const bool both = s.axes == Axes::xy;
  ComplexImages<const T> grad = a.grad, image_of = a.image;
  if (both) {
    const ComplexImages<T> workspace = workspace_images(s, a.workspace);
    transform_rows(s, a.grad, a.grad_image, false, cpu);
    transform_rows(s, a.image, workspace, false, cpu);
    grad = as_const(a.grad_image);
    image_of = as_const(workspace);
  }
  for_blocks<T>(s, s.batch * s.replicas, n_blocks, cpu,
                [&](std::int64_t image, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>, item = image / s.replicas;
                  const Line<T> g = buffers.first, x = buffers.second;
                  const BlockWeights<T> weights(s, a.weights, item, first);
                  load_lines(lines_of(image_of, s, image, along), first, x);
                  forward_line(plan, x, buffers.work);
                  load_lines(lines_of(grad, s, image, along), first, g);
                  forward_line(plan, g, buffers.work);
                  const T* samples = a.samples ? block_samples(s, a.samples, item, first) : nullptr;
                  a.partials[image * n_blocks + block] = residual_product(g, x, n, weights, samples);
                  apply_diagonal<T>(g, n, weights, nullptr, identity, eta);
                  inverse_line(plan, g, buffers.work);
                  store_lines(lines_of(a.grad_image, s, image, along), first, g);
                });
  if (both) transform_rows(s, as_const(a.grad_image), a.grad_image, true, cpu);
  double total = 0;
  for (std::int64_t i = 0; i < s.batch * s.replicas * n_blocks; ++i) total += a.partials[i];
  *a.grad_eta = static_cast<T>(total * static_cast<double>(scale));
}

template <Simd L, class T>
void data_consistency_measure_cpu(const MeasureArgs<T>& a, const CpuWork& cpu) {
  const DataConsistencyShape& s = a.shape;
  const Along along = line_axis(s);
  const std::int64_t n = n_elements(s, along);
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n));
  const T scale = normalisation<T>(s);
  ComplexImages<const T> from = a.image;
  if (s.axes == Axes::xy) {
    const ComplexImages<T> workspace = workspace_images(s, a.workspace);
    transform_rows(s, a.image, workspace, false, cpu);
    from = as_const(workspace);
  }
  for_blocks<T>(s, s.batch, n_tiles(s) * kTile / kLanes<T>, cpu,  // padding included
                [&](std::int64_t item, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>;
                  const Line<T> w = buffers.first;
                  const BlockWeights<T> weights(s, a.weights, item, first);
                  T* samples = block_samples(s, a.samples, item, first);
                  for (std::int64_t r = 0; r < s.replicas; ++r) {
                    load_lines(lines_of(from, s, item * s.replicas + r, along), first, w);
                    forward_line(plan, w, buffers.work);
                    for (std::int64_t e = 0; e < n; ++e) {
                      T* y = samples + e * 2 * kTile;
                      const bool wanted = weights.per_lane || weights.p[2 * e] != 0;
                      const Vec<T> zero{};
                      store(y, (wanted ? scale * w[e].re : zero) + (r ? load(y) : zero));
                      store(y + kTile, (wanted ? scale * w[e].im : zero) + (r ? load(y + kTile) : zero));
                    }
                  }
                });
}

template void data_consistency_cpu<kSimd, float>(const DataConsistencyArgs<float>&, const CpuWork&);
template void data_consistency_cpu<kSimd, double>(const DataConsistencyArgs<double>&, const CpuWork&);
template void data_consistency_backward_cpu<kSimd, float>(const DataConsistencyBackwardArgs<float>&, const CpuWork&);
template void data_consistency_backward_cpu<kSimd, double>(const DataConsistencyBackwardArgs<double>&, const CpuWork&);
template void data_consistency_measure_cpu<kSimd, float>(const MeasureArgs<float>&, const CpuWork&);
template void data_consistency_measure_cpu<kSimd, double>(const MeasureArgs<double>&, const CpuWork&);

}  // namespace csmri

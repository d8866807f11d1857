// A block of kLanes lines goes from memory into the L1 cache, through FFT, diagonal and inverse FFT, and back: the
// image is read once and written once (three times for Axes::xy). Bound by arithmetic, then by L1 loads and stores.
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "data_consistency/data_consistency.hpp"
#include "fft/blocks.hpp"

namespace csmri {

namespace {

// Re <g, samples - m x> over a block; the lanes of x and g beyond the last line are zero.
template <bool kPerLane, class T>
double residual_product(const LineDiagonal<T>& d, int n, const Complex<Vec<T>>* g, const Complex<Vec<T>>* x) {
  Vec<T> re{}, im{};
  for (int e = 0; e < n; ++e) {
    if (!kPerLane && d.weights[2 * e] == 0) continue;
    const Vec<T> m = d.template weight<kPerLane>(e);
    Complex<Vec<T>> residual = {-m * x[e].re, -m * x[e].im};
    if (d.samples) residual = residual + d.template sample<kPerLane>(e);
    re += g[e].re * residual.re;
    im += g[e].im * residual.im;
  }
  double total = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) total += static_cast<double>(re[lane]) + static_cast<double>(im[lane]);
  return total;
}

// 1 / n of the transforms that the diagonal lies between
template <class T>
T normalisation(const KspaceShape& s) {
  const double n = s.axes == Axes::x ? s.nx : s.axes == Axes::y ? s.ny : static_cast<double>(s.nx) * s.ny;
  return static_cast<T>(1 / n);
}

// How many samples of a line the first mask acquires: about as many as each, and only what is fetched early depends on
// it.
template <class T>
std::int64_t n_acquired(int n, const T* weights) {
  T last = -1;
  for (int e = 0; e < n; ++e) last = std::max(last, weights[2 * e + 1]);
  return static_cast<std::int64_t>(last) + 1;
}

// Scratch of a call: lines of the threads, row transforms of the images for Axes::xy, one partial for each block of
// lines.
template <class T>
struct CallScratch {
  T* spectra;
  double* partials;
  std::int64_t bytes;

  CallScratch(const KspaceShape& s, const Workspace& work, bool sums) {
    ScratchCursor cursor(work.scratch);
    cursor.take<char>(work.threads * line_scratch_bytes(s.ny, s.nx));  // LineBuffers
    spectra = cursor.take<T>(s.axes == Axes::xy ? s.n_values() : 0);
    partials = cursor.take<double>(sums ? s.n_lines() : 0);  // a block has at least one line
    bytes = cursor.bytes();
  }
};

}  // namespace

template <Simd L, class T>
void data_consistency_cpu(const DataConsistencyArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const Along along = line_axis(s);
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n_elements(s, along)));
  const T scale = normalisation<T>(s), identity = a.add_image ? scale : T(0), eta = scale * *a.eta;
  const bool both = s.axes == Axes::xy;
  if (both) transform_rows(s, a.image, a.out, false, work);
  const ComplexImages<const T> from = both ? as_const(a.out) : a.image;
  const bool streamed = !both && (a.streamed || streams(a.out, s, along));
  const std::int64_t n_samples = both || !a.samples ? 0 : n_acquired(plan.n, a.weights);
  for_blocks<T>(s, s.batch * s.replicas, ceil_div(n_lines(s, along), kLanes<T>), work,
                [&](std::int64_t image, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>, item = image / s.replicas;
                  const Line<T> w = buffers.first;
                  load_lines(lines_of(from, s, image, along), first, w);
                  const bool fetched = n_samples == 0 || image % s.replicas > 0;  // by the first replica
                  const ReadAhead<T> ahead(
                      next_block(from, s, image, first, along),
                      fetched ? ReadNext<T>{nullptr, nullptr} : next_samples(s, a.samples, n_samples, item, first));
                  filter_line(plan, block_diagonal(s, identity, eta, a.weights, a.samples, item, first), w,
                              buffers.work, ahead);
                  store_lines(lines_of(a.out, s, image, along), first, w, streamed);
                });
  if (both) transform_rows(s, as_const(a.out), a.out, true, work);
}

template <Simd L, class T>
void data_consistency_backward_cpu(const DataConsistencyBackwardArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const Along along = line_axis(s);
  const std::int64_t n_blocks = ceil_div(n_lines(s, along), kLanes<T>);
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n_elements(s, along)));
  const T scale = normalisation<T>(s), identity = a.add_image ? scale : T(0), eta = scale * *a.eta;
  const bool both = s.axes == Axes::xy;
  const bool streamed = !both && streams(a.grad_image, s, along);
  ComplexImages<const T> grad = a.grad, image_of = a.image;
  const CallScratch<T> call(s, work, true);
  if (both) {
    const ComplexImages<T> spectra = images_at(s, call.spectra);
    transform_rows(s, a.grad, a.grad_image, false, work);
    transform_rows(s, a.image, spectra, false, work);
    grad = as_const(a.grad_image);
    image_of = as_const(spectra);
  }
  for_blocks<T>(s, s.batch * s.replicas, n_blocks, work,
                [&](std::int64_t image, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>, item = image / s.replicas;
                  const Line<T> g = buffers.first, x = buffers.second;
                  LineDiagonal<T> diagonal = block_diagonal(s, identity, eta, a.weights, a.samples, item, first);
                  load_lines(lines_of(image_of, s, image, along), first, x);
                  forward_line(plan, x, buffers.work);
                  load_lines(lines_of(grad, s, image, along), first, g);
                  forward_line(plan, g, buffers.work);
                  call.partials[image * n_blocks + block] = both ? residual_product<true>(diagonal, plan.n, g, x)
                                                                 : residual_product<false>(diagonal, plan.n, g, x);
                  diagonal.samples = nullptr;
                  apply_diagonal(diagonal, plan.n, g);
                  inverse_line(plan, g, buffers.work);
                  store_lines(lines_of(a.grad_image, s, image, along), first, g, streamed);
                });
  if (both) transform_rows(s, as_const(a.grad_image), a.grad_image, true, work);
  double total = 0;
  for (std::int64_t i = 0; i < s.batch * s.replicas * n_blocks; ++i) total += call.partials[i];
  *a.grad_eta = static_cast<T>(total * static_cast<double>(scale));
}

template <Simd L, class T>
void data_consistency_measure_cpu(const MeasureArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const Along along = line_axis(s);
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n_elements(s, along)));
  const T scale = normalisation<T>(s);
  ComplexImages<const T> from = a.image;
  const bool both = s.axes == Axes::xy;
  if (both) {
    const ComplexImages<T> spectra = images_at(s, CallScratch<T>(s, work, false).spectra);
    transform_rows(s, a.image, spectra, false, work);
    from = as_const(spectra);
  }
  for_blocks<T>(s, s.batch, ceil_div(n_lines(s, along), kLanes<T>), work,
                [&](std::int64_t item, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>;
                  const Line<T> w = buffers.first;
                  const LineDiagonal<T> diagonal = block_diagonal<T>(s, 0, 0, a.weights, nullptr, item, first);
                  T* samples = block_samples(s, a.samples, item, first);
                  for (std::int64_t r = 0; r < s.replicas; ++r) {
                    load_lines(lines_of(from, s, item * s.replicas + r, along), first, w);
                    forward_line(plan, w, buffers.work);
                    for (int e = 0; e < plan.n; ++e) {
                      const int position = both ? e : diagonal.template position<false>(e);
                      if (position < 0) continue;
                      T* y = samples + position * diagonal.sample_step;
                      store(y, load(y) + scale * w[e].re);
                      store(y + kTile, load(y + kTile) + scale * w[e].im);
                    }
                  }
                });
}

template <Simd L, class T>
std::int64_t data_consistency_scratch_bytes(const DataConsistencyArgs<T>& a, int threads) {
  return threads * line_scratch_bytes(a.shape.ny, a.shape.nx);
}
template <Simd L, class T>
std::int64_t data_consistency_backward_scratch_bytes(const DataConsistencyBackwardArgs<T>& a, int threads) {
  return CallScratch<T>(a.shape, {nullptr, threads, 0, nullptr}, true).bytes;
}
template <Simd L, class T>
std::int64_t data_consistency_measure_scratch_bytes(const MeasureArgs<T>& a, int threads) {
  return CallScratch<T>(a.shape, {nullptr, threads, 0, nullptr}, false).bytes;
}

CSMRI_INSTANTIATE_CPU(data_consistency, DataConsistencyArgs)
CSMRI_INSTANTIATE_CPU(data_consistency_backward, DataConsistencyBackwardArgs)
CSMRI_INSTANTIATE_CPU(data_consistency_measure, MeasureArgs)

}  // namespace csmri

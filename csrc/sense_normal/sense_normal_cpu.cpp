// As data_consistency_cpu.cpp, for a sum over coils. Axes::x, y: image and sum stay in the cache while the lines of one
// coil after the other go through multiply, FFT, weights, inverse FFT, multiply; sensitivities are read once. Axes::xy:
// three passes over the coil images of one image, which is all that has to fit the last-level cache.
#include <cstdint>

#include "core/instantiate.hpp"
#include "fft/blocks.hpp"
#include "sense_normal/sense_normal.hpp"

namespace csmri {

namespace {

// Interleaved complex images side by side, as lines along an axis.
template <class T>
Lines<T> lines_at(T* images, const KspaceShape& s, std::int64_t image, Along along) {
  return lines_of(ComplexImages<T>{images, images + 1, 2 * s.ny * s.nx, 0, 2 * s.nx, 2}, s, image, along);
}

// w <- maps x
template <class T>
void expand(Line<T> w, const Complex<Vec<T>>* maps, const Complex<Vec<T>>* x, int n) {
  for (int e = 0; e < n; ++e) {
    const Complex<Vec<T>> a = maps[e], b = x[e];
    w[e] = {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
  }
}
// sum <- sum + conj(maps) w
template <class T>
void combine(Line<T> sum, const Complex<Vec<T>>* maps, const Complex<Vec<T>>* w, int n) {
  for (int e = 0; e < n; ++e) {
    const Complex<Vec<T>> a = maps[e], b = w[e];
    sum[e].re += a.re * b.re + a.im * b.im;
    sum[e].im += a.re * b.im - a.im * b.re;
  }
}

// M / n, which lies between unnormalised transforms; coil_image selects the mask.
template <class T>
LineDiagonal<T> weighting(const SenseNormalArgs<T>& a, std::int64_t coil_image, std::int64_t first) {
  const KspaceShape& s = a.shape;
  const double n = s.axes == Axes::xy ? static_cast<double>(s.ny) * s.nx : n_elements(s, line_axis(s));
  return block_diagonal<T>(s, 0, static_cast<T>(-1 / n), a.weights, nullptr, coil_image, first);
}

template <class T>
void normal_along_lines(const SenseNormalArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const Along along = line_axis(s);
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n_elements(s, along)));
  for_blocks<T>(s, s.batch / a.coils, ceil_div(n_lines(s, along), kLanes<T>), work,
                [&](std::int64_t image, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>;
                  const Line<T> x = buffers.first, sum = buffers.second, maps = buffers.third, w = buffers.fourth;
                  load_lines(lines_at(a.image, s, image, along), first, x);
                  for (int e = 0; e < plan.n; ++e) sum[e] = Complex<Vec<T>>{};
                  for (std::int64_t coil = 0; coil < a.coils; ++coil) {
                    load_lines(lines_at(a.sens_maps + image * a.sens_maps_stride, s, coil, along), first, maps);
                    expand<T>(w, maps, x, plan.n);
                    filter_line(plan, weighting(a, image * a.coils + coil, first), w, buffers.work);
                    combine<T>(sum, maps, w, plan.n);
                  }
                  store_lines(lines_at(a.out, s, image, along), first, sum);
                });
}

// Scratch of a call: lines of the threads; for Axes::xy the coil images of one image, transformed along x.
template <class T>
struct CallScratch {
  T* coil_images;
  std::int64_t bytes;

  CallScratch(const SenseNormalArgs<T>& a, void* scratch, int threads) {
    const KspaceShape& s = a.shape;
    ScratchCursor cursor(scratch);
    cursor.take<char>(threads * line_scratch_bytes(s.ny, s.nx));  // LineBuffers
    coil_images = cursor.take<T>(s.axes == Axes::xy ? 2 * a.coils * s.ny * s.nx : 0);
    bytes = cursor.bytes();
  }
};

template <class T>
void normal_of_image(const SenseNormalArgs<T>& a, std::int64_t image, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const LinePlan<T>&rows = line_plan<T>(static_cast<int>(s.nx)), &columns = line_plan<T>(static_cast<int>(s.ny));
  const std::int64_t row_blocks = ceil_div(s.ny, kLanes<T>);
  const T* sens_maps = a.sens_maps + image * a.sens_maps_stride;
  T* const coil_images = CallScratch<T>(a, work.scratch, work.threads).coil_images;
  for_blocks<T>(s, a.coils, row_blocks, work,
                [&](std::int64_t coil, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>;
                  load_lines(lines_at(a.image, s, image, Along::x), first, buffers.first);
                  load_lines(lines_at(sens_maps, s, coil, Along::x), first, buffers.third);
                  expand<T>(buffers.fourth, buffers.third, buffers.first, rows.n);
                  forward_line(rows, buffers.fourth, buffers.work);
                  store_lines(lines_at(coil_images, s, coil, Along::x), first, buffers.fourth);
                });
  for_blocks<T>(s, a.coils, ceil_div(s.nx, kLanes<T>), work,
                [&](std::int64_t coil, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>;
                  const Lines<T> lines = lines_at(coil_images, s, coil, Along::y);
                  load_lines(as_const(lines), first, buffers.first);
                  filter_line(columns, weighting(a, image * a.coils + coil, first), buffers.first, buffers.work);
                  store_lines(lines, first, buffers.first);
                });
  for_blocks<T>(s, 1, row_blocks, work, [&](std::int64_t, std::int64_t block, const LineBuffers<T>& buffers) {
    const std::int64_t first = block * kLanes<T>;
    for (int e = 0; e < rows.n; ++e) buffers.second[e] = Complex<Vec<T>>{};
    for (std::int64_t coil = 0; coil < a.coils; ++coil) {
      load_lines(as_const(lines_at(coil_images, s, coil, Along::x)), first, buffers.fourth);
      inverse_line(rows, buffers.fourth, buffers.work);
      load_lines(lines_at(sens_maps, s, coil, Along::x), first, buffers.third);
      combine<T>(buffers.second, buffers.third, buffers.fourth, rows.n);
    }
    store_lines(lines_at(a.out, s, image, Along::x), first, buffers.second);
  });
}

}  // namespace

template <Simd L, class T>
void sense_normal_cpu(const SenseNormalArgs<T>& a, const Workspace& work) {
  if (a.shape.axes != Axes::xy) return normal_along_lines(a, work);
  for (std::int64_t image = 0; image < a.shape.batch / a.coils; ++image) normal_of_image(a, image, work);
}

template <Simd L, class T>
std::int64_t sense_normal_scratch_bytes(const SenseNormalArgs<T>& a, int threads) {
  return CallScratch<T>(a, nullptr, threads).bytes;
}

CSMRI_INSTANTIATE_CPU(sense_normal, SenseNormalArgs)

}  // namespace csmri

// How the CPU kernels cut images into blocks of kLanes lines, one block per task.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/parallel.hpp"
#include "core/workspace.hpp"
#include "fft/images.hpp"
#include "fft/lines.hpp"
#include "fft/packed_kspace.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

enum class Along { x, y };

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

inline Along line_axis(const KspaceShape& s) { return s.axes == Axes::x ? Along::x : Along::y; }
inline std::int64_t n_elements(const KspaceShape& s, Along along) { return along == Along::x ? s.nx : s.ny; }
inline std::int64_t n_lines(const KspaceShape& s, Along along) { return along == Along::x ? s.ny : s.nx; }
inline std::int64_t n_tiles(const KspaceShape& s) { return ceil_div(n_lines(s, line_axis(s)), kTile); }

template <class T>
ComplexImages<const T> as_const(const ComplexImages<T>& x) {
  return {x.re, x.im, x.batch_stride, x.replica_stride, x.row_stride, x.column_stride};
}
template <class T>
Lines<const T> as_const(const Lines<T>& x) {
  return {x.re, x.im, x.n, x.count, x.element_stride, x.line_stride, x.interleaved};
}
// batch * replicas * ny * nx complex numbers side by side.
template <class T>
ComplexImages<T> images_at(const KspaceShape& s, T* p) {
  return {p, p + 1, 2 * s.replicas * s.ny * s.nx, 2 * s.ny * s.nx, 2 * s.nx, 2};
}

// Image b * replicas + r as lines along an axis.
template <class T>
Lines<T> lines_of(const ComplexImages<T>& x, const KspaceShape& s, std::int64_t image, Along along) {
  const std::int64_t offset = image / s.replicas * x.batch_stride + image % s.replicas * x.replica_stride;
  const bool interleaved = x.column_stride == 2;
  if (along == Along::x) return {x.re + offset, x.im + offset, s.nx, s.ny, x.column_stride, x.row_stride, interleaved};
  return {x.re + offset, x.im + offset, s.ny, s.nx, x.row_stride, x.column_stride, interleaved};
}

// Whether a pass that writes `to` once, and reads it nowhere, goes past the caches: from this size on, fetching each
// line before it is overwritten costs more than the next reader gains.
constexpr std::int64_t kStreamBytes = std::int64_t{4} << 20;

template <class T>
bool streams(const ComplexImages<T>& to, const KspaceShape& s, Along along) {
  const bool separate = (to.batch_stride | to.replica_stride) % kLanes<T> == 0;
  return s.batch * s.replicas * s.ny * s.nx * 2 * std::int64_t{sizeof(T)} >= kStreamBytes && separate &&
         may_stream(lines_of(to, s, 0, along));
}

// The block after the one whose lines begin at `first`, if its lines lie side by side in memory, else nothing.
template <class T>
ReadNext<T> next_block(const Lines<const T>& x, std::int64_t first) {
  const std::int64_t begin = std::min(first + kLanes<T>, x.count), end = std::min(begin + kLanes<T>, x.count);
  const bool dense = x.interleaved && x.contiguous() && x.line_stride == 2 * x.n;
  return {x.re + begin * x.line_stride, x.re + (dense ? end : begin) * x.line_stride};
}

// The block after block `first` of an image; after the last one, the first block of the image that follows.
template <class T>
ReadNext<T> next_block(const ComplexImages<const T>& x, const KspaceShape& s, std::int64_t image, std::int64_t first,
                       Along along) {
  if (first + kLanes<T> < n_lines(s, along)) return next_block(lines_of(x, s, image, along), first);
  if (image + 1 == s.batch * s.replicas) return {nullptr, nullptr};
  return next_block(lines_of(x, s, image + 1, along), -kLanes<T>);
}

// What one thread works in: four line buffers, and what a transform needs beside its line.
template <class T>
struct LineBuffers {
  Line<T> first, second, third, fourth, work;

  LineBuffers(const KspaceShape& s, const Workspace& workspace, int thread) {
    char* p = static_cast<char*>(workspace.scratch) + thread * line_scratch_bytes(s.ny, s.nx);
    const std::int64_t line = (s.nx > s.ny ? s.nx : s.ny) * std::int64_t{sizeof(Complex<Vec<T>>)};
    first = reinterpret_cast<Line<T>>(p);
    second = reinterpret_cast<Line<T>>(p + line);
    third = reinterpret_cast<Line<T>>(p + 2 * line);
    fourth = reinterpret_cast<Line<T>>(p + 3 * line);
    work = reinterpret_cast<Line<T>>(p + 4 * line);
  }
};

// f(group, block, buffers) for every block of lines of each of n_groups images.
template <class T, class F>
void for_blocks(const KspaceShape& s, std::int64_t n_groups, std::int64_t n_blocks, const Workspace& work, const F& f) {
  parallel_tasks(n_groups * n_blocks, work.threads, [&](std::int64_t task, int thread) {
    f(task / n_blocks, task % n_blocks, LineBuffers<T>(s, work, thread));
  });
}

// The samples of lines first, first + 1, ... of a batch item.
template <class T>
T* block_samples(const KspaceShape& s, T* samples, std::int64_t batch_item, std::int64_t first) {
  const std::int64_t n = n_elements(s, line_axis(s));
  return samples + (batch_item * n_tiles(s) + first / kTile) * n * 2 * kTile + first % kTile;
}

// The samples that `block_diagonal` of the block after block `first` reads: the first n_samples of its tile.
template <class T>
ReadNext<T> next_samples(const KspaceShape& s, const T* samples, std::int64_t n_samples, std::int64_t batch_item,
                         std::int64_t first) {
  const std::int64_t next = first + kLanes<T>, end = n_lines(s, line_axis(s));
  if (next >= end && batch_item + 1 == s.batch) return {nullptr, nullptr};
  const T* begin =
      next < end ? block_samples(s, samples, batch_item, next) : block_samples(s, samples, batch_item + 1, 0);
  return {begin, begin + n_samples * 2 * kTile};
}

template <class T>
alignas(64) static const T kZeros[2 * kTile] = {};

// (identity - eta M) w + eta samples for these lines; samples may be null.
template <class T>
LineDiagonal<T> block_diagonal(const KspaceShape& s, T identity, T eta, const T* weights, const T* samples,
                               std::int64_t batch_item, std::int64_t first) {
  const std::int64_t mask = batch_item / s.batch_per_mask, n = n_elements(s, line_axis(s));
  const bool per_lane = s.axes == Axes::xy;
  const std::int64_t offset = per_lane ? (mask * n_tiles(s) + first / kTile) * n * kTile + first % kTile : mask * n * 2;
  return {identity,         eta,
          weights + offset, samples ? block_samples(s, samples, batch_item, first) : nullptr,
          kZeros<T>,        per_lane ? kTile : 2,
          2 * kTile,        kTile,
          per_lane};
}

// Images -> images, every row transformed; in place if both are the same.
template <class T>
void transform_rows(const KspaceShape& s, const ComplexImages<const T>& from, const ComplexImages<T>& to, bool inverse,
                    const Workspace& work) {
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(s.nx));
  for_blocks<T>(s, s.batch * s.replicas, ceil_div(s.ny, kLanes<T>), work,
                [&](std::int64_t image, std::int64_t block, const LineBuffers<T>& buffers) {
                  const std::int64_t first = block * kLanes<T>;
                  load_lines(lines_of(from, s, image, Along::x), first, buffers.first);
                  inverse ? inverse_line(plan, buffers.first, buffers.work)
                          : forward_line(plan, buffers.first, buffers.work);
                  store_lines(lines_of(to, s, image, Along::x), first, buffers.first);
                });
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

// Scratch of CPU kernels whose threads each take a run of neighbouring tasks.
//
// A layout L(args, scratch) lays out what a run needs: L::bytes each, zero up to L::zero_from. With scratch null it
// only counts.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/parallel.hpp"
#include "core/simd.hpp"
#include "core/workspace.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

// f(layout, first, last) for each run of [0, n); scratch holds a layout for each thread.
template <class L, class Args, class F>
inline void parallel_layouts(const Args& args, void* scratch, std::int64_t n, int threads, const F& f) {
  const std::int64_t bytes = L(args, nullptr).bytes;
  parallel_runs(n, threads, [&](std::int64_t run, std::int64_t first, std::int64_t last) {
    char* const own = static_cast<char*>(scratch) + run * bytes;
    const L layout(args, own);
    std::fill_n(own, layout.zero_from, char(0));
    f(layout, first, last);
  });
}

// The rows of all images (args.batch, args.ny) in runs: pack(layout) once a run, then rows(layout, image, y0, y1) for
// what of the run lies in each image.
template <class L, class Args, class Rows, class Pack>
inline void parallel_rows(const Args& args, const Workspace& work, const Rows& rows, const Pack& pack) {
  if (args.batch * args.ny == 0 || args.nx == 0) return;
  const auto run = [&](const L& layout, std::int64_t first, std::int64_t last) {
    pack(layout);
    for_images(first, last, args.ny,
               [&](std::int64_t image, std::int64_t y0, std::int64_t y1) { rows(layout, image, y0, y1); });
  };
  parallel_layouts<L>(args, work.scratch, args.batch * args.ny, work.threads, run);
}

// Scratch of a call that sums over its tasks: a layout for each thread, then partials.
template <class L, class T>
class LayoutsAndPartials {
 public:
  template <class Args>
  LayoutsAndPartials(const Args& args, std::int64_t n_partials, void* scratch, int threads) : n_partials_(n_partials) {
    ScratchCursor cursor(scratch);
    layouts_ = cursor.take<char>(threads * L(args, nullptr).bytes);
    partials_ = cursor.take<T>(n_partials);
    bytes_ = cursor.bytes();
  }
  T* partials() const { return partials_; }
  std::int64_t bytes() const { return bytes_; }

  // Clears the partials, then f(layout, first, last) for each run of [0, n).
  template <class Args, class F>
  void run(const Args& args, std::int64_t n, int threads, const F& f) const {
    std::fill_n(partials_, n_partials_, T(0));
    if (n > 0 && args.nx > 0) parallel_layouts<L>(args, layouts_, n, threads, f);
  }

 private:
  char* layouts_;
  T* partials_;
  std::int64_t n_partials_, bytes_;
};

}  // namespace CSMRI_LEVEL
}  // namespace csmri

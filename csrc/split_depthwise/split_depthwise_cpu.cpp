// CPU kernels of the split depth-wise chain, depth first: every convolution keeps only the last rows of its input and
// runs one row behind the convolution that feeds it, so that all intermediate rows stay in the L1 cache. Forward moves
// 8 bytes per element of x (read x, write out), backward 16 (read grad_out, x, out; write grad_x): both are bound by
// memory bandwidth.
#include <algorithm>

#include "core/instantiate.hpp"
#include "core/parallel.hpp"
#include "split_depthwise/rows.hpp"
#include "split_depthwise/split_depthwise.hpp"

namespace csmri {
namespace {

// Outputs beyond this size leave the last-level cache before anyone reads them: write them past the cache.
constexpr std::int64_t kStreamBytes = std::int64_t{16} << 20;

template <class Args, class T>
bool may_stream(const Args& a, const T* out) {
  const std::int64_t bytes = a.batch * a.splits * a.channels * a.ny * a.nx * std::int64_t{sizeof(T)};
  return bytes >= kStreamBytes && a.nx % kLanes<T> == 0 && reinterpret_cast<std::uintptr_t>(out) % kVecBytes == 0;
}

template <Store kStore, class T>
void copy_row(const T* from, std::int64_t nx, T* to) {
  for_vectors<T>(nx, [&](std::int64_t x, int n) { store_up_to<kStore>(to + x, load_up_to(from + x, n), n); });
}

// Planes that a pass keeps in rings: what each convolution reads; backward G and U of each.
template <class T>
std::int64_t n_planes(const SplitDepthwiseArgs<T>& a) {
  return a.splits - 1;
}
template <class T>
std::int64_t n_planes(const SplitDepthwiseBackwardArgs<T>& a) {
  return 2 * (a.splits - 1);
}

// Tasks (image, channel of a group), each run of them with its own rings.
template <class T, class Args, class Task>
void for_channels(const Args& a, const Workspace& work, const Task& task) {
  parallel_runs(a.batch * a.channels, work.threads, [&](std::int64_t run, std::int64_t first, std::int64_t last) {
    char* const scratch = static_cast<char*>(work.scratch) + run * RowRings<T>::bytes(n_planes(a), a.nx);
    const RowRings<T> rings(reinterpret_cast<T*>(scratch), n_planes(a), a.ny, a.nx);
    for (std::int64_t i = first; i < last; ++i) task(rings, i / a.channels, i % a.channels);
    stream_fence();
  });
}

template <Store kStore, class T>
void forward_channel(const SplitDepthwiseArgs<T>& a, const RowRings<T>& rings, std::int64_t image, std::int64_t j) {
  const std::int64_t plane = a.ny * a.nx;
  const auto offset = [&](std::int64_t split) { return ((image * a.splits + split) * a.channels + j) * plane; };
  const std::int64_t convs = a.splits - 1;  // convolution k reads ring k and writes group k + 1
  for (std::int64_t step = 0; step < a.ny + convs; ++step) {
    if (step < a.ny) {
      copy_row<kStore>(a.x + offset(0) + step * a.nx, a.nx, a.out + offset(0) + step * a.nx);
      if (convs > 0) {
        T* first = rings.slot(0, step);
        copy_row<Store::cached>(a.x + offset(1) + step * a.nx, a.nx, first);
        rings.finish_row(first);
      }
    }
    for (std::int64_t k = 0; k < convs; ++k) {
      const std::int64_t r = step - 1 - k;
      if (r < 0 || r >= a.ny) continue;
      T* out = a.out + offset(k + 1) + r * a.nx;
      const T* w = a.weight + (k * a.channels + j) * 9;
      const T *above = rings.row(k, r - 1), *here = rings.row(k, r), *below = rings.row(k, r + 1);
      if (k + 1 == convs) {
        convolve_row<T>(above, here, below, w, a.nx,
                        [&](std::int64_t x, int n, Vec<T> b) { store_up_to<kStore>(out + x, b, n); });
      } else {
        const T* s = a.x + offset(k + 2) + r * a.nx;
        T* next = rings.slot(k + 1, r);
        convolve_row<T>(above, here, below, w, a.nx, [&](std::int64_t x, int n, Vec<T> b) {
          store_up_to<kStore>(out + x, b, n);
          store(next + x, b + load_up_to(s + x, n));
        });
        rings.finish_row(next);
      }
    }
  }
}

// Convolution k (from the last to the first) keeps two rings: 2k holds G, 2k + 1 holds U, both of group k + 1.
template <Store kStore, class T>
void backward_channel(const SplitDepthwiseBackwardArgs<T>& a, const RowRings<T>& rings, std::int64_t image,
                      std::int64_t j) {
  const std::int64_t plane = a.ny * a.nx, convs = a.splits - 1;
  const auto offset = [&](std::int64_t split) { return ((image * a.splits + split) * a.channels + j) * plane; };
  // U_{k+1} of one row: S + B of the group before, where there is a convolution before.
  const auto fill_input = [&](std::int64_t k, std::int64_t r) {
    const T *s = a.x + offset(k + 1) + r * a.nx, *b = a.out + offset(k) + r * a.nx;
    T* u = rings.slot(2 * k + 1, r);
    for_vectors<T>(a.nx, [&](std::int64_t x, int n) {
      store(u + x, k == 0 ? load_up_to(s + x, n) : load_up_to(s + x, n) + load_up_to(b + x, n));
    });
    rings.finish_row(u);
  };
  Vec<T> acc[9 * (kMaxSplits - 1)] = {};
  double total[9 * (kMaxSplits - 1)] = {};
  const auto flush = [&] {
    for (std::int64_t i = 0; i < 9 * convs; ++i) total[i] += sum<T>(acc[i]), acc[i] = Vec<T>{};
  };
  for (std::int64_t step = 0; step < a.ny + convs; ++step) {
    if (step < a.ny) {
      copy_row<kStore>(a.grad_out + offset(0) + step * a.nx, a.nx, a.grad_x + offset(0) + step * a.nx);
      if (convs > 0) {
        T* g = rings.slot(2 * (convs - 1), step);
        copy_row<Store::cached>(a.grad_out + offset(convs) + step * a.nx, a.nx, g);
        rings.finish_row(g);
        fill_input(convs - 1, step);
      }
    }
    for (std::int64_t lag = 1; lag <= convs; ++lag) {
      const std::int64_t k = convs - lag, r = step - lag;
      if (r < 0 || r >= a.ny) continue;
      T flipped[9];
      for (int tap = 0; tap < 9; ++tap) flipped[tap] = a.weight[(k * a.channels + j) * 9 + 8 - tap];
      const T *above = rings.row(2 * k, r - 1), *here = rings.row(2 * k, r), *below = rings.row(2 * k, r + 1);
      T* grad_x = a.grad_x + offset(k + 1) + r * a.nx;
      const auto keep = [&](std::int64_t x, int n, Vec<T> v) { store_up_to<kStore>(grad_x + x, v, n); };
      if (k == 0) {
        convolve_row<T>(above, here, below, flipped, a.nx, keep);
      } else {
        const T* grad_out = a.grad_out + offset(k) + r * a.nx;
        T* next = rings.slot(2 * (k - 1), r);
        convolve_row<T>(above, here, below, flipped, a.nx, [&](std::int64_t x, int n, Vec<T> v) {
          keep(x, n, v);
          store(next + x, v + load_up_to(grad_out + x, n));
        });
        rings.finish_row(next);
        fill_input(k - 1, r);
      }
      correlate_row<T>(rings.row(2 * k + 1, r - 1), rings.row(2 * k + 1, r), rings.row(2 * k + 1, r + 1), here, a.nx,
                       acc + 9 * k);
    }
    if (step % 16 == 15) flush();  // short float32 sums, long float64 sums
  }
  flush();
  for (std::int64_t k = 0; k < convs; ++k)
    for (int tap = 0; tap < 9; ++tap)
      a.grad_weight[((image * convs + k) * a.channels + j) * 9 + tap] = static_cast<T>(total[9 * k + tap]);
}

}  // namespace

template <Simd L, class T>
void split_depthwise_cpu(const SplitDepthwiseArgs<T>& a, const Workspace& work) {
  const bool streamed = may_stream(a, a.out);
  for_channels<T>(a, work, [&](const RowRings<T>& rings, std::int64_t image, std::int64_t j) {
    streamed ? forward_channel<Store::streamed>(a, rings, image, j)
             : forward_channel<Store::cached>(a, rings, image, j);
  });
}

template <Simd L, class T>
void split_depthwise_backward_cpu(const SplitDepthwiseBackwardArgs<T>& a, const Workspace& work) {
  const bool streamed = may_stream(a, a.grad_x);
  for_channels<T>(a, work, [&](const RowRings<T>& rings, std::int64_t image, std::int64_t j) {
    streamed ? backward_channel<Store::streamed>(a, rings, image, j)
             : backward_channel<Store::cached>(a, rings, image, j);
  });
}

template <Simd L, class T>
std::int64_t split_depthwise_scratch_bytes(const SplitDepthwiseArgs<T>& a, int threads) {
  return threads * RowRings<T>::bytes(n_planes(a), a.nx);
}

template <Simd L, class T>
std::int64_t split_depthwise_backward_scratch_bytes(const SplitDepthwiseBackwardArgs<T>& a, int threads) {
  return threads * RowRings<T>::bytes(n_planes(a), a.nx);
}

CSMRI_INSTANTIATE_CPU(split_depthwise, SplitDepthwiseArgs)
CSMRI_INSTANTIATE_CPU(split_depthwise_backward, SplitDepthwiseBackwardArgs)

}  // namespace csmri

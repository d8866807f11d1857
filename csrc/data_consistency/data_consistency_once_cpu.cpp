// Packs and applies, a group of images after the other: packed data of a group are read while they are in the cache,
// and the memory that a preparation of all images would fill with zeros first is never touched. Bits as of the two
// steps.
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/instantiate.hpp"
#include "data_consistency/data_consistency.hpp"
#include "fft/blocks.hpp"

namespace csmri {

namespace {

constexpr std::int64_t kGroupBytes = std::int64_t{1}
                                     << 20;  // of samples, about half a core's second-level cache or less

template <class T>
struct Call {
  std::int64_t group;  // images of one mask that are packed together
  T* weights;          // of one mask
  T* samples;          // of a group
  std::int64_t step_bytes, bytes;

  template <Simd L>
  static Call of(const DataConsistencyOnceArgs<T>& a, void* scratch, int threads, std::integral_constant<Simd, L>) {
    const KspaceShape& s = a.shape;
    const std::int64_t n = n_elements(s, line_axis(s)), samples = n_tiles(s) * n * 2 * kTile;
    Call call;
    call.group = std::clamp<std::int64_t>(kGroupBytes / (samples * std::int64_t{sizeof(T)}), 1,
                                          std::min(s.batch, s.batch_per_mask));
    const KspaceShape part{call.group, s.replicas, call.group, s.ny, s.nx, s.axes};
    call.step_bytes =
        std::max(data_consistency_pack_scratch_bytes<L>(PackArgs<T>{part, nullptr, nullptr, nullptr}, threads),
                 threads * line_scratch_bytes(s.ny, s.nx));
    ScratchCursor cursor(scratch);
    cursor.take<char>(call.step_bytes);
    call.weights = cursor.take<T>(s.axes == Axes::xy ? n_tiles(s) * n * kTile : 2 * n);
    call.samples = cursor.take<T>(a.kspace ? call.group * samples : 0);
    call.bytes = cursor.bytes();
    return call;
  }
};

template <class T>
ComplexImages<T> from_item(const ComplexImages<T>& x, std::int64_t item) {
  return {x.re + item * x.batch_stride,
          x.im + item * x.batch_stride,
          x.batch_stride,
          x.replica_stride,
          x.row_stride,
          x.column_stride};
}

}  // namespace

template <Simd L, class T>
void data_consistency_once_cpu(const DataConsistencyOnceArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  const Call<T> call = Call<T>::of(a, work.scratch, work.threads, std::integral_constant<Simd, L>{});
  const bool streamed = s.axes != Axes::xy && streams(a.out, s, line_axis(s));
  const std::int64_t mask_size = s.axes == Axes::xy ? s.ny * s.nx : n_elements(s, line_axis(s));
  for (std::int64_t first = 0, next; first < s.batch; first = next) {
    const std::int64_t of_mask = first / s.batch_per_mask, end = std::min(s.batch, (of_mask + 1) * s.batch_per_mask);
    next = std::min(first + call.group, end);
    const T* mask = a.mask + of_mask * mask_size;
    KspaceShape part{next - first, s.replicas, next - first, s.ny, s.nx, s.axes};
    if (first % s.batch_per_mask == 0) {
      KspaceShape one{1, 1, 1, s.ny, s.nx, s.axes};
      data_consistency_pack_mask_cpu<L>(PackMaskArgs<T>{one, mask, call.weights}, work);
    }
    if (a.kspace) {
      KspaceShape packed = part;
      packed.replicas = 1;
      T* kspace = const_cast<T*>(a.kspace) + first * s.ny * s.nx * 2;  // pack only reads it
      data_consistency_pack_cpu<L>(PackArgs<T>{packed, kspace, mask, call.samples, call.weights}, work);
    }
    data_consistency_cpu<L>(
        DataConsistencyArgs<T>{part, from_item(a.image, first), from_item(a.out, first),
                               a.kspace ? call.samples : nullptr, call.weights, a.eta, a.add_image, streamed},
        work);
  }
}

template <Simd L, class T>
std::int64_t data_consistency_once_scratch_bytes(const DataConsistencyOnceArgs<T>& a, int threads) {
  return Call<T>::of(a, nullptr, threads, std::integral_constant<Simd, L>{}).bytes;
}

CSMRI_INSTANTIATE_CPU(data_consistency_once, DataConsistencyOnceArgs)

}  // namespace csmri

// CPU forward kernel. A task is a window: its 64 tokens, their queries, keys and values (24 KiB at 32 channels) and the
// scores of its heads stay in the caches. With one head that is all, and x is read and y written once. Heads that
// attend everywhere need all windows: then the rows of q, k and v of one image are stored, a task of the second pass
// gathers the pixels at one place for one head, and a third pass multiplies by O. Bound by multiply-adds: per pixel 4
// channels^2, and 2 channels for each token that its head sees.
#include "core/instantiate.hpp"
#include "hsab/window_tokens.hpp"

namespace csmri {
namespace {

template <class T>
struct ThreadScratch {
  T *tokens, *result, *rows, *gathered;
  HeadScratch<T> head;

  ThreadScratch(ScratchCursor& cursor, const TokenExtents<T>& e)
      : tokens(cursor.take<T>(kTokens * e.row)),
        result(cursor.take<T>(kTokens * e.row)),
        rows(cursor.take<T>(e.shuffled() ? 0 : kTokens * e.outputs)),
        gathered(cursor.take<T>(e.shuffled() ? gathered_size(e) : 0)),
        head(cursor, std::max(kTokens, e.windows), e.width, false) {}
};

// Scratch of a call: packed weights, rows of q, k and v of one image where windows mix, and what each thread needs.
template <class T>
struct CallScratch {
  PackedWeights<T> weights;
  T* rows;
  OfThreads<ThreadScratch<T>> threads;
  std::int64_t bytes;

  CallScratch(ScratchCursor cursor, const TokenExtents<T>& e, int n_threads)
      : weights(cursor, e),
        rows(cursor.take<T>(e.shuffled() ? e.windows * kTokens * e.outputs : 0)),
        threads(cursor, e, n_threads),
        bytes(cursor.bytes()) {}
};

template <class T>
void project(const HalfShuffleAttentionArgs<T>& a, const TokenExtents<T>& e, const PackedWeights<T>& weights,
             const T* rows, std::int64_t image, std::int64_t w, T* result) {
  multiply<false>(rows, e.outputs, kTokens, panels_of_packed(weights.output, e.columns), e.columns, result, e.row,
                  e.row, false);
  for_tokens(w, e.across, [&](std::int64_t pixel, std::int64_t i) {
    const std::int64_t at = (image * a.ny * a.nx + pixel) * e.channels;
    const T *const from = a.x + at, *const sum = result + i * e.row;
    for (std::int64_t c = 0; c < e.channels; c += kLanes<T>) {
      const Vec<T> added = load(sum + c) + load(weights.bias + c);
      const int left = static_cast<int>(std::min<std::int64_t>(e.channels - c, kLanes<T>));
      if (left == kLanes<T>)
        store(a.out + at + c, load(from + c) + added);
      else
        store_first(a.out + at + c, load_first(from + c, left) + added, left);
    }
  });
}

}  // namespace

template <Simd L, class T>
void half_shuffle_attention_cpu(const HalfShuffleAttentionArgs<T>& a, const Workspace& work) {
  const TokenExtents<T> e(a);
  if (a.batch * e.windows == 0) return;
  const CallScratch<T> call(ScratchCursor(work.scratch), e, work.threads);
  call.weights.pack(a, e);
  for (std::int64_t image = 0; image < a.batch; ++image) {
    const T* const x = a.x + image * a.ny * a.nx * a.channels;
    parallel_tasks(e.windows, work.threads, [&](std::int64_t w, int thread) {
      const ThreadScratch<T> own = call.threads.of(thread, e);
      T* const rows = e.shuffled() ? call.rows + w * kTokens * e.outputs : own.rows;
      load_tokens<T>(e, x, w, call.weights.normalization(a), nullptr, nullptr, own.tokens);
      multiply<false>(own.tokens, e.row, kTokens, panels_of_packed(call.weights.input, e.channels), e.channels, rows,
                      e.outputs, e.outputs, false);
      for (std::int64_t h = 0; h < e.local; ++h) {
        T* const q = rows + h * e.head;
        attend(Head<T>{q, q + e.columns, q + 2 * e.columns, e.outputs, kTokens, e.width}, own.head);
      }
      if (!e.shuffled()) project(a, e, call.weights, rows, image, w, own.result);
    });
    if (!e.shuffled()) continue;
    parallel_tasks(e.shuffled_tasks(), work.threads, [&](std::int64_t task, int thread) {
      const ThreadScratch<T> own = call.threads.of(thread, e);
      with_shuffled_head(e, task, call.rows, own.gathered,
                         [&](const Head<T>& head, std::int64_t, std::int64_t) { attend(head, own.head); });
    });
    parallel_tasks(e.windows, work.threads, [&](std::int64_t w, int thread) {
      project(a, e, call.weights, call.rows + w * kTokens * e.outputs, image, w, call.threads.of(thread, e).result);
    });
  }
}

template <Simd L, class T>
std::int64_t half_shuffle_attention_scratch_bytes(const HalfShuffleAttentionArgs<T>& a, int threads) {
  return CallScratch<T>(ScratchCursor(nullptr), TokenExtents<T>(a), threads).bytes;
}

CSMRI_INSTANTIATE_CPU(half_shuffle_attention, HalfShuffleAttentionArgs)

}  // namespace csmri

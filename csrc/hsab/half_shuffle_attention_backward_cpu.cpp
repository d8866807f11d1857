// CPU backward kernel. A task is a chunk of windows, which has sums of its own of the weight gradients: sums are added
// chunk after chunk, image after image, whatever the threads. As in the forward kernel, a window with one head is done
// at once; else the rows of q, k, v and of o's gradient of one image are stored between passes, and become their
// gradients and o in place. Bound by multiply-adds: per pixel 12 channels^2, and 7 channels for each token that its
// head sees (8 where these are more than kKeys).
#include "core/instantiate.hpp"
#include "hsab/window_tokens.hpp"

namespace csmri {
namespace {

constexpr std::int64_t kMostChunks = 16;

template <class T>
std::int64_t n_chunks(const TokenExtents<T>& e) {
  return std::clamp<std::int64_t>(e.windows / 16, std::min<std::int64_t>(4, e.windows), kMostChunks);
}

// Gradients of the weights: input (outputs, row), output (columns, row), then norm_weight, norm_bias and bias (row).
template <class T>
std::int64_t sums_size(const TokenExtents<T>& e) {
  return (e.outputs + e.columns + 3) * e.row;
}
template <class T>
struct Sums {
  T *input, *output, *norm_weight;  // norm_bias and bias follow
  Sums(const TokenExtents<T>& e, T* from)
      : input(from), output(input + e.outputs * e.row), norm_weight(output + e.columns * e.row) {}
};

template <class T>
struct ThreadScratch {
  T *normalized, *tokens, *inverse, *grad, *grad_tokens, *window_sums, *rows, *grad_rows, *gathered, *gathered_grad;
  HeadScratch<T> head;

  ThreadScratch(ScratchCursor& cursor, const TokenExtents<T>& e)
      : normalized(cursor.take<T>(kTokens * e.row)),
        tokens(cursor.take<T>(kTokens * e.row)),
        inverse(cursor.take<T>(kTokens)),
        grad(cursor.take<T>(kTokens * e.row)),
        grad_tokens(cursor.take<T>(kTokens * e.row)),
        window_sums(cursor.take<T>(3 * e.row)),
        rows(cursor.take<T>(e.shuffled() ? 0 : kTokens * e.outputs)),
        grad_rows(cursor.take<T>(e.shuffled() ? 0 : kTokens * e.columns)),
        gathered(cursor.take<T>(e.shuffled() ? gathered_size(e) : 0)),
        gathered_grad(cursor.take<T>(e.shuffled() ? e.windows * e.head : 0)),
        head(cursor, std::max(kTokens, e.windows), e.width, true) {}
};

template <class T>
struct CallScratch {
  PackedWeights<T> weights;
  T *input_transposed, *output_transposed;  // (outputs -> row), (channels -> columns)
  T *rows, *grad_rows, *partials;
  double* totals;
  OfThreads<ThreadScratch<T>> threads;
  std::int64_t bytes;

  CallScratch(ScratchCursor cursor, const TokenExtents<T>& e, int n_threads)
      : weights(cursor, e),
        input_transposed(cursor.take<T>(packed_size<T>(e.outputs, e.row))),
        output_transposed(cursor.take<T>(packed_size<T>(e.channels, e.columns))),
        rows(cursor.take<T>(e.shuffled() ? e.windows * kTokens * e.outputs : 0)),
        grad_rows(cursor.take<T>(e.shuffled() ? e.windows * kTokens * e.columns : 0)),
        partials(cursor.take<T>(n_chunks(e) * sums_size(e))),
        totals(cursor.take<double>(sums_size(e))),
        threads(cursor, e, n_threads),
        bytes(cursor.bytes()) {}
  void pack(const HalfShuffleAttentionArgs<T>& a, const TokenExtents<T>& e) const {
    weights.pack(a, e);
    pack_rows(e.outputs, e.row, input_transposed, [&](std::int64_t column) { return e.input_weights(a, column); });
    pack_columns(e.channels, e.columns, output_transposed,
                 [&](std::int64_t column) { return e.output_weights(a, column); });
  }
};

// One image.
template <class T>
class Image {
 public:
  Image(const HalfShuffleAttentionBackwardArgs<T>& a, const TokenExtents<T>& e, const CallScratch<T>& call,
        std::int64_t image)
      : a_(a), e_(e), call_(call), offset_(image * a.forward.ny * a.forward.nx * e.channels) {}

  void run(int threads) const {
    const std::int64_t chunks = n_chunks(e_);
    const auto each_window = [&](const auto& f) {
      parallel_tasks(chunks, threads, [&](std::int64_t chunk, int thread) {
        const ThreadScratch<T> own = call_.threads.of(thread, e_);
        T* const partials = call_.partials + chunk * sums_size(e_);
        for (std::int64_t w = e_.windows * chunk / chunks; w < e_.windows * (chunk + 1) / chunks; ++w)
          f(w, own, Sums<T>(e_, partials));
      });
    };
    std::fill_n(call_.partials, chunks * sums_size(e_), T(0));
    each_window([&](std::int64_t w, const ThreadScratch<T>& own, const Sums<T>& sums) {
      load(w, own);
      attend_in_window(w, own);
      if (!e_.shuffled()) add_gradients(w, own, sums);
    });
    if (!e_.shuffled()) return;
    parallel_tasks(e_.shuffled_tasks(), threads,
                   [&](std::int64_t task, int thread) { attend_everywhere(task, call_.threads.of(thread, e_)); });
    each_window([&](std::int64_t w, const ThreadScratch<T>& own, const Sums<T>& sums) {
      load(w, own);
      add_gradients(w, own, sums);
    });
  }

 private:
  T* rows(std::int64_t w, const ThreadScratch<T>& own) const {
    return e_.shuffled() ? call_.rows + w * kTokens * e_.outputs : own.rows;
  }
  T* grad_rows(std::int64_t w, const ThreadScratch<T>& own) const {
    return e_.shuffled() ? call_.grad_rows + w * kTokens * e_.columns : own.grad_rows;
  }

  void load(std::int64_t w, const ThreadScratch<T>& own) const {
    load_tokens(e_, a_.forward.x + offset_, w, call_.weights.normalization(a_.forward), own.normalized, own.inverse,
                own.tokens);
    load_window(e_, a_.grad_out + offset_, w, own.grad);
  }

  void attend_in_window(std::int64_t w, const ThreadScratch<T>& own) const {
    T *const qkv = rows(w, own), *const grad = grad_rows(w, own);
    multiply<false>(own.tokens, e_.row, kTokens, panels_of_packed(call_.weights.input, e_.channels), e_.channels, qkv,
                    e_.outputs, e_.outputs, false);
    multiply<false>(own.grad, e_.row, kTokens, panels_of_packed(call_.output_transposed, e_.channels), e_.channels,
                    grad, e_.columns, e_.columns, false);
    for (std::int64_t h = 0; h < e_.local; ++h) {
      T* const q = qkv + h * e_.head;
      attend_backward(Head<T>{q, q + e_.columns, q + 2 * e_.columns, e_.outputs, kTokens, e_.width}, grad + h * e_.head,
                      e_.columns, own.head);
    }
  }

  void attend_everywhere(std::int64_t task, const ThreadScratch<T>& own) const {
    with_shuffled_head(e_, task, call_.rows, own.gathered, [&](const Head<T>& head, std::int64_t p, std::int64_t h) {
      T* const grads = call_.grad_rows + p * e_.columns + h * e_.head;
      for (std::int64_t w = 0; w < e_.windows; ++w)
        std::copy_n(grads + w * kTokens * e_.columns, e_.head, own.gathered_grad + w * e_.head);
      attend_backward(head, own.gathered_grad, e_.head, own.head);
      for (std::int64_t w = 0; w < e_.windows; ++w)
        std::copy_n(own.gathered_grad + w * e_.head, e_.head, grads + w * kTokens * e_.columns);
    });
  }

  // Gradients of the weights and of x, when the rows hold those of q, k and v, and o.
  void add_gradients(std::int64_t w, const ThreadScratch<T>& own, const Sums<T>& sums) const {
    const T *const grad_qkv = rows(w, own), *const attended = grad_rows(w, own);
    multiply<true>(grad_qkv, e_.outputs, e_.outputs, panels_of_rows(own.tokens, e_.row), kTokens, sums.input, e_.row,
                   e_.row, true);
    multiply<true>(attended, e_.columns, e_.columns, panels_of_rows(own.grad, e_.row), kTokens, sums.output, e_.row,
                   e_.row, true);
    multiply<false>(grad_qkv, e_.outputs, kTokens, panels_of_packed(call_.input_transposed, e_.outputs), e_.outputs,
                    own.grad_tokens, e_.row, e_.row, false);
    std::fill_n(own.window_sums, 3 * e_.row, T(0));
    for_tokens(w, e_.across, [&](std::int64_t pixel, std::int64_t i) {
      gradient_of_pixel(own, i, a_.grad_x + offset_ + pixel * e_.channels);
    });
    for (std::int64_t c = 0; c < 3 * e_.row; ++c) sums.norm_weight[c] += own.window_sums[c];
  }

  // Through LN: with g = gradient of its output times its weight, (g - mean g - n mean(g n)) / deviation.
  void gradient_of_pixel(const ThreadScratch<T>& own, std::int64_t i, T* to) const {
    T *const norm_weight = own.window_sums, *const norm_bias = norm_weight + e_.row, *const bias = norm_bias + e_.row;
    const T *const n = own.normalized + i * e_.row, *const grad = own.grad + i * e_.row;
    T* const g = own.grad_tokens + i * e_.row;
    Vec<T> total{}, along{};
    for (std::int64_t c = 0; c < e_.row; c += kLanes<T>) {
      const Vec<T> incoming = csmri::load(g + c), value = csmri::load(n + c);
      store(norm_weight + c, csmri::load(norm_weight + c) + incoming * value);
      store(norm_bias + c, csmri::load(norm_bias + c) + incoming);
      store(bias + c, csmri::load(bias + c) + csmri::load(grad + c));
      const Vec<T> weighted = incoming * csmri::load(call_.weights.norm_weight + c);
      store(g + c, weighted);
      total += weighted;
      along += weighted * value;
    }
    const T mean = sum<T>(total) / static_cast<T>(e_.channels), slope = sum<T>(along) / static_cast<T>(e_.channels);
    for (std::int64_t c = 0; c < e_.channels; c += kLanes<T>) {
      const Vec<T> value =
          csmri::load(grad + c) + own.inverse[i] * (csmri::load(g + c) - mean - csmri::load(n + c) * slope);
      const int left = static_cast<int>(std::min<std::int64_t>(e_.channels - c, kLanes<T>));
      if (left == kLanes<T>)
        store(to + c, value);
      else
        store_first(to + c, value, left);
    }
  }

  const HalfShuffleAttentionBackwardArgs<T>& a_;
  const TokenExtents<T>& e_;
  const CallScratch<T>& call_;
  const std::int64_t offset_;
};

template <class T>
void add_partials(const TokenExtents<T>& e, const CallScratch<T>& call, int threads) {
  const std::int64_t chunks = n_chunks(e), size = sums_size(e), rows = size / e.row;
  parallel_for(rows, threads, [&](std::int64_t row) {
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk)
      for (std::int64_t i = row * e.row; i < (row + 1) * e.row; ++i)
        call.totals[i] += static_cast<double>(call.partials[chunk * size + i]);
  });
}

// The totals in the layout of the weights.
template <class T>
void store_totals(const HalfShuffleAttentionBackwardArgs<T>& a, const TokenExtents<T>& e, const double* totals) {
  const auto row = [&](std::int64_t i, T factor, T* to) {
    for (std::int64_t c = 0; c < e.channels; ++c) to[c] = static_cast<T>(totals[i * e.row + c]) * factor;
  };
  for (std::int64_t o = 0; o < e.channels; ++o) {
    const std::int64_t column = o / e.width * e.head + o % e.width;
    row(column, e.scale, a.grad_query + o * e.channels);
    row(e.columns + column, T(1), a.grad_key_value + o * e.channels);
    row(2 * e.columns + column, T(1), a.grad_key_value + (e.channels + o) * e.channels);
    for (std::int64_t c = 0; c < e.channels; ++c)
      a.grad_project[c * e.channels + o] = static_cast<T>(totals[(e.outputs + column) * e.row + c]);
  }
  const std::int64_t last = e.outputs + e.columns;
  row(last, T(1), a.grad_norm_weight);
  row(last + 1, T(1), a.grad_norm_bias);
  row(last + 2, T(1), a.grad_bias);
}

}  // namespace

template <Simd L, class T>
void half_shuffle_attention_backward_cpu(const HalfShuffleAttentionBackwardArgs<T>& a, const Workspace& work) {
  const TokenExtents<T> e(a.forward);
  const CallScratch<T> call(ScratchCursor(work.scratch), e, work.threads);
  call.pack(a.forward, e);
  std::fill_n(call.totals, sums_size(e), 0.0);
  for (std::int64_t image = 0; e.windows > 0 && image < a.forward.batch; ++image) {
    Image<T>(a, e, call, image).run(work.threads);
    add_partials(e, call, work.threads);
  }
  store_totals(a, e, call.totals);
}

template <Simd L, class T>
std::int64_t half_shuffle_attention_backward_scratch_bytes(const HalfShuffleAttentionBackwardArgs<T>& a, int threads) {
  return CallScratch<T>(ScratchCursor(nullptr), TokenExtents<T>(a.forward), threads).bytes;
}

CSMRI_INSTANTIATE_CPU(half_shuffle_attention_backward, HalfShuffleAttentionBackwardArgs)

}  // namespace csmri

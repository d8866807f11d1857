// CPU kernel of a whole NasN module, depth first (schedule.hpp). Images go to threads one by one; where there are more
// threads than images, several threads share one by columns and meet after the layers that look sideways: by columns,
// since only a few pixels at their edges cross from one core's cache to another's. Wide images are cut into strips that
// overlap by the reach of the module. Bound by arithmetic.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/instantiate.hpp"
#include "core/team.hpp"
#include "nasn/composite_stem.hpp"
#include "nasn/nasn_cascade.hpp"
#include "rows/separable_rows.hpp"

namespace csmri {
namespace {

constexpr int kRowsPerStep = 4;
constexpr std::int64_t kStripPixels = 640;  // so many columns of all rings fit the last-level cache

struct Strip {
  std::int64_t x0, x1;        // pixels to write
  std::int64_t first, width;  // pixels to compute
};
struct Strips {
  std::int64_t n, nx, reach;
  Strips(std::int64_t width, std::int64_t lag)
      : n(std::max<std::int64_t>(1, (width + kStripPixels - 1) / kStripPixels)), nx(width), reach(lag) {}
  Strip at(std::int64_t i) const {
    const std::int64_t x0 = nx * i / n, x1 = nx * (i + 1) / n, first = std::max<std::int64_t>(x0 - reach, 0);
    return {x0, x1, first, std::min(x1 + reach, nx) - first};
  }
  std::int64_t widest() const {
    std::int64_t width = 0;
    for (std::int64_t i = 0; i < n; ++i) width = std::max(width, at(i).width);
    return width;
  }
};

struct PackedTerm {
  std::int64_t first, second;  // offsets in the packed weights
};

template <class T>
struct Plan {
  const CascadeSchedule schedule;
  const Strips strips;
  const std::int64_t width;
  std::vector<PackedTerm> packed;  // of all terms of all layers, in order
  std::int64_t packed_size = 0, ring_size = 0, zeros_size = 0, filtered = 0, column = 0, parts = 0;
  int teams, threads;

  Plan(const NasnCascadeArgs<T>& a, int threads_)
      : schedule(cascade_schedule(a.shape, kRowsPerStep)),
        strips(a.nx, schedule.lag),
        width(strips.widest()),
        teams(static_cast<int>(std::clamp<std::int64_t>(a.batch, 1, std::max(threads_, 1)))),
        threads(std::max(threads_, 1)) {
    const std::int64_t channels = a.shape.channels, in_channels = a.shape.in_channels;
    for (const CascadeTensor& tensor : schedule.tensors) {
      const std::int64_t row = row_size<T>(width, tensor.channels);
      ring_size += (tensor.raw_rows + tensor.rectified_rows) * row;
      zeros_size = std::max(zeros_size, row);
    }
    for (const CascadeLayer& layer : schedule.layers) {
      std::int64_t of_layer = 0;
      for (const CascadeTerm& term : layer.terms) {
        const std::int64_t wide = schedule.tensors[term.tensor].channels,
                           outputs = layer.out < 0 ? 0 : schedule.tensors[layer.out].channels;
        packed.push_back({packed_size, 0});
        if (layer.kind != LayerKind::output) packed_size += packed_first_size<T>(term.operation, wide);
        packed.back().second = packed_size;
        if (layer.kind == LayerKind::stem)
          packed_size += kStemCases * stem_case_size<T>(in_channels, channels);
        else if (layer.kind != LayerKind::output)
          packed_size += packed_second_size<T>(term.operation, wide, outputs);
        of_layer += filtered_size<T>(wide);
        if (term.operation == Separable::column_row)
          column = std::max(column, static_cast<std::int64_t>(layer.terms.size()) * row_size<T>(width, channels));
      }
      filtered = std::max(filtered, of_layer);
    }
    if (a.shape.composite) parts = stem_parts(in_channels, channels);
  }
};

template <class T>
struct Memory {
  T *packed, *zeros, *rings, *filtered, *column;
  double* parts;
  std::int64_t bytes;

  Memory(const Plan<T>& p, void* scratch) {
    ScratchCursor cursor(scratch);
    packed = cursor.take<T>(p.packed_size);
    zeros = cursor.take<T>(p.zeros_size);
    parts = cursor.take<double>(p.parts);
    rings = cursor.take<T>(p.teams * p.ring_size);
    filtered = cursor.take<T>(p.threads * p.filtered);
    column = cursor.take<T>(p.threads * p.column);
    bytes = cursor.bytes();
  }
};

template <class T>
void pack_weights(const NasnCascadeArgs<T>& a, const Plan<T>& p, const Memory<T>& m) {
  const std::int64_t channels = a.shape.channels, in_channels = a.shape.in_channels;
  const PackedTerm* at = p.packed.data();
  for (const CascadeLayer& layer : p.schedule.layers)
    for (const CascadeTerm& term : layer.terms) {
      const std::int64_t wide = p.schedule.tensors[term.tensor].channels;
      T *const first = m.packed + at->first, *const second = m.packed + at->second;
      ++at;
      if (layer.kind == LayerKind::output || term.operation == Separable::skip) continue;
      const T* const w = a.weights[term.second];
      if (layer.kind == LayerKind::stem) {
        pack_stem(a.weights[term.first], w, in_channels, channels, m.parts, second);
      } else if (layer.kind == LayerKind::products) {
        pack_taps(w + 9 * term.column, in_channels, 9 * term.columns, channels, second);
      } else if (term.operation == Separable::relu_conv) {
        pack_relu_conv(w, channels, wide, second);
      } else if (term.operation == Separable::column_row) {
        pack_depthwise(a.weights[term.first], wide, 9, false, first);
        pack_depthwise(w, wide, 9, false, second);
      } else {
        if (term.first >= 0) pack_depthwise(a.weights[term.first], wide, 9, false, first);
        pack_pointwise(w + term.column, channels, term.columns, wide, 1, second);
      }
    }
}

// The share of one thread in one strip of one image.
template <class T>
class Worker {
 public:
  Worker(const NasnCascadeArgs<T>& a, const Plan<T>& p, const Memory<T>& m, int thread, T* rings, int member,
         int members, TeamBarrier& barrier)
      : a_(a), p_(p), m_(m), member_(member), members_(members), barrier_(barrier) {
    work_ = {m.filtered + thread * p.filtered, m.column + thread * p.column + kPad * kBlock<T>};
    for (const CascadeTensor& tensor : p.schedule.tensors) {
      const std::int64_t row = row_size<T>(p.width, tensor.channels);
      raw_.push_back({rings, m.zeros, a.ny, tensor.raw_rows, row});
      rings += tensor.raw_rows * row;
      rectified_.push_back({rings, m.zeros, a.ny, tensor.rectified_rows, row});
      rings += tensor.rectified_rows * row;
    }
  }

  void run(std::int64_t image, const Strip& strip) {
    image_ = image;
    strip_ = strip;
    nx_ = strip.width;
    const std::int64_t tiles = (nx_ + kTilePixels - 1) / kTilePixels;
    x0_ = tiles * member_ / members_ * kTilePixels;
    x1_ = std::min(tiles * (member_ + 1) / members_ * kTilePixels, nx_);
    if (member_ == 0) clear_pads();
    const CascadeSchedule& s = p_.schedule;
    for (std::int64_t front = 0; front < a_.ny + s.lag; front += s.step) {
      barrier_.wait(members_);
      const PackedTerm* packed = p_.packed.data();
      for (const CascadeLayer& layer : s.layers) {
        if (layer.meets_before) barrier_.wait(members_);
        const std::int64_t y0 = std::max<std::int64_t>(front - layer.lag, 0),
                           y1 = std::min(front + s.step - layer.lag, a_.ny);
        if (x0_ < x1_)
          for (std::int64_t y = y0; y < y1; ++y) row_of(layer, packed, y);
        packed += layer.terms.size();
      }
    }
    barrier_.wait(members_);
  }

 private:
  // Kernels read beyond the image's columns and write whole tiles; what lies there must be zero for the next reader.
  void clear_pads() {
    for (std::size_t i = 0; i < raw_.size(); ++i)
      for (const RowRing<T>& ring : {raw_[i], rectified_[i]})
        for (std::int64_t y = 0; y < ring.capacity; ++y)
          for (std::int64_t g = 0; g < groups_of<T>(p_.schedule.tensors[i].channels); ++g) {
            T* const row = ring.slot(y) + g * group_size<T>(nx_);
            std::fill_n(row - kPad * kBlock<T>, kPad * kBlock<T>, T(0));
            std::fill_n(row + nx_ * kBlock<T>, (row_pitch(nx_) - kPad - nx_) * kBlock<T>, T(0));
          }
  }

  const T* tensor_row(bool raw, int tensor, std::int64_t y) const { return (raw ? raw_ : rectified_)[tensor].row(y); }

  void row_of(const CascadeLayer& layer, const PackedTerm* packed, std::int64_t y) {
    switch (layer.kind) {
      case LayerKind::load:
        return load_pixels(a_.image + ((image_ * a_.ny + y) * a_.nx + strip_.first) * a_.pixel, a_.pixel,
                           a_.shape.in_channels, group_size<T>(nx_), x0_, x1_, raw_[layer.out].slot(y), CopyPixel<T>{});
      case LayerKind::stem: {
        const T* rows[5];
        for (int k = 0; k < 5; ++k) rows[k] = tensor_row(true, layer.terms[0].tensor, y + k - 2);
        return write(layer.out, y, [&](const auto& emit) {
          stem_row(rows, m_.packed + packed[0].second, a_.shape.in_channels, a_.shape.channels, y, a_.ny, nx_, x0_, x1_,
                   emit);
        });
      }
      case LayerKind::output:
        return output_row(layer.terms[0].tensor, y);
      default: {
        RowTerm<T> terms[kMaxTerms];
        const int n = static_cast<int>(layer.terms.size());
        for (int i = 0; i < n; ++i) {
          const CascadeTerm& term = layer.terms[i];
          const int radius = radius_of(term.operation);
          terms[i] = {term.operation,
                      p_.schedule.tensors[term.tensor].channels,
                      {},
                      m_.packed + packed[i].first,
                      term.operation == Separable::skip ? nullptr : m_.packed + packed[i].second};
          const bool raw = term.operation == Separable::skip || term.operation == Separable::relu_conv;
          for (int k = 0; k <= 2 * radius; ++k) terms[i].rows[k] = tensor_row(raw, term.tensor, y + k - radius);
        }
        return write(layer.out, y, [&](const auto& emit) {
          sum_of_terms_row(terms, n, nx_, x0_, x1_, p_.schedule.tensors[layer.out].channels, work_, emit);
        });
      }
    }
  }

  // compute(emit) fills row y of a tensor, in the one or two forms that are read later.
  template <class Compute>
  void write(int tensor, std::int64_t y, const Compute& compute) {
    T* const raw = raw_[tensor].capacity ? raw_[tensor].slot(y) : nullptr;
    T* const rectified = rectified_[tensor].capacity ? rectified_[tensor].slot(y) : nullptr;
    compute([&](std::int64_t at, Vec<T> value) {
      if (raw) store(raw + at, value);
      if (rectified) store(rectified + at, relu<T>(value));
    });
    save(tensor, y, rectified ? rectified : raw);
    if (x1_ < nx_) return;
    for (T* row : {raw, rectified})
      if (row) clear_behind(row, nx_, p_.schedule.tensors[tensor].channels);
  }

  // What a training step keeps of a row that has just been written.
  void save(int tensor, std::int64_t y, const T* row) {
    const int place = p_.schedule.tensors[tensor].saved;
    if (a_.saved.empty() || place < 0 || !a_.saved[place]) return;
    const std::int64_t channels = a_.shape.channels, pixel = a_.saved_pixel[place],
                       x0 = std::max(x0_, strip_.x0 - strip_.first), x1 = std::min(x1_, strip_.x1 - strip_.first);
    T* const to = a_.saved[place] + ((image_ * a_.ny + y) * a_.nx + strip_.first) * pixel;
    const auto rectified = [](Vec<T> v, std::int64_t, std::int64_t, int) { return relu<T>(v); };
    const bool may_stream = channels % kLanes<T> == 0 && pixel % kLanes<T> == 0 &&
                            reinterpret_cast<std::uintptr_t>(to) % kVecBytes == 0 &&
                            a_.batch * a_.ny * a_.nx * pixel * std::int64_t{sizeof(T)} >= (std::int64_t{4} << 20);
    if (may_stream)
      store_pixels<true>(row, group_size<T>(nx_), channels, x0, x1, to, pixel, rectified);
    else
      store_pixels<false>(row, group_size<T>(nx_), channels, x0, x1, to, pixel, rectified);
  }

  void output_row(int products, std::int64_t y) {
    const T* const rows[3] = {tensor_row(true, products, y - 1), tensor_row(true, products, y),
                              tensor_row(true, products, y + 1)};
    const std::int64_t x0 = std::max(x0_, strip_.x0 - strip_.first), x1 = std::min(x1_, strip_.x1 - strip_.first),
                       first = (image_ * a_.ny + y) * a_.nx + strip_.first;
    sum_taps(rows, group_size<T>(nx_), a_.shape.in_channels, x0, x1, a_.image + first * a_.pixel, a_.pixel,
             a_.out + first * a_.out_pixel, a_.out_pixel);
  }

  const NasnCascadeArgs<T>& a_;
  const Plan<T>& p_;
  const Memory<T>& m_;
  const int member_, members_;
  TeamBarrier& barrier_;
  RowWork<T> work_;
  std::vector<RowRing<T>> raw_, rectified_;
  std::int64_t image_ = 0, nx_ = 0, x0_ = 0, x1_ = 0;
  Strip strip_{};
};

}  // namespace

template <Simd L, class T>
void nasn_cascade_cpu(const NasnCascadeArgs<T>& a, const Workspace& work) {
  if (a.batch == 0 || a.ny == 0 || a.nx == 0) return;
  const Plan<T> plan(a, work.threads);
  const Memory<T> memory(plan, work.scratch);
  std::fill_n(memory.zeros, plan.zeros_size, T(0));
  pack_weights(a, plan, memory);
  std::vector<TeamBarrier> barriers(plan.teams);
  TeamBarrier everyone;
  parallel_region(plan.threads, [&](int thread, int threads) {
    // First one image per thread, as often as there are enough; then the rest, several threads to an image.
    for (std::int64_t done = 0; done < a.batch;) {
      const std::int64_t left = a.batch - done, images = left >= threads ? left / threads * threads : left;
      const int teams = static_cast<int>(std::min<std::int64_t>(images, threads));
      const int team = thread * teams / threads, first = (team * threads + teams - 1) / teams,
                end = ((team + 1) * threads + teams - 1) / teams;
      Worker<T> worker(a, plan, memory, thread, memory.rings + team * plan.ring_size, thread - first, end - first,
                       barriers[team]);
      for (std::int64_t i = images * team / teams; i < images * (team + 1) / teams; ++i)
        for (std::int64_t s = 0; s < plan.strips.n; ++s) worker.run(done + i, plan.strips.at(s));
      done += images;
      stream_fence();
      everyone.wait(threads);
    }
  });
}

template <Simd L, class T>
std::int64_t nasn_cascade_scratch_bytes(const NasnCascadeArgs<T>& a, int threads) {
  const Plan<T> plan(a, threads);
  return Memory<T>(plan, nullptr).bytes;
}

CSMRI_INSTANTIATE_CPU(nasn_cascade, NasnCascadeArgs)

}  // namespace csmri

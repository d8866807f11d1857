// How a call divides its scratch: packed weights, partials (one per tile, or one per weight), and the working tiles of
// each thread.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/parallel.hpp"
#include "pyramid_attention/correlate.hpp"
#include "pyramid_attention/tile.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

constexpr std::int64_t kOutPlane = (kTileY + kExtraRows) * kPitch;

template <class T>
struct TileStatistics {  // of one channel of F over one tile
  double sum;
  T maximum;
  std::int64_t argmax;
};

template <class T>
class PyramidScratch {
 public:
  explicit PyramidScratch(const PyramidShape& s, void* scratch = nullptr)
      : scratch_(static_cast<char*>(scratch)),
        shape_(s),
        layout_(s),
        weight_layout_(s, kWeightRows),
        tiles_(s.batch * Tiling(s).per_image()),
        n_weights_(0) {
    for (int i = 0; i < s.n_branches; ++i) n_weights_ += s.branch_channels * weights_per_output(s, i);
    const std::int64_t widest = std::max(kChunk, s.out_channels());
    const std::int64_t gradient = kZeroRows * kPitch + s.branch_channels * kGradientPlane;
    input_bytes_ = round_up(std::max(widest * layout_.plane(), kWeightChunk * weight_layout_.plane()) * sizeof(T), 64);
    output_bytes_ = round_up(std::max(widest * kOutPlane, gradient) * sizeof(T), 64);
    packed_bytes_ = round_up(n_weights_ * sizeof(T), 64);
    statistics_bytes_ = round_up(tiles_ * s.out_channels() * sizeof(TileStatistics<T>), 64);
    sums_bytes_ = round_up(n_weights_ * sizeof(double), 64);
  }

  static std::int64_t weights_per_output(const PyramidShape& s, int branch) {
    return s.in_channels() / s.groups[branch] * s.kernel[branch] * s.kernel[branch];
  }
  // First packed weight of a branch.
  std::int64_t branch_offset(int branch) const {
    std::int64_t offset = 0;
    for (int i = 0; i < branch; ++i) offset += shape_.branch_channels * weights_per_output(shape_, i);
    return offset;
  }
  std::int64_t bytes(int threads) const {
    return packed_bytes_ + std::max(statistics_bytes_, sums_bytes_) + threads * (input_bytes_ + output_bytes_);
  }
  std::int64_t tiles() const { return tiles_; }
  const PaddedLayout& layout() const { return layout_; }
  const PaddedLayout& weight_layout() const { return weight_layout_; }  // of inputs, for their weights' gradient

  T* packed() const { return at<T>(0); }
  TileStatistics<T>* statistics() const { return at<TileStatistics<T>>(packed_bytes_); }
  double* weight_sums() const { return at<double>(packed_bytes_); }
  T* input_tile(std::int64_t thread) const { return at<T>(tiles_of(thread)); }
  T* output_tile(std::int64_t thread) const { return at<T>(tiles_of(thread) + input_bytes_); }

 private:
  template <class U>
  U* at(std::int64_t offset) const {
    return reinterpret_cast<U*>(scratch_ + offset);
  }
  std::int64_t tiles_of(std::int64_t thread) const {
    return packed_bytes_ + std::max(statistics_bytes_, sums_bytes_) + thread * (input_bytes_ + output_bytes_);
  }
  char* scratch_;
  const PyramidShape& shape_;
  PaddedLayout layout_, weight_layout_;
  std::int64_t tiles_, n_weights_;
  std::int64_t input_bytes_, output_bytes_, packed_bytes_, statistics_bytes_, sums_bytes_;
};

// f(run, i) for i in [0, n): each run with the working tiles of its own number.
template <class F>
inline void for_each_with_tiles(std::int64_t n, int threads, const F& f) {
  parallel_runs(n, threads, [&](std::int64_t run, std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) f(run, i);
  });
}

// f(c0, c1) for every chunk of input channels.
template <class F>
inline void for_chunks(const PyramidShape& s, const F& f) {
  for (std::int64_t c0 = 0; c0 < s.in_channels(); c0 += kChunk) f(c0, std::min(s.in_channels(), c0 + kChunk));
}

// f(branch, group, lo, hi): the input channels [lo, hi) of a group that lie in [c0, c1).
template <class F>
inline void for_groups(const PyramidShape& s, std::int64_t c0, std::int64_t c1, const F& f) {
  for (int branch = 0; branch < s.n_branches; ++branch) {
    const std::int64_t width = s.in_channels() / s.groups[branch];
    for (std::int64_t g = c0 / width; g * width < c1; ++g)
      f(branch, g, std::max(c0, g * width), std::min(c1, (g + 1) * width));
  }
}

// f(part, channel within the part, c) for the channels c in [c0, c1) of the virtual concatenation.
template <class F>
inline void for_part_channels(const PyramidShape& s, std::int64_t c0, std::int64_t c1, const F& f) {
  std::int64_t first = 0;
  for (int p = 0; p < s.n_parts; first += s.part_channels[p++])
    for (std::int64_t c = std::max(c0, first); c < std::min(c1, first + s.part_channels[p]); ++c) f(p, c - first, c);
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

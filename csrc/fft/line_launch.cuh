// Which line lengths have kernels of their own, and the shape of their grids.
#pragma once
#include "fft/line_kernel.cuh"

namespace csmri {

template <int R1, int R2>
struct Split {  // n = R1 R2
  static constexpr int kFirst = R1, kSecond = R2, kLength = R1 * R2;
};
template <class... Splits>
struct SplitList {};

// The matrix sizes of common protocols; 368 and 372 are the widths of fastMRI's knees. A test may build fewer.
#ifdef CSMRI_LINE_SPLITS
using LineSplits = SplitList<CSMRI_LINE_SPLITS>;
#else
using LineSplits =
    SplitList<Split<8, 16>, Split<10, 16>, Split<12, 16>, Split<14, 16>, Split<15, 16>, Split<16, 16>, Split<16, 18>,
              Split<16, 20>, Split<16, 22>, Split<16, 23>, Split<12, 31>, Split<16, 24>, Split<18, 22>, Split<20, 20>,
              Split<16, 28>, Split<20, 24>, Split<16, 32>, Split<20, 32>, Split<24, 32> >;
#endif

// launch_one(split) for the entry with n = R1 R2; false if there is none.
template <class LaunchOne, class... Splits>
bool for_length(int n, SplitList<Splits...>, const LaunchOne& launch_one) {
  return ((n == Splits::kLength && (launch_one(Splits{}), true)) || ...);
}

// Lines in a block, all of whose threads have work: 8 columns; as many rows as leave every multiprocessor four blocks.
inline int lines_per_block(const LinePass<float>& pass) {
  if (!pass.along_x) return kMaxLines;
  const int rows = pass.images * pass.lanes, wanted = 4 * multiprocessors();
  return rows / 8 >= wanted ? 8 : rows / 4 >= wanted ? 4 : 2;
}

template <class S>
LaunchShape line_shape(const LinePass<float>& pass, bool backward, cudaStream_t stream) {
  using Geometry = LineGeometry<S::kFirst, S::kSecond>;
  const int lines = lines_per_block(pass);
  const int blocks =
      pass.along_x ? (pass.images * pass.lanes + lines - 1) / lines : pass.images * ((pass.lanes + lines - 1) / lines);
  const std::size_t sums_bytes = backward ? kMaxLines * S::kFirst * sizeof(float) : 0;
  return {dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(lines * Geometry::kThreads)),
          Geometry::kTileElements * sizeof(float2) + sums_bytes, stream};
}

}  // namespace csmri

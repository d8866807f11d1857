// A complex image between the transforms of its rows and those of its columns, in scratch: (blocks, ny, 2, kLanes), a
// block being kLanes columns. A block is a line buffer that is transformed where it lies. Rows come in, transposed in
// registers, kLanes at a time; columns go out, two vectors at a time. So memory is read along rows, no pass copies
// lines, and where a frequency belongs, and its factor of centring, is part of the moves.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "fft/blocks.hpp"
#include "fft/transpose.hpp"

namespace csmri {
inline namespace CSMRI_LEVEL {

template <class T>
class ColumnBlocks {
 public:
  ColumnBlocks(T* values, std::int64_t ny, std::int64_t nx) : values_(values), ny_(ny), nx_(nx) {}

  static std::int64_t n_values(std::int64_t ny, std::int64_t nx) {
    return ceil_div(nx, kLanes<T>) * ny * 2 * kLanes<T>;
  }
  Line<T> block(std::int64_t i) const { return reinterpret_cast<Line<T>>(values_) + i * ny_; }
  std::int64_t n_blocks() const { return ceil_div(nx_, kLanes<T>); }

  // `count` rows, the lanes of column(e) for each column e; lane l becomes row place(l). Meanwhile what is read
  // next is fetched.
  template <class Column, class Place>
  void put_rows(int count, const Column& column, const Place& place, const ReadNext<T>& next) const {
    constexpr int L = kLanes<T>;
    for (std::int64_t i = 0; i < n_blocks(); ++i) {
      Vec<T> re[L], im[L];
      CSMRI_UNROLL
      for (int c = 0; c < L; ++c) {
        const std::int64_t e = i * L + c;
        const Complex<Vec<T>> z = e < nx_ ? column(e) : Complex<Vec<T>>{};
        re[c] = z.re, im[c] = z.im;
      }
      transpose<T>(re);
      transpose<T>(im);
      next.fetch(i, n_blocks());
      const Line<T> to = block(i);
      for (int l = 0; l < count; ++l) to[place(l)] = {re[l], im[l]};
    }
  }
  // Block i of the columns of an image (ny, nx, 2): row(y) for each of its rows.
  template <class Row>
  void store_columns(T* image, std::int64_t i, bool streamed, const Row& row) const {
    constexpr int L = kLanes<T>;
    T* to = image + 2 * i * L;
    const std::int64_t columns = std::min<std::int64_t>(L, nx_ - i * L);
    if (columns < L) {
      T values[2 * L];
      for (std::int64_t y = 0; y < ny_; ++y, to += 2 * nx_) {
        store_complex<false>(values, row(y));
        std::memcpy(to, values, static_cast<std::size_t>(columns) * 2 * sizeof(T));
      }
    } else if (streamed) {
      for (std::int64_t y = 0; y < ny_; ++y, to += 2 * nx_) store_complex<true>(to, row(y));
      stream_fence();
    } else {
      for (std::int64_t y = 0; y < ny_; ++y, to += 2 * nx_) store_complex<false>(to, row(y));
    }
  }

 private:
  T* values_;
  std::int64_t ny_, nx_;
};

// put(e, z): element e of up to kLanes rows of n interleaved complex numbers, one row a lane; an e may come twice.
template <class T, class Put>
void load_elements(const T* rows, std::int64_t row_stride, int count, std::int64_t n, const Put& put) {
  constexpr int L = kLanes<T>;
  if (2 * n < L) {
    for (std::int64_t e = 0; e < n; ++e) {
      Complex<Vec<T>> z{};
      for (int l = 0; l < count; ++l)
        z.re[l] = rows[l * row_stride + 2 * e], z.im[l] = rows[l * row_stride + 2 * e + 1];
      put(e, z);
    }
    return;
  }
  touch_rows(rows, row_stride, count, 2 * n);
  for (std::int64_t e = 0; e < n; e += L / 2) {
    const std::int64_t at = std::min(e, n - L / 2);
    Vec<T> r[L];
    for (int l = 0; l < L; ++l) r[l] = l < count ? load(rows + l * row_stride + 2 * at) : Vec<T>{};
    transpose<T>(r);
    for (int i = 0; i < L / 2; ++i) put(at + i, Complex<Vec<T>>{r[2 * i], r[2 * i + 1]});
  }
}

// How many images are between their transforms at a time: each thread has its own, where there are enough.
inline std::int64_t images_at_once(std::int64_t n, int threads) { return n < threads ? 1 : threads; }

// rows(image, place, block, buffers) for the blocks of rows of each of n images, then columns(image, place, block,
// buffers) for those of its columns; `place` is which of the images that are between their transforms.
template <class T, class Rows, class Columns>
void transform_images(const KspaceShape& s, std::int64_t n, const Workspace& work, const Rows& rows,
                      const Columns& columns) {
  const std::int64_t row_blocks = ceil_div(s.ny, kLanes<T>), column_blocks = ceil_div(s.nx, kLanes<T>);
  const std::int64_t apart = n / work.threads * work.threads;
  parallel_tasks(apart, work.threads, [&](std::int64_t image, int thread) {
    const LineBuffers<T> buffers(s, work, thread);
    for (std::int64_t block = 0; block < row_blocks; ++block) rows(image, thread, block, buffers);
    for (std::int64_t block = 0; block < column_blocks; ++block) columns(image, thread, block, buffers);
  });
  for (std::int64_t image = apart; image < n; ++image) {  // all threads share the work on what is left
    for_blocks<T>(s, 1, row_blocks, work, [&](std::int64_t, std::int64_t block, const LineBuffers<T>& buffers) {
      rows(image, 0, block, buffers);
    });
    for_blocks<T>(s, 1, column_blocks, work, [&](std::int64_t, std::int64_t block, const LineBuffers<T>& buffers) {
      columns(image, 0, block, buffers);
    });
  }
}

}  // namespace CSMRI_LEVEL
}  // namespace csmri

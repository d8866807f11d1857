// K-space into the packed form that the other kernels read, and back. Once per image, not once per stage.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "data_consistency/data_consistency.hpp"
#include "fft/blocks.hpp"
#include "fft/transpose.hpp"

namespace csmri {

namespace {

constexpr std::int64_t kGroupBytes = std::int64_t{1} << 20;
constexpr std::int64_t kRowsAhead = 4;  // of the row that is gathered, to be fetched

// Where along a line the masks acquire, in the order of centred k-space: samples are neighbours in this order, and
// neighbours in k-space are read together. In scratch, listed once for each mask.
template <class T>
struct Acquired {
  std::int64_t n_masks, n;
  std::int32_t* places;  // (n_masks, n)
  std::int32_t* counts;  // (n_masks)
  T* rows;               // Axes::x: (group, ny, row_size), what is acquired of the rows of a group of images
  std::int64_t row_size, group, bytes;

  Acquired(const KspaceShape& s, void* scratch, int threads)
      : n_masks(ceil_div(s.batch, s.batch_per_mask)), n(s.axes == Axes::xy ? 0 : n_elements(s, line_axis(s))) {
    ScratchCursor cursor(scratch);
    cursor.take<char>(threads * line_scratch_bytes(s.ny, s.nx));  // LineBuffers
    places = cursor.take<std::int32_t>(n_masks * n);
    counts = cursor.take<std::int32_t>(n_masks);
    row_size = 2 * (n + kLanes<T>);
    group = std::clamp<std::int64_t>(kGroupBytes / (s.ny * row_size * std::int64_t{sizeof(T)}), 1, s.batch);
    rows = cursor.take<T>(s.axes == Axes::x ? group * s.ny * row_size : 0);
    bytes = cursor.bytes();
  }
  void list(const T* mask) const {
    for (std::int64_t i = 0; i < n_masks; ++i) {
      std::int32_t count = 0;
      for (std::int32_t place = 0; place < n; ++place)
        if (mask[i * n + place] != 0) places[i * n + count++] = place;
      counts[i] = count;
    }
  }
};

// Up to kLanes acquired places, the first of which has this position among all.
struct Chunk {
  const std::int32_t* places;
  int count;
  std::int64_t position;
};

// Axes::x and Axes::y: along the line axis frequencies are permuted and scaled, along the other one transformed.
template <class T>
struct HybridSpace {
  const KspaceShape& s;
  const LinePlan<T>& line;                  // plan of the line axis
  const LinePlan<T>& across;                // plan of the other axis, whose transform pack takes
  std::int64_t line_stride, across_stride;  // in k-space, complex numbers
  T scale;                                  // of a unitary transform across

  explicit HybridSpace(const KspaceShape& shape)
      : s(shape),
        line(line_plan<T>(static_cast<int>(n_elements(s, line_axis(s))))),
        across(line_plan<T>(static_cast<int>(n_lines(s, line_axis(s))))),
        line_stride(s.axes == Axes::x ? 1 : s.nx),
        across_stride(s.axes == Axes::x ? s.nx : 1),
        scale(static_cast<T>(1 / std::sqrt(static_cast<double>(across.n)))) {}

  // f(batch item, chunk, its mask, buffers) for items first ... last - 1
  template <class F>
  void for_acquired(const Acquired<T>& acquired, const T* mask, std::int64_t begin, std::int64_t end,
                    const Workspace& work, const F& f) const {
    for_blocks<T>(s, end - begin, ceil_div(line.n, kLanes<T>), work,
                  [&](std::int64_t i, std::int64_t block, const LineBuffers<T>& buffers) {
                    const std::int64_t item = begin + i, of = item / s.batch_per_mask, first = block * kLanes<T>;
                    const std::int64_t count = std::min<std::int64_t>(acquired.counts[of] - first, kLanes<T>);
                    if (count <= 0) return;
                    f(item, Chunk{acquired.places + of * line.n + first, static_cast<int>(count), first},
                      mask + of * line.n, buffers);
                  });
  }
  // The factors between k-space and samples at the places of a chunk: weight, centring, transform across.
  Complex<Vec<T>> factors(const T* mask, const Chunk& chunk) const {
    Complex<Vec<T>> f{};
    for (int lane = 0; lane < chunk.count; ++lane) {
      const int place = chunk.places[lane], slot = line.slot[place];
      const T m = scale * mask[place];
      f.re[lane] = m * line.centring[2 * slot];
      f.im[lane] = m * line.centring[2 * slot + 1];
    }
    return f;
  }
  // Axes::y: element `place` across, of the rows of a chunk.
  Complex<Vec<T>> load_rows(const T* kspace, const Chunk& chunk, int place) const {
    const T* y = kspace + 2 * place;
    T values[2 * kLanes<T>] = {};
    for (int lane = 0; lane < chunk.count; ++lane)
      std::memcpy(values + 2 * lane, y + 2 * chunk.places[lane] * s.nx, 2 * sizeof(T));
    return load_complex(values);
  }
  // Axes::x: rows of k-space are read in the order of memory, and what is acquired of them is kept.
  void gather_columns(const Acquired<T>& acquired, const T* kspace, std::int64_t begin, std::int64_t end,
                      const Workspace& work) const {
    parallel_runs((end - begin) * s.ny, work.threads, [&](std::int64_t, std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row) {
        const std::int64_t of = (begin + row / s.ny) / s.batch_per_mask;
        const std::int32_t* places = acquired.places + of * line.n;
        const T* from = kspace + (begin * s.ny + row) * s.nx * 2;
        T* to = acquired.rows + row * acquired.row_size;
        if (row + kRowsAhead < last)
          ReadNext<T>{from + kRowsAhead * 2 * s.nx, from + (kRowsAhead + 1) * 2 * s.nx}.fetch(0, 1);
        for (std::int32_t p = 0; p < acquired.counts[of]; ++p)
          std::memcpy(to + 2 * p, from + 2 * std::int64_t{places[p]}, 2 * sizeof(T));
        for (std::int32_t p = acquired.counts[of] * 2; p % (2 * kLanes<T>); ++p) to[p] = 0;
      }
    });
  }
  // Real part of the sample of an acquired place, by its position, and a lane; the imaginary part is kTile later.
  std::int64_t sample_offset(std::int64_t item, std::int64_t position, std::int64_t lane) const {
    return ((item * n_tiles(s) + lane / kTile) * line.n + position) * 2 * kTile + lane % kTile;
  }
  // The element of a transform across that is element i of the centred one.
  int source(int i) const { return i < across.n / 2 ? i + across.n - across.n / 2 : i - across.n / 2; }
};

template <class T>
void pack_hybrid(const PackArgs<T>& a, const Workspace& work) {
  constexpr int L = kLanes<T>;
  const KspaceShape& s = a.shape;
  const HybridSpace<T> h(s);
  const Acquired<T> acquired(s, work.scratch, work.threads);
  acquired.list(a.mask);
  const auto pack_chunk = [&](std::int64_t item, std::int64_t in_group, const Chunk& chunk, const T* m,
                              const LineBuffers<T>& buffers) {
    const Line<T> w = buffers.first;
    const T* kspace = a.kspace + item * s.ny * s.nx * 2;
    const T* rows = acquired.rows + in_group * s.ny * acquired.row_size + 2 * chunk.position;
    for (int t = 0; t < h.across.n; ++t) {
      const int place = h.across.centred[t];
      w[t] = s.axes == Axes::x ? load_complex(rows + place * acquired.row_size) : h.load_rows(kspace, chunk, place);
    }
    inverse_line(h.across, w, buffers.work);
    const Complex<Vec<T>> f = h.factors(m, chunk);
    for (int lane = 0; lane < n_tiles(s) * kTile; lane += L) {
      Vec<T> re[L], im[L];
      for (int l = 0; l < L; ++l) {
        Complex<Vec<T>> v{};
        if (lane + l < h.across.n) {
          const Complex<Vec<T>> z = w[h.source(lane + l)];
          v = {z.re * f.re - z.im * f.im, z.im * f.re + z.re * f.im};
        }
        re[l] = v.re, im[l] = v.im;
      }
      transpose<T>(re);
      transpose<T>(im);
      for (int p = 0; p < chunk.count; ++p) {
        T* to = a.samples + h.sample_offset(item, chunk.position + p, lane);
        store(to, re[p]);
        store(to + kTile, im[p]);
      }
    }
  };
  for (std::int64_t begin = 0; begin < s.batch; begin += acquired.group) {
    const std::int64_t end = std::min(begin + acquired.group, s.batch);
    if (s.axes == Axes::x) h.gather_columns(acquired, a.kspace, begin, end, work);
    h.for_acquired(acquired, a.mask, begin, end, work,
                   [&](std::int64_t item, const Chunk& chunk, const T* m, const LineBuffers<T>& buffers) {
                     pack_chunk(item, item - begin, chunk, m, buffers);
                   });
  }
}

template <class T>
void unpack_hybrid(const PackArgs<T>& a, const Workspace& work) {
  const HybridSpace<T> h(a.shape);
  const Acquired<T> acquired(a.shape, work.scratch, work.threads);
  acquired.list(a.mask);
  const auto unpack_chunk = [&](std::int64_t item, const Chunk& chunk, const T* m, const LineBuffers<T>& buffers) {
    for (int i = 0; i < h.across.n; ++i) {
      Complex<Vec<T>>& w = buffers.first[h.source(i)] = Complex<Vec<T>>{};
      for (int p = 0; p < chunk.count; ++p) {
        const T* from = a.samples + h.sample_offset(item, chunk.position + p, i);
        w.re[p] = from[0];
        w.im[p] = from[kTile];
      }
    }
    forward_line(h.across, buffers.first, buffers.work);
    const Complex<Vec<T>> f = h.factors(m, chunk);
    T* kspace = a.kspace + item * a.shape.ny * a.shape.nx * 2;
    for (int t = 0; t < h.across.n; ++t) {
      const Complex<Vec<T>> z = buffers.first[t];
      const Complex<Vec<T>> v = {z.re * f.re + z.im * f.im, z.im * f.re - z.re * f.im};
      for (int p = 0; p < chunk.count; ++p) {
        T* to = kspace + 2 * (chunk.places[p] * h.line_stride + h.across.centred[t] * h.across_stride);
        to[0] = v.re[p];
        to[1] = v.im[p];
      }
    }
  };
  h.for_acquired(acquired, a.mask, 0, a.shape.batch, work, unpack_chunk);
}

// Axes::xy: a row of slots of a batch item, and where it lies in k-space and in the mask.
template <class T>
struct SlotRow {
  const KspaceShape& s;
  const LinePlan<T>&x, &y;
  std::int64_t item, slot;

  std::int64_t in_kspace() const { return (item * s.ny + y.centred[slot]) * s.nx; }
  std::int64_t in_mask() const { return (item / s.batch_per_mask * s.ny + y.centred[slot]) * s.nx; }
  // Tile after tile lies this far apart among weights, and twice as far among samples, whose tiles are pairs of real
  // and of imaginary parts.
  std::int64_t tile_step() const { return s.ny * kTile; }
  std::int64_t in_weights() const { return (item / s.batch_per_mask * n_tiles(s) * s.ny + slot) * kTile; }
  std::int64_t in_samples() const { return (item * n_tiles(s) * s.ny + slot) * 2 * kTile; }
  // Factors of centring of the slots from `first`, 0 beyond the last one.
  Complex<Vec<T>> centring(std::int64_t first) const {
    constexpr int L = kLanes<T>;
    T last[2 * L] = {};
    const T* of_x = x.centring + 2 * first;
    if (first + L > s.nx) {
      if (first < s.nx) std::copy(of_x, x.centring + 2 * s.nx, last);
      of_x = last;
    }
    return rotate<1>(load_complex(of_x), y.centring[2 * slot], y.centring[2 * slot + 1]);
  }
};
// f(row, run) for every row: what is read lies in one row, and what is written fills cache lines.
template <class T, class F>
void for_slot_rows(const KspaceShape& s, const Workspace& work, const F& f) {
  const LinePlan<T>&x = line_plan<T>(static_cast<int>(s.nx)), &y = line_plan<T>(static_cast<int>(s.ny));
  parallel_runs(s.batch * s.ny, work.threads, [&](std::int64_t run, std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row)
      f(SlotRow<T>{s, x, y, row / s.ny, row % s.ny}, static_cast<int>(run));
  });
}

// The weights of a row of slots, one tile a step; 0 beyond the last slot.
template <class T>
void order_weights(const LinePlan<T>& x, const T* mask, T* to, std::int64_t step) {
  for (int first = 0; first < x.n; first += kTile, to += step) {
    const int count = std::min(kTile, x.n - first);
    for (int i = 0; i < count; ++i) to[i] = mask[x.centred[first + i]];
    std::fill(to + count, to + kTile, T(0));
  }
}

template <class T>
void pack_points(const PackArgs<T>& a, const Workspace& work) {
  constexpr int L = kLanes<T>;
  for_slot_rows<T>(a.shape, work, [&](const SlotRow<T>& row, int run) {
    const LineBuffers<T> buffers(a.shape, work, run);
    const T* y = a.kspace + 2 * row.in_kspace();
    T *values = reinterpret_cast<T*>(buffers.first), *ordered = reinterpret_cast<T*>(buffers.second);
    for (int slot = 0; slot < row.x.n; ++slot)  // apart from what follows, which reads more at once than this writes
      std::memcpy(values + 2 * slot, y + 2 * row.x.centred[slot], 2 * sizeof(T));
    if (!a.weights) order_weights(row.x, a.mask + row.in_mask(), ordered, kTile);
    const T* weights = a.weights ? a.weights + row.in_weights() : ordered;
    const std::int64_t step = a.weights ? row.tile_step() : kTile;
    T* samples = a.samples + row.in_samples();
    for (std::int64_t tile = 0; tile < n_tiles(a.shape); ++tile, weights += step, samples += 2 * row.tile_step()) {
      for (int i = 0; i < kTile; i += L) {
        const Complex<Vec<T>> f = row.centring(tile * kTile + i), v = load_complex(values + 2 * (tile * kTile + i));
        const Vec<T> m = load(weights + i), zero{};
        const Complex<Vec<T>> w = {m != zero ? m * v.re : zero, m != zero ? m * v.im : zero};  // NaN or not
        store(samples + i, w.re * f.re - w.im * f.im);
        store(samples + kTile + i, w.re * f.im + w.im * f.re);
      }
    }
  });
}

template <class T>
void unpack_points(const PackArgs<T>& a, const Workspace& work) {
  constexpr int L = kLanes<T>;
  for_slot_rows<T>(a.shape, work, [&](const SlotRow<T>& row, int run) {
    const LineBuffers<T> buffers(a.shape, work, run);
    const T* mask = a.mask + row.in_mask();
    T *y = a.kspace + 2 * row.in_kspace(), *values = reinterpret_cast<T*>(buffers.first);
    const T* samples = a.samples + row.in_samples();
    for (std::int64_t tile = 0; tile < n_tiles(a.shape); ++tile, samples += 2 * row.tile_step()) {
      for (int i = 0; i < kTile; i += L) {
        const std::int64_t first = tile * kTile + i;
        const Complex<Vec<T>> f = row.centring(first), w = {load(samples + i), load(samples + kTile + i)};
        store_complex<false>(values + 2 * first, Complex<Vec<T>>{w.re * f.re + w.im * f.im, w.im * f.re - w.re * f.im});
      }
    }
    for (int slot = 0; slot < row.x.n; ++slot) {
      const std::int64_t place = row.x.centred[slot];
      y[2 * place] = mask[place] * values[2 * slot];
      y[2 * place + 1] = mask[place] * values[2 * slot + 1];
    }
  });
}

}  // namespace

template <Simd L, class T>
void data_consistency_pack_cpu(const PackArgs<T>& a, const Workspace& work) {
  a.shape.axes == Axes::xy ? pack_points(a, work) : pack_hybrid(a, work);
}

template <Simd L, class T>
void data_consistency_unpack_cpu(const PackArgs<T>& a, const Workspace& work) {
  a.shape.axes == Axes::xy ? unpack_points(a, work) : unpack_hybrid(a, work);
}

template <Simd L, class T>
void data_consistency_pack_mask_cpu(const PackMaskArgs<T>& a, const Workspace& work) {
  const KspaceShape& s = a.shape;
  if (s.axes == Axes::xy) {
    for_slot_rows<T>(s, work, [&](const SlotRow<T>& row, int) {
      order_weights(row.x, a.mask + row.in_mask(), a.weights + row.in_weights(), row.tile_step());
    });
    return;
  }
  const LinePlan<T>& plan = line_plan<T>(static_cast<int>(n_elements(s, line_axis(s))));
  for (std::int64_t mask = 0; mask < s.batch; ++mask) {
    int position = 0;
    for (int place = 0; place < plan.n; ++place) {
      const T m = a.mask[mask * plan.n + place];
      T* weight = a.weights + (mask * plan.n + plan.slot[place]) * 2;
      weight[0] = m;
      weight[1] = static_cast<T>(m != 0 ? position++ : -1);
    }
  }
}

template <Simd L, class T>
std::int64_t data_consistency_pack_scratch_bytes(const PackArgs<T>& a, int threads) {
  return Acquired<T>(a.shape, nullptr, threads).bytes;
}

template void data_consistency_pack_cpu<kSimd, float>(const PackArgs<float>&, const Workspace&);
template void data_consistency_pack_cpu<kSimd, double>(const PackArgs<double>&, const Workspace&);
template void data_consistency_unpack_cpu<kSimd, float>(const PackArgs<float>&, const Workspace&);
template void data_consistency_unpack_cpu<kSimd, double>(const PackArgs<double>&, const Workspace&);
template void data_consistency_pack_mask_cpu<kSimd, float>(const PackMaskArgs<float>&, const Workspace&);
template void data_consistency_pack_mask_cpu<kSimd, double>(const PackMaskArgs<double>&, const Workspace&);

template std::int64_t data_consistency_pack_scratch_bytes<kSimd>(const PackArgs<float>&, int);
template std::int64_t data_consistency_pack_scratch_bytes<kSimd>(const PackArgs<double>&, int);

}  // namespace csmri

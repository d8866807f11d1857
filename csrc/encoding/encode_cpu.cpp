// Two passes over each coil image, columns and rows, a few coil images after the other so that the second pass finds in
// the cache what the first has left. encode: image and maps are read and multiplied in the first pass, k-space is
// masked in the second, and nothing but k-space is written. encode_adjoint the other way round; its second pass adds up
// the coils of a block of columns. Where the mask is one of columns, encode_adjoint takes only those that were acquired
// through its first pass, along y, and adds up the coils of a block of rows. Floor: 8 bytes for each element of the
// maps and of k-space.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/instantiate.hpp"
#include "encoding/encode.hpp"
#include "fft/blocks.hpp"
#include "fft/transpose.hpp"

namespace csmri {

namespace {

constexpr std::int64_t kGroupBytes = std::int64_t{1} << 20;  // of coil images that go through both passes together

template <class T>
KspaceShape shape_of(const EncodeArgs<T>& a) {
  return {a.images * a.coils, 1, 1, a.ny, a.nx, Axes::xy};
}
// Interleaved complex images side by side, as lines along an axis.
template <class T>
Lines<T> lines_at(T* images, const KspaceShape& s, std::int64_t image, Along along) {
  return lines_of(ComplexImages<T>{images, images + 1, 2 * s.ny * s.nx, 0, 2 * s.nx, 2}, s, image, along);
}
template <class T>
const T* maps_of(const EncodeArgs<T>& a, std::int64_t image) {
  return a.sens_maps + image * a.sens_maps_stride;
}

// --- between frequencies in slot order and centred k-space, with the factor of the shift of the image ----------------
template <class T>
void to_centred(const LinePlan<T>& plan, const Complex<Vec<T>>* slots, Line<T> centred) {
  const T scale = T(1) / static_cast<T>(plan.n);
  for (int s = 0; s < plan.n; ++s)
    centred[plan.centred[s]] = rotate<-1>(slots[s], scale * plan.centring[2 * s], scale * plan.centring[2 * s + 1]);
}
template <class T>
void to_slots(const LinePlan<T>& plan, const Complex<Vec<T>>* centred, Line<T> slots) {
  const T scale = T(1) / static_cast<T>(plan.n);
  for (int s = 0; s < plan.n; ++s)
    slots[s] = rotate<1>(centred[plan.centred[s]], scale * plan.centring[2 * s], scale * plan.centring[2 * s + 1]);
}

// --- weights of rows of k-space --------------------------------------------------------------------------------------
template <class T>
Complex<Vec<T>> weighted(Vec<T> m, Complex<Vec<T>> z) {
  const Vec<T> zero{};
  return {m != zero ? m * z.re : zero, m != zero ? m * z.im : zero};
}
template <class T>
void apply_mask(const EncodeArgs<T>& a, std::int64_t coil_image, std::int64_t first, Line<T> w) {
  if (!a.mask) return;
  const std::int64_t size = (a.mask_row_stride ? a.ny : 1) * (a.mask_column_stride ? a.nx : 1);
  const T* mask = a.mask + coil_image / a.coil_images_per_mask * size;
  const int count = static_cast<int>(std::min<std::int64_t>(kLanes<T>, a.ny - first));
  if (!a.mask_row_stride) {
    for (std::int64_t e = 0; e < a.nx; ++e) w[e] = weighted<T>(broadcast(mask[e * a.mask_column_stride]), w[e]);
    return;
  }
  mask += first * a.mask_row_stride;
  if (!a.mask_column_stride) {
    const Vec<T> m = load_first(mask, count);
    for (std::int64_t e = 0; e < a.nx; ++e) w[e] = weighted<T>(m, w[e]);
    return;
  }
  for (std::int64_t e = 0; e < a.nx; ++e) {
    Vec<T> m{};
    for (int l = 0; l < count; ++l) m[l] = mask[l * a.mask_row_stride + e];
    w[e] = weighted<T>(m, w[e]);
  }
}

// sum <- sum + conj(maps) z, from nothing with the first coil.
template <class T>
void add_coil(const EncodeArgs<T>& a, std::int64_t coil, const Complex<Vec<T>>* z, const Complex<Vec<T>>* maps,
              Line<T> sum, int n) {
  if (!a.sens_maps) {
    std::copy(z, z + n, sum);
    return;
  }
  for (int e = 0; e < n; ++e) {
    const Complex<Vec<T>> m = maps[e], x = z[e];
    const Complex<Vec<T>> term = {m.re * x.re + m.im * x.im, m.re * x.im - m.im * x.re};
    sum[e] = coil ? sum[e] + term : term;
  }
}

// f(first, next): coil images in groups.
template <class T, class F>
void for_groups(const EncodeArgs<T>& a, std::int64_t unit, const F& f) {
  const std::int64_t total = a.images * a.coils, bytes = 2 * unit * a.ny * a.nx * std::int64_t{sizeof(T)};
  const std::int64_t group = unit * std::max<std::int64_t>(1, kGroupBytes / bytes);
  for (std::int64_t first = 0; first < total; first += group) f(first, std::min(first + group, total));
}

template <class T>
bool of_columns(const EncodeArgs<T>& a) {
  return a.mask && !a.mask_row_stride && a.mask_column_stride;
}

// Scratch of encode_adjoint: lines of the threads, and coil images of a group; without coils these are made in place.
// For masks of columns: which columns each mask acquires; of a group of coil images what was acquired, by rows; and the
// acquired columns of all coils of an image, transformed along y: (coils, row blocks, columns, 2, kLanes).
template <class T>
struct AdjointScratch {
  T *coil_images, *acquired, *columns;
  std::int32_t *places, *counts;
  std::int64_t n_masks, row_size, row_blocks, group, bytes;

  AdjointScratch(const EncodeArgs<T>& a, void* scratch, int threads)
      : n_masks(of_columns(a) ? ceil_div(a.images * a.coils, a.coil_images_per_mask) : 0),
        row_size(2 * (a.nx + kLanes<T>)),
        row_blocks(ceil_div(a.ny, kLanes<T>)),
        group(std::clamp<std::int64_t>(kGroupBytes / (a.ny * row_size * std::int64_t{sizeof(T)}), 1, a.coils)) {
    const std::int64_t bytes_of_image = 2 * a.coils * a.ny * a.nx * std::int64_t{sizeof(T)};
    const std::int64_t images = std::clamp<std::int64_t>(kGroupBytes / bytes_of_image, 1, a.images);
    ScratchCursor cursor(scratch);
    cursor.take<char>(threads * line_scratch_bytes(a.ny, a.nx));  // LineBuffers
    coil_images = cursor.take<T>(a.coils > 1 && !n_masks ? 2 * images * a.coils * a.ny * a.nx : 0);
    places = cursor.take<std::int32_t>(n_masks * a.nx);
    counts = cursor.take<std::int32_t>(n_masks);
    acquired = cursor.take<T>(n_masks ? group * a.ny * row_size : 0);
    columns = cursor.take<T>(n_masks ? a.coils * row_blocks * a.nx * 2 * kLanes<T> : 0);
    bytes = cursor.bytes();
  }
};

// encode_adjoint for masks of columns.
template <class T>
struct AcquiredColumns {
  const EncodeArgs<T>& a;
  const Workspace& work;
  const AdjointScratch<T> scratch;
  const LinePlan<T>&rows, &columns;
  const KspaceShape s;

  AcquiredColumns(const EncodeArgs<T>& args, const Workspace& workspace)
      : a(args),
        work(workspace),
        scratch(args, workspace.scratch, workspace.threads),
        rows(line_plan<T>(static_cast<int>(args.nx))),
        columns(line_plan<T>(static_cast<int>(args.ny))),
        s(shape_of(args)) {
    for (std::int64_t mask = 0; mask < scratch.n_masks; ++mask) {
      std::int32_t count = 0;
      for (std::int32_t place = 0; place < a.nx; ++place)
        if (a.mask[mask * a.nx + place] != 0) scratch.places[mask * a.nx + count++] = place;
      scratch.counts[mask] = count;
    }
  }
  std::int64_t mask_of(std::int64_t coil_image) const { return coil_image / a.coil_images_per_mask; }
  // The columns of a block of rows, (count, 2, kLanes).
  T* block_of(std::int64_t coil, std::int64_t block) const {
    return scratch.columns + (coil * scratch.row_blocks + block) * a.nx * 2 * kLanes<T>;
  }

  // Rows of k-space are read in the order of memory, and what is acquired of them is kept.
  void gather(std::int64_t begin, std::int64_t end) const {
    parallel_runs((end - begin) * a.ny, work.threads, [&](std::int64_t, std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row) {
        const std::int64_t mask = mask_of(begin + row / a.ny);
        const std::int32_t* places = scratch.places + mask * a.nx;
        const T* from = a.kspace + (begin * a.ny + row) * a.nx * 2;
        T* to = scratch.acquired + row * scratch.row_size;
        const std::int32_t count = scratch.counts[mask];
        for (std::int32_t i = 0; i < count; ++i)
          std::memcpy(to + 2 * i, from + 2 * std::int64_t{places[i]}, 2 * sizeof(T));
        std::memset(to + 2 * count, 0, 2 * kLanes<T> * sizeof(T));
      }
    });
  }
  // Up to kLanes columns of coil image begin + i, from `first`: along y, then what x asks of each column.
  void transform(std::int64_t begin, std::int64_t i, std::int64_t first, const LineBuffers<T>& buffers) const {
    constexpr int L = kLanes<T>;
    const std::int64_t mask = mask_of(begin + i), count = std::min<std::int64_t>(scratch.counts[mask] - first, L);
    if (count <= 0) return;
    const Line<T> centred = buffers.first, w = buffers.second;
    const T* from = scratch.acquired + i * a.ny * scratch.row_size + 2 * first;
    for (std::int64_t y = 0; y < a.ny; ++y) centred[y] = load_complex(from + y * scratch.row_size);
    to_slots(columns, centred, w);
    inverse_line(columns, w, buffers.work);
    Vec<T> re{}, im{};  // of the factors
    for (int lane = 0; lane < count; ++lane) {
      const std::int32_t place = scratch.places[mask * a.nx + first + lane];
      const T weight = a.mask[mask * a.nx + place] / static_cast<T>(a.nx);
      re[lane] = weight * rows.centring[2 * rows.slot[place]];
      im[lane] = weight * rows.centring[2 * rows.slot[place] + 1];
    }
    for (std::int64_t block = 0; block < scratch.row_blocks; ++block) {
      Vec<T> r[L], j[L];
      for (int l = 0; l < L; ++l) {
        const std::int64_t y = block * L + l;
        const Complex<Vec<T>> z = y < a.ny ? w[y] : Complex<Vec<T>>{};
        r[l] = z.re * re - z.im * im, j[l] = z.im * re + z.re * im;
      }
      transpose<T>(r);
      transpose<T>(j);
      T* to = block_of((begin + i) % a.coils, block) + first * 2 * L;
      for (int p = 0; p < count; ++p) {
        store(to + 2 * p * L, r[p]);
        store(to + (2 * p + 1) * L, j[p]);
      }
    }
  }
  // A block of rows of an image: along x, and the sum over coils.
  void combine(std::int64_t image, std::int64_t block, const LineBuffers<T>& buffers) const {
    constexpr int L = kLanes<T>;
    const Line<T> w = buffers.first, maps = buffers.second, sum = buffers.third;
    for (std::int64_t coil = 0; coil < a.coils; ++coil) {
      const std::int64_t mask = mask_of(image * a.coils + coil);
      const T* from = block_of(coil, block);
      std::fill(w, w + a.nx, Complex<Vec<T>>{});
      for (std::int32_t i = 0; i < scratch.counts[mask]; ++i)
        w[rows.slot[scratch.places[mask * a.nx + i]]] = {load(from + 2 * i * L), load(from + (2 * i + 1) * L)};
      inverse_line(rows, w, buffers.work);
      if (a.sens_maps) load_lines(lines_at(maps_of(a, image), s, coil, Along::x), block * L, maps);
      add_coil(a, coil, w, maps, sum, rows.n);
    }
    store_lines(lines_at(a.image, s, image, Along::x), block * L, sum);
  }
  void run() const {
    for (std::int64_t image = 0; image < a.images; ++image) {
      const std::int64_t end = (image + 1) * a.coils;
      for (std::int64_t begin = image * a.coils; begin < end; begin += scratch.group) {
        const std::int64_t n = std::min(scratch.group, end - begin);
        gather(begin, begin + n);
        for_blocks<T>(s, n, ceil_div(a.nx, kLanes<T>), work,
                      [&](std::int64_t i, std::int64_t block, const LineBuffers<T>& buffers) {
                        transform(begin, i, block * kLanes<T>, buffers);
                      });
      }
      for_blocks<T>(
          s, 1, scratch.row_blocks, work,
          [&](std::int64_t, std::int64_t block, const LineBuffers<T>& buffers) { combine(image, block, buffers); });
    }
  }
};

}  // namespace

template <Simd L, class T>
void encode_cpu(const EncodeArgs<T>& a, const Workspace& work) {
  const KspaceShape s = shape_of(a);
  const LinePlan<T>&rows = line_plan<T>(static_cast<int>(a.nx)), &columns = line_plan<T>(static_cast<int>(a.ny));
  for_groups(a, 1, [&](std::int64_t begin, std::int64_t end) {
    for_blocks<T>(s, end - begin, ceil_div(a.nx, kLanes<T>), work,
                  [&](std::int64_t i, std::int64_t block, const LineBuffers<T>& buffers) {
                    const std::int64_t coil_image = begin + i, first = block * kLanes<T>;
                    const std::int64_t image = coil_image / a.coils, coil = coil_image % a.coils;
                    const Line<T> w = buffers.first, maps = buffers.second;
                    load_lines(as_const(lines_at(a.image, s, image, Along::y)), first, w);
                    if (a.sens_maps) {
                      load_lines(lines_at(maps_of(a, image), s, coil, Along::y), first, maps);
                      for (int e = 0; e < columns.n; ++e) {
                        const Complex<Vec<T>> m = maps[e], x = w[e];
                        w[e] = {m.re * x.re - m.im * x.im, m.re * x.im + m.im * x.re};
                      }
                    }
                    forward_line(columns, w, buffers.work);
                    to_centred(columns, w, buffers.third);
                    store_lines(lines_at(a.kspace, s, coil_image, Along::y), first, buffers.third);
                  });
    for_blocks<T>(s, end - begin, ceil_div(a.ny, kLanes<T>), work,
                  [&](std::int64_t i, std::int64_t block, const LineBuffers<T>& buffers) {
                    const std::int64_t coil_image = begin + i, first = block * kLanes<T>;
                    const Lines<T> lines = lines_at(a.kspace, s, coil_image, Along::x);
                    load_lines(as_const(lines), first, buffers.first);
                    forward_line(rows, buffers.first, buffers.work);
                    to_centred(rows, buffers.first, buffers.second);
                    apply_mask(a, coil_image, first, buffers.second);
                    store_lines(lines, first, buffers.second);
                  });
  });
}

template <Simd L, class T>
void encode_adjoint_cpu(const EncodeArgs<T>& a, const Workspace& work) {
  if (of_columns(a)) return AcquiredColumns<T>(a, work).run();
  const KspaceShape s = shape_of(a);
  const LinePlan<T>&rows = line_plan<T>(static_cast<int>(a.nx)), &columns = line_plan<T>(static_cast<int>(a.ny));
  const AdjointScratch<T> call(a, work.scratch, work.threads);
  for_groups(a, a.coils, [&](std::int64_t begin, std::int64_t end) {
    T* coil_images = a.coils > 1 ? call.coil_images : a.image + begin * 2 * a.ny * a.nx;
    for_blocks<T>(s, end - begin, ceil_div(a.ny, kLanes<T>), work,
                  [&](std::int64_t i, std::int64_t block, const LineBuffers<T>& buffers) {
                    const std::int64_t coil_image = begin + i, first = block * kLanes<T>;
                    load_lines(as_const(lines_at(a.kspace, s, coil_image, Along::x)), first, buffers.first);
                    apply_mask(a, coil_image, first, buffers.first);
                    to_slots(rows, buffers.first, buffers.second);
                    inverse_line(rows, buffers.second, buffers.work);
                    store_lines(lines_at(coil_images, s, i, Along::x), first, buffers.second);
                  });
    for_blocks<T>(s, (end - begin) / a.coils, ceil_div(a.nx, kLanes<T>), work,
                  [&](std::int64_t i, std::int64_t block, const LineBuffers<T>& buffers) {
                    const std::int64_t image = begin / a.coils + i, first = block * kLanes<T>;
                    const Line<T> w = buffers.first, z = buffers.second, maps = buffers.third, sum = buffers.fourth;
                    for (std::int64_t coil = 0; coil < a.coils; ++coil) {
                      load_lines(as_const(lines_at(coil_images, s, i * a.coils + coil, Along::y)), first, w);
                      to_slots(columns, w, z);
                      inverse_line(columns, z, buffers.work);
                      if (a.sens_maps) load_lines(lines_at(maps_of(a, image), s, coil, Along::y), first, maps);
                      add_coil(a, coil, z, maps, sum, columns.n);
                    }
                    store_lines(lines_at(a.image, s, image, Along::y), first, sum);
                  });
  });
}

template <Simd L, class T>
std::int64_t encode_scratch_bytes(const EncodeArgs<T>& a, int threads) {
  return threads * line_scratch_bytes(a.ny, a.nx);
}
template <Simd L, class T>
std::int64_t encode_adjoint_scratch_bytes(const EncodeArgs<T>& a, int threads) {
  return AdjointScratch<T>(a, nullptr, threads).bytes;
}

CSMRI_INSTANTIATE_CPU(encode, EncodeArgs)
CSMRI_INSTANTIATE_CPU(encode_adjoint, EncodeArgs)

}  // namespace csmri

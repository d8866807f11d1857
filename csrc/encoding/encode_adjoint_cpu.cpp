// K-space to images: rows of a coil image are transformed and laid down as blocks of columns, which are transformed in
// the cache, multiplied by the conjugate maps and added up. Where the mask is one of columns, those that were acquired
// go first, along y, the others nowhere, and the coils of a block of rows are added up. Floor: 8 bytes for each element
// of the maps and of k-space.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/instantiate.hpp"
#include "encoding/coil_images.hpp"
#include "fft/column_blocks.hpp"

namespace csmri {

namespace {

constexpr std::int64_t kGroupBytes = std::int64_t{1} << 20;  // of coil images that are gathered together

// Interleaved complex images side by side, as lines along an axis.
template <class T>
Lines<T> lines_at(T* images, const KspaceShape& s, std::int64_t image, Along along) {
  return lines_of(ComplexImages<T>{images, images + 1, 2 * s.ny * s.nx, 0, 2 * s.nx, 2}, s, image, along);
}

// Weights of up to kLanes rows of k-space from `first`, one row a lane.
template <class T>
class RowWeights {
 public:
  RowWeights(const EncodeArgs<T>& a, std::int64_t coil_image, std::int64_t first, int count)
      : mask_(mask_of(a, coil_image) + first * a.mask_row_stride),
        row_stride_(a.mask_row_stride),
        column_stride_(a.mask_column_stride),
        count_(count) {}

  Vec<T> at(std::int64_t e) const {
    Vec<T> m{};
    for (int l = 0; l < count_; ++l) m[l] = mask_[l * row_stride_ + e * column_stride_];
    return m;
  }
  bool varies() const { return column_stride_ != 0; }

 private:
  const T* mask_;
  std::int64_t row_stride_, column_stride_;
  int count_;
};

// Centred frequencies to slots, with the factor of the shift of the image.
template <class T>
void to_slots(const LinePlan<T>& plan, const Complex<Vec<T>>* centred, Line<T> slots) {
  const T scale = T(1) / static_cast<T>(plan.n);
  for (int s = 0; s < plan.n; ++s)
    slots[s] = rotate<1>(centred[plan.centred[s]], scale * plan.centring[2 * s], scale * plan.centring[2 * s + 1]);
}

// sum <- sum + conj(maps) z, from nothing with the first coil.
template <class T>
void add_coil(std::int64_t coil, const Complex<Vec<T>>* z, const Complex<Vec<T>>* maps, Line<T> sum, int n) {
  for (int e = 0; e < n; ++e) {
    const Complex<Vec<T>> m = maps[e], x = z[e];
    const Complex<Vec<T>> term = {m.re * x.re + m.im * x.im, m.re * x.im - m.im * x.re};
    sum[e] = coil ? sum[e] + term : term;
  }
}

template <class T>
bool of_columns(const EncodeArgs<T>& a) {
  return a.mask && !a.mask_row_stride && a.mask_column_stride;
}

// Scratch: lines of the threads, and coil images between their transforms. For masks of columns: which columns each
// mask acquires; of a group of coil images what was acquired, by rows; and the acquired columns of all coils of an
// image, transformed along y: (coils, row blocks, columns, 2, kLanes).
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
    const std::int64_t at_once = a.coils > 1 ? a.coils : images_at_once(a.images, threads);
    ScratchCursor cursor(scratch);
    cursor.take<char>(threads * line_scratch_bytes(a.ny, a.nx));  // LineBuffers
    coil_images = cursor.take<T>(n_masks ? 0 : at_once * ColumnBlocks<T>::n_values(a.ny, a.nx));
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
  std::int64_t mask_index(std::int64_t coil_image) const { return coil_image / a.coil_images_per_mask; }
  // The columns of a block of rows, (count, 2, kLanes).
  T* block_of(std::int64_t coil, std::int64_t block) const {
    return scratch.columns + (coil * scratch.row_blocks + block) * a.nx * 2 * kLanes<T>;
  }

  // Rows of k-space are read in the order of memory, and what is acquired of them is kept.
  void gather(std::int64_t begin, std::int64_t end) const {
    parallel_runs((end - begin) * a.ny, work.threads, [&](std::int64_t, std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row) {
        const std::int64_t mask = mask_index(begin + row / a.ny);
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
    const std::int64_t mask = mask_index(begin + i), count = std::min<std::int64_t>(scratch.counts[mask] - first, L);
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
      const std::int64_t mask = mask_index(image * a.coils + coil);
      const T* from = block_of(coil, block);
      std::fill(w, w + a.nx, Complex<Vec<T>>{});
      for (std::int32_t i = 0; i < scratch.counts[mask]; ++i)
        w[rows.slot[scratch.places[mask * a.nx + i]]] = {load(from + 2 * i * L), load(from + (2 * i + 1) * L)};
      inverse_line(rows, w, buffers.work);
      if (!a.sens_maps) continue;
      load_lines(lines_at(maps_of(a, image), s, coil, Along::x), block * L, maps);
      add_coil<T>(coil, w, maps, sum, rows.n);
    }
    store_lines(lines_at(a.image, s, image, Along::x), block * L, a.sens_maps ? sum : w);
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

// encode_adjoint for any other mask.
template <class T>
struct AllColumns {
  const EncodeArgs<T>& a;
  const Workspace& work;
  const AdjointScratch<T> scratch;
  const LinePlan<T>&x, &y;
  const KspaceShape s;

  AllColumns(const EncodeArgs<T>& args, const Workspace& workspace)
      : a(args),
        work(workspace),
        scratch(args, workspace.scratch, workspace.threads),
        x(line_plan<T>(static_cast<int>(args.nx))),
        y(line_plan<T>(static_cast<int>(args.ny))),
        s(shape_of(args)) {}

  ColumnBlocks<T> blocks_at(std::int64_t place) const {
    return {scratch.coil_images + place * ColumnBlocks<T>::n_values(a.ny, a.nx), a.ny, a.nx};
  }
  void rows(std::int64_t coil_image, std::int64_t place, std::int64_t block, const LineBuffers<T>& buffers) const {
    const std::int64_t first = block * kLanes<T>;
    const int count = static_cast<int>(std::min<std::int64_t>(kLanes<T>, a.ny - first));
    const T* kspace = a.kspace + 2 * (coil_image * a.ny + first) * a.nx;
    const ReadNext<T> next = next_block(lines_at<const T>(a.kspace, s, coil_image, Along::x), first);
    const T scale = T(1) / static_cast<T>(a.nx);
    const Line<T> w = buffers.first;
    const auto to_slot = [&](std::int64_t e, Complex<Vec<T>> z) {
      const int slot = x.slot[e];
      w[slot] = rotate<1>(z, scale * x.centring[2 * slot], scale * x.centring[2 * slot + 1]);
    };
    if (a.mask) {
      const RowWeights<T> weights(a, coil_image, first, count);
      const Vec<T> of_rows = weights.at(0);
      load_elements(kspace, 2 * a.nx, count, a.nx, [&](std::int64_t e, Complex<Vec<T>> z) {
        to_slot(e, weighted<T>(weights.varies() ? weights.at(e) : of_rows, z));
      });
    } else {
      load_elements(kspace, 2 * a.nx, count, a.nx, to_slot);
    }
    inverse_line(x, w, buffers.work);
    Complex<Vec<T>> factor{};
    for (int l = 0; l < count; ++l) {
      const int slot = y.slot[first + l];
      factor.re[l] = y.centring[2 * slot] / static_cast<T>(a.ny);
      factor.im[l] = y.centring[2 * slot + 1] / static_cast<T>(a.ny);
    }
    blocks_at(place).put_rows(
        count, [&](std::int64_t e) { return rotate<1>(w[e], factor.re, factor.im); },
        [&](int l) { return y.slot[first + l]; }, next);
  }
  void columns(std::int64_t image, std::int64_t place, std::int64_t block, const LineBuffers<T>& buffers) const {
    const Line<T> maps = buffers.first, sum = buffers.second;
    for (std::int64_t coil = 0; coil < a.coils; ++coil) {
      const Line<T> w = blocks_at(place + coil).block(block);
      inverse_line(y, w, buffers.work);
      if (!a.sens_maps) continue;
      load_lines(lines_at(maps_of(a, image), s, coil, Along::y), block * kLanes<T>, maps);
      add_coil<T>(coil, w, maps, sum, y.n);
    }
    const Complex<Vec<T>>* total = a.sens_maps ? sum : blocks_at(place).block(block);
    blocks_at(place).store_columns(a.image + 2 * image * a.ny * a.nx, block,
                                   streams(images_at(s, a.image), s, Along::x),
                                   [=](std::int64_t e) { return total[e]; });
  }
  void run() const {
    if (a.coils == 1)
      return transform_images<T>(
          s, a.images, work, [&](auto... of) { rows(of...); }, [&](auto... of) { columns(of...); });
    for (std::int64_t image = 0; image < a.images; ++image) {
      for_blocks<T>(s, a.coils, ceil_div(a.ny, kLanes<T>), work,
                    [&](std::int64_t coil, std::int64_t block, const LineBuffers<T>& buffers) {
                      rows(image * a.coils + coil, coil, block, buffers);
                    });
      for_blocks<T>(
          s, 1, ceil_div(a.nx, kLanes<T>), work,
          [&](std::int64_t, std::int64_t block, const LineBuffers<T>& buffers) { columns(image, 0, block, buffers); });
    }
  }
};

}  // namespace

template <Simd L, class T>
void encode_adjoint_cpu(const EncodeArgs<T>& a, const Workspace& work) {
  of_columns(a) ? AcquiredColumns<T>(a, work).run() : AllColumns<T>(a, work).run();
}

template <Simd L, class T>
std::int64_t encode_adjoint_scratch_bytes(const EncodeArgs<T>& a, int threads) {
  return AdjointScratch<T>(a, nullptr, threads).bytes;
}

CSMRI_INSTANTIATE_CPU(encode_adjoint, EncodeArgs)

}  // namespace csmri

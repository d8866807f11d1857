// The rows of a coil image, of image times sensitivities, are transformed and laid down as blocks of columns, in the
// second-level cache; columns are transformed there, and k-space is written where it belongs, masked. Nothing but
// k-space is written to memory. Floor: 8 bytes for each element of the maps and of k-space.
#include <algorithm>
#include <cstdint>

#include "core/instantiate.hpp"
#include "encoding/coil_images.hpp"
#include "fft/column_blocks.hpp"

namespace csmri {

namespace {

// Scratch: lines of the threads, and coil images between their transforms.
template <class T>
struct EncodeScratch {
  T* coil_images;
  std::int64_t bytes;

  EncodeScratch(const EncodeArgs<T>& a, void* scratch, int threads) {
    ScratchCursor cursor(scratch);
    cursor.take<char>(threads * line_scratch_bytes(a.ny, a.nx));  // LineBuffers
    coil_images = cursor.take<T>(images_at_once(a.images * a.coils, threads) * ColumnBlocks<T>::n_values(a.ny, a.nx));
    bytes = cursor.bytes();
  }
};

// Weights of a block of columns: (first + lane, y) of a mask.
template <class T>
class ColumnWeights {
 public:
  ColumnWeights(const EncodeArgs<T>& a, std::int64_t coil_image, std::int64_t first)
      : mask_(mask_of(a, coil_image) + first * a.mask_column_stride),
        row_stride_(a.mask_row_stride),
        each_(a.mask_column_stride != 0),
        columns_(static_cast<int>(std::min<std::int64_t>(kLanes<T>, a.nx - first))) {}

  Vec<T> at(std::int64_t y) const {
    const T* m = mask_ + y * row_stride_;
    if (!each_) return broadcast(*m);
    return columns_ == kLanes<T> ? load(m) : load_first(m, columns_);
  }

 private:
  const T* mask_;
  std::int64_t row_stride_;
  bool each_;
  int columns_;
};

}  // namespace

template <Simd L, class T>
void encode_cpu(const EncodeArgs<T>& a, const Workspace& work) {
  const KspaceShape s = shape_of(a);
  const LinePlan<T>&x = line_plan<T>(static_cast<int>(a.nx)), &y = line_plan<T>(static_cast<int>(a.ny));
  const T scale_x = T(1) / static_cast<T>(a.nx), scale_y = T(1) / static_cast<T>(a.ny);
  const bool streamed = streams(images_at(s, a.kspace), s, Along::x);
  const EncodeScratch<T> scratch(a, work.scratch, work.threads);
  const auto blocks_at = [&](std::int64_t place) {
    return ColumnBlocks<T>(scratch.coil_images + place * ColumnBlocks<T>::n_values(a.ny, a.nx), a.ny, a.nx);
  };
  const auto centred = [](const LinePlan<T>& plan, T scale, int slot, Complex<Vec<T>> z) {
    return rotate<-1>(z, scale * plan.centring[2 * slot], scale * plan.centring[2 * slot + 1]);
  };
  const auto rows = [&](std::int64_t coil_image, std::int64_t place, std::int64_t block,
                        const LineBuffers<T>& buffers) {
    const std::int64_t first = block * kLanes<T>, at = 2 * first * a.nx, image = coil_image / a.coils;
    const int count = static_cast<int>(std::min<std::int64_t>(kLanes<T>, a.ny - first));
    const Line<T> w = buffers.first, maps = buffers.second;
    const T* pixels = a.image + 2 * image * a.ny * a.nx + at;
    const T* of_coil = a.sens_maps ? maps_of(a, image) + 2 * (coil_image % a.coils) * a.ny * a.nx + at : nullptr;
    const T* read = a.sens_maps ? of_coil : pixels;  // from memory: the image is in the cache from coil to coil
    const std::int64_t row_values = 2 * a.nx, rest = (a.ny - first - count) * row_values;
    const ReadNext<T> next{read + count * row_values,
                           read + count * row_values + std::min(rest, kLanes<T> * row_values)};
    if (a.sens_maps) {
      load_elements(of_coil, 2 * a.nx, count, a.nx, [=](std::int64_t e, Complex<Vec<T>> z) { maps[e] = z; });
      load_elements(pixels, 2 * a.nx, count, a.nx, [=](std::int64_t e, Complex<Vec<T>> z) {
        const Complex<Vec<T>> m = maps[e];
        w[e] = {m.re * z.re - m.im * z.im, m.re * z.im + m.im * z.re};
      });
    } else {
      load_elements(pixels, 2 * a.nx, count, a.nx, [=](std::int64_t e, Complex<Vec<T>> z) { w[e] = z; });
    }
    forward_line(x, w, buffers.work);
    blocks_at(place).put_rows(
        count, [&](std::int64_t e) { return centred(x, scale_x, x.slot[e], w[x.slot[e]]); },
        [=](int lane) { return first + lane; }, next);
  };
  const auto columns = [&](std::int64_t coil_image, std::int64_t place, std::int64_t block,
                           const LineBuffers<T>& buffers) {
    const ColumnBlocks<T> blocks = blocks_at(place);
    const Line<T> w = blocks.block(block);
    forward_line(y, w, buffers.work);
    T* kspace = a.kspace + 2 * coil_image * a.ny * a.nx;
    const auto row = [&](std::int64_t e) { return centred(y, scale_y, y.slot[e], w[y.slot[e]]); };
    if (!a.mask) return blocks.store_columns(kspace, block, streamed, row);
    const ColumnWeights<T> weights(a, coil_image, block * kLanes<T>);
    blocks.store_columns(kspace, block, streamed, [&](std::int64_t e) { return weighted<T>(weights.at(e), row(e)); });
  };
  transform_images<T>(s, a.images * a.coils, work, rows, columns);
}

template <Simd L, class T>
std::int64_t encode_scratch_bytes(const EncodeArgs<T>& a, int threads) {
  return EncodeScratch<T>(a, nullptr, threads).bytes;
}

CSMRI_INSTANTIATE_CPU(encode, EncodeArgs)

}  // namespace csmri

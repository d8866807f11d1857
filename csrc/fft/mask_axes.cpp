#include <cstring>

#include "fft/packed_kspace.hpp"

namespace csmri {

namespace {

// Whether `count` blocks of `size` bytes side by side are equal.
bool all_equal(const char* blocks, std::int64_t count, std::int64_t size) {
  return std::memcmp(blocks, blocks + size, static_cast<std::size_t>((count - 1) * size)) == 0;
}

}  // namespace

Axes mask_axes(const void* masks, std::int64_t n_masks, std::int64_t ny, std::int64_t nx, std::int64_t element_bytes) {
  bool rows_equal = true, columns_equal = true;
  const std::int64_t row = nx * element_bytes;
  for (std::int64_t i = 0; i < n_masks && (rows_equal || columns_equal); ++i) {
    const char* mask = static_cast<const char*>(masks) + i * ny * row;
    rows_equal = rows_equal && all_equal(mask, ny, row);
    for (std::int64_t y = 0; y < ny && columns_equal; ++y) columns_equal = all_equal(mask + y * row, nx, element_bytes);
  }
  return rows_equal ? Axes::x : columns_equal ? Axes::y : Axes::xy;
}

}  // namespace csmri

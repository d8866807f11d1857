// A whole NasN reconstruction module (NasN, section 3), its intermediate tensors written to memory only where a
// training step wants them, and never read from there:
//
//     stem = conv3x3 conv3x3 image,   cells of nodes as in separable_cell on (stem, stem), (stem, cell 1), ...,
//     out = image + conv3x3 relu(last cell).
//
// composite: the two convolutions of the stem, with no activation between them, become one of 5x5, composed in double
// precision. The zero padding of the tensor between them makes border pixels special: they have kernels of their own.
#pragma once
#include <cstdint>
#include <vector>

#include "core/entry_points.hpp"
#include "nasn/schedule.hpp"

namespace csmri {

template <class T>
struct NasnCascadeArgs {
  CascadeShape shape;
  const T* image;  // (batch, ny, nx, in_channels), `pixel` elements from one pixel to the next
  std::int64_t pixel;
  T* out;  // likewise
  std::int64_t out_pixel;
  std::vector<const T*> weights;  // in the order of schedule.hpp, in the layouts of separable_node.hpp
  std::vector<T*> saved;  // empty, or relu of the tensors that schedule.hpp numbers: (batch, ny, nx, channels) each
  std::vector<std::int64_t> saved_pixel;  // of each, elements from one pixel to the next
  std::int64_t batch, ny, nx;
};

// At most kMaxTerms nodes, and edges of a node.
CSMRI_CPU(nasn_cascade, NasnCascadeArgs)

}  // namespace csmri

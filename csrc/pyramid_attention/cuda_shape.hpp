// The shape of a pyramid as its CUDA kernels see it: integers of 32 bits, tiles, and how outputs are dealt out to
// warps.
#pragma once
#include <cstdint>

#include "core/host_device.hpp"
#include "pyramid_attention/pyramid_attention.hpp"

namespace csmri {
namespace pyramid {

// A warp works on a tile: each lane on kLaneRows x 4 pixels, 8 lanes along x, 4 along y.
constexpr int kLaneRows = 4, kTileY = 4 * kLaneRows, kTileX = 32;

CSMRI_HOST_DEVICE constexpr int round_up(int n, int step) { return (n + step - 1) / step * step; }
CSMRI_HOST_DEVICE constexpr int ceil_div(int n, int step) { return (n + step - 1) / step; }

struct Shape {
  int batch, ny, nx, tiles_y, tiles_x;
  int n_parts, part_begin[kMaxParts + 1];  // channels of x = concat(parts)
  int n_branches, kernel[kMaxBranches], groups[kMaxBranches];
  int inputs[kMaxBranches], outputs[kMaxBranches];  // of one group
  int branch_channels, in_channels, out_channels;
  bool quads;  // has_quads, for all tensors

  Shape(const PyramidShape& s, bool quads_) : quads(quads_) {
    batch = static_cast<int>(s.batch), ny = static_cast<int>(s.ny), nx = static_cast<int>(s.nx);
    tiles_y = ceil_div(ny, kTileY), tiles_x = ceil_div(nx, kTileX);
    n_parts = s.n_parts, n_branches = s.n_branches;
    branch_channels = static_cast<int>(s.branch_channels);
    in_channels = static_cast<int>(s.in_channels()), out_channels = static_cast<int>(s.out_channels());
    part_begin[0] = 0;
    for (int p = 0; p < kMaxParts; ++p)
      part_begin[p + 1] = part_begin[p] + (p < n_parts ? static_cast<int>(s.part_channels[p]) : 0);
    for (int i = 0; i < n_branches; ++i) {
      kernel[i] = s.kernel[i], groups[i] = static_cast<int>(s.groups[i]);
      inputs[i] = in_channels / groups[i], outputs[i] = branch_channels / groups[i];
    }
  }
  CSMRI_HOST_DEVICE int tiles() const { return tiles_y * tiles_x; }
  CSMRI_HOST_DEVICE int part_of(int channel) const {
    int p = 0;
    while (p + 1 < n_parts && channel >= part_begin[p + 1]) ++p;
    return p;
  }
  CSMRI_HOST_DEVICE int taps(int branch) const { return kernel[branch] * kernel[branch]; }
  // Weights of the branches before, in their own order: (outputs, inputs of a group, k, k) of each branch.
  CSMRI_HOST_DEVICE int weight_begin(int branch) const {
    int sum = 0;
    for (int i = 0; i < branch; ++i) sum += branch_channels * inputs[i] * taps(i);
    return sum;
  }
  CSMRI_HOST_DEVICE int n_weights() const { return weight_begin(n_branches); }
};

// A warp's share of the outputs: outputs first, ..., first + count - 1 of every group of a branch, one group after the
// other as the input channels go by.
struct Slot {
  int branch, first, count;
  int pitch;  // values per input channel in the packed weights: k * k * count, rounded up to quads
  int begin;  // in the packed weights: (in_channels, pitch)
};

// Grouping::of(kernel) says how many outputs of a group share a slot: what the registers can hold. The rest of a group
// has slots of 1.
template <class Grouping>
CSMRI_HOST_DEVICE int slots_of_branch(const Shape& shape, int branch) {
  const int size = Grouping::of(shape.kernel[branch]);
  return shape.outputs[branch] / size + shape.outputs[branch] % size;
}

template <class Grouping>
CSMRI_HOST_DEVICE int n_slots(const Shape& shape) {
  int sum = 0;
  for (int i = 0; i < shape.n_branches; ++i) sum += slots_of_branch<Grouping>(shape, i);
  return sum;
}

template <class Grouping>
CSMRI_HOST_DEVICE Slot slot_at(const Shape& shape, int index) {
  Slot slot{};
  for (;; ++slot.branch) {
    const int taps = shape.taps(slot.branch), size = Grouping::of(shape.kernel[slot.branch]);
    const int full = shape.outputs[slot.branch] / size, slots = slots_of_branch<Grouping>(shape, slot.branch);
    const bool found = index < slots;
    const int before = found ? index : slots, full_before = before < full ? before : full;
    slot.begin +=
        shape.in_channels * (full_before * round_up(taps * size, 4) + (before - full_before) * round_up(taps, 4));
    if (found) {
      slot.count = index < full ? size : 1;
      slot.first = full_before * size + before - full_before;
      slot.pitch = round_up(taps * slot.count, 4);
      return slot;
    }
    index -= slots;
  }
}

}  // namespace pyramid
}  // namespace csmri

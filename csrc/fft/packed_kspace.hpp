// K-space data and masks as the line transforms take them: weights M and samples M y of a diagonal operator between a
// transform and its inverse, (identity - eta m) X + eta m y.
//
// M may depend on x alone (Axes::x; phase encoding along the last axis), on y alone (Axes::y) or on both (Axes::xy).
// In the first two cases M commutes with the DFT along the other axis, which therefore cancels: one pass over the
// image, lines along one axis only, against data that were transformed along the other axis once, by `pack`.
//
// Centring costs nothing: F_c = S F S' with rolls S, S', and the roll of x cancels too. Only weights and data are
// permuted, by `pack`: with h = floor(n / 2), line frequency k of the plain unnormalised DFT meets
//     m[(k + h) mod n]    and    sqrt(n) exp(-2 pi i k h / n) y[(k + h) mod n]       (2-D: the product over both axes).
//
// Packed forms. Their sizes are fixed, their order is the business of each backend: pack and apply on the same one.
// "Line" axis: x for Axes::x, else y; n_line its extent. "Lane" axis: the other one; tiles = ceil(n_lane / kTile).
//     samples  (batch, tiles, n_line, 2, kTile)   M y as above; zero where nothing is stored
//     weights  (n_masks, n_line, 2)   or, for Axes::xy, (n_masks, tiles, n_line, kTile)
// Pairs of weights are (m, position): the samples of acquired elements lie side by side, in the order of position.
// CPU: elements in the slot order of LinePlan, positions in the order of centred k-space, -1 where m = 0; for Axes::xy
// tiles hold slots of the x axis.
//
// Every ny, nx >= 1 is computed, none is padded with zeros that would change the result. What it costs:
//     CPU    factors up to 8: codelets; prime factors up to 113: direct sums, 4 ((p - 1) / 2)^2 multiply-adds for p
//            elements; a larger one: the whole line as a convolution of 2 n - 1 or a few more elements (Bluestein).
//     CUDA   float32, lengths in the table of line_launch.cuh: in registers. Any other up to kMaxCudaLength, and
//            float64: in shared memory, a direct sum for each prime factor, so that 386 = 2 * 193 costs about ten
//            times what 384 does. Beyond: csmri_ext/ops computes in torch.fft (cuFFT), as `reference` does.
#pragma once
#include <cstdint>

namespace csmri {

constexpr int kTile = 16;
constexpr int kMaxCudaLength = 2048;  // three lines of complex128 and the roots of unity fit into 160 KiB

enum class Axes : int { x, y, xy };

// A stack of images, and which of the packed masks and data belong to each.
struct KspaceShape {
  std::int64_t batch, replicas;  // images: batch * replicas; the replicas of one batch item share data and mask
  std::int64_t batch_per_mask;   // batch item b uses mask b / batch_per_mask
  std::int64_t ny, nx;
  Axes axes;

  std::int64_t n_values() const { return batch * replicas * ny * nx * 2; }  // of all images, real and imaginary
  std::int64_t n_lines() const { return batch * replicas * (axes == Axes::x ? ny : nx); }
};

// The axes along which masks (n_masks, ny, nx) of elements of this many bytes vary, bit for bit; Axes::x for a
// constant.
Axes mask_axes(const void* masks, std::int64_t n_masks, std::int64_t ny, std::int64_t nx, std::int64_t element_bytes);

}  // namespace csmri

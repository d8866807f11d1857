// Split depth-wise convolution chain (GA-HQS, SDC): the channels are split into S groups S_1 ... S_S,
//
//     B_1 = S_1,   B_2 = d_2 * S_2,   B_i = d_i * (S_i + B_{i-1})   for i = 3 ... S,   out = concat(B_1 ... B_S),
//
// where d_i is a depth-wise 3x3 cross-correlation with zero padding and no bias. Channel j of every group depends on
// channel j of the others only, so the pairs (image, j) are independent: one pair is one task.
//
// Backward, with G_i the gradient that reaches B_i in all:  G_S = dB_S,  dS_i = d_i^T * G_i,  G_{i-1} = dB_{i-1} +
// dS_i, dd_i = corr(U_i, G_i) with U_2 = S_2 and U_i = S_i + B_{i-1}; B comes from the saved output.
#pragma once
#include <cstdint>

#include "core/simd.hpp"
#include "core/storage.hpp"

namespace csmri {

constexpr std::int64_t kMaxSplits = 16;

// Bytes of scratch that a call needs: per thread, four rows of `rings` planes and one row of zeros, padded by at least
// a cache line on either side (csrc/split_depthwise/rows.hpp). Forward needs splits - 1 rings, backward 2 (splits - 1).
constexpr std::int64_t split_depthwise_row_bytes(std::int64_t nx, std::int64_t element_size) {
  return (nx * element_size + 3 * 64 - 1) / 64 * 64;
}
constexpr std::int64_t split_depthwise_scratch_bytes(std::int64_t rings, std::int64_t nx, std::int64_t element_size,
                                                     std::int64_t threads) {
  return threads * (4 * rings + 1) * split_depthwise_row_bytes(nx, element_size);
}

template <class T>
struct SplitDepthwiseArgs {
  const T* x;       // (batch, splits * channels, ny, nx)
  const T* weight;  // (splits - 1, channels, 3, 3)
  T* out;           // (batch, splits * channels, ny, nx)
  void* scratch;    // CPU only: split_depthwise_scratch_bytes(splits - 1, ...), 64-byte aligned
  std::int64_t batch, splits, channels, ny, nx;
  int threads;  // CPU only
};

template <class T>
struct SplitDepthwiseBackwardArgs {
  const T* grad_out;    // (batch, splits * channels, ny, nx)
  const T* x;           // (batch, splits * channels, ny, nx)
  const T* out;         // (batch, splits * channels, ny, nx), what the forward pass returned
  const T* weight;      // (splits - 1, channels, 3, 3)
  T* grad_x;            // (batch, splits * channels, ny, nx)
  Sum<T>* grad_weight;  // (batch, splits - 1, channels, 3, 3): one term per image, for the caller to sum in order
  void* scratch;        // split_depthwise_scratch_bytes(2 * (splits - 1), ...), 64-byte aligned; CUDA: partial results
  std::int64_t batch, splits, channels, ny, nx;
  int threads;  // CPU only
};

// T is float or double; 2 <= splits <= kMaxSplits.
template <Simd L, class T>
void split_depthwise_cpu(const SplitDepthwiseArgs<T>& args);
template <Simd L, class T>
void split_depthwise_backward_cpu(const SplitDepthwiseBackwardArgs<T>& args);

// CUDA: enqueued on `stream` (a cudaStream_t) of the current device; T is float, double, BFloat16 or Float16. Never
// allocates, never waits; every pointer is on the device. Throws std::runtime_error with CUDA's message.
constexpr std::int64_t kSplitDepthwiseTileY = 32, kSplitDepthwiseTileX = 64;
template <class T>
void split_depthwise_cuda(const SplitDepthwiseArgs<T>& args, void* stream);
template <class T>
void split_depthwise_backward_cuda(const SplitDepthwiseBackwardArgs<T>& args, void* stream);
// Values of type Sum<T> in `scratch` of the backward pass: the weight gradient of each tile.
constexpr std::int64_t split_depthwise_partials(std::int64_t batch, std::int64_t splits, std::int64_t channels,
                                                std::int64_t ny, std::int64_t nx) {
  const std::int64_t tiles_y = (ny + kSplitDepthwiseTileY - 1) / kSplitDepthwiseTileY;
  const std::int64_t tiles_x = (nx + kSplitDepthwiseTileX - 1) / kSplitDepthwiseTileX;
  return batch * (splits - 1) * channels * 9 * tiles_y * tiles_x;
}

}  // namespace csmri

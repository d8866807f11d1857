// Attention half of a half-shuffle attention block (GA-HQS, HSAB). Per image of whole windows of 8 x 8 pixels, with
// n = LN(x) over the channels of a pixel and H heads of `channels / H` channels,
//
//     q = Q n,   (k, v) = K n,   o_h = softmax(q_h k_h^T / sqrt(channels / H)) v_h,   y = x + O o + b.
//
// The first half of the heads (or the only one) attends within each window, the last half among the pixels at the same
// place of all windows. Backward, with G = dy:  dO = G o^T,  db = sum G,  do = O^T G, then the head's
// (attention_head.hpp), dQ = dq n^T,  dK = (dk, dv) n^T,  dn = Q^T dq + K^T (dk, dv),  and LN's; everything before is
// computed again from x.
#pragma once
#include <cstdint>

#include "core/entry_points.hpp"
#include "core/storage.hpp"

namespace csmri {

constexpr int kWindow = 8;  // pixels on a side

template <class T>
struct HalfShuffleAttentionArgs {
  const T* x;            // (batch, ny, nx, channels)
  const T* norm_weight;  // (channels)
  const T* norm_bias;    // (channels)
  const T* query;        // Q: (channels, channels)
  const T* key_value;    // K: (2 channels, channels)
  const T* project;      // O: (channels, channels)
  const T* bias;         // b: (channels)
  T* out;                // (batch, ny, nx, channels)
  std::int64_t batch, ny, nx, channels, heads;
  double epsilon;  // of LN
};

template <class T>
struct HalfShuffleAttentionBackwardArgs {
  const T* grad_out;                    // (batch, ny, nx, channels)
  HalfShuffleAttentionArgs<T> forward;  // out is not used
  T* grad_x;                            // (batch, ny, nx, channels)
  T* grad_norm_weight;                  // as the weights
  T* grad_norm_bias;
  T* grad_query;
  T* grad_key_value;
  T* grad_project;
  T* grad_bias;
};

CSMRI_CPU(half_shuffle_attention, HalfShuffleAttentionArgs)
CSMRI_CPU(half_shuffle_attention_backward, HalfShuffleAttentionBackwardArgs)

// CUDA, forward only: T is float, double, BFloat16 or Float16; no element written depends on scheduling.
CSMRI_CUDA(half_shuffle_attention, HalfShuffleAttentionArgs)

}  // namespace csmri

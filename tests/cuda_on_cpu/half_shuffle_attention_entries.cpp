// Calls of csrc/hsab/half_shuffle_attention.hpp for test_half_shuffle_attention_cuda.py.
#include <vector>

#include "entry.hpp"
#include "hsab/half_shuffle_attention.hpp"

using namespace csmri;

namespace {

// Arrays: x, norm_weight, norm_bias, query, key_value, project, bias, out. Numbers: batch, ny, nx, channels, heads.
template <class T>
void forward(void* const* arrays, const std::int64_t* n) {
  const auto input = [&](int i) { return static_cast<const T*>(arrays[i]); };
  HalfShuffleAttentionArgs<T> args{};
  args.x = input(0), args.norm_weight = input(1), args.norm_bias = input(2), args.query = input(3);
  args.key_value = input(4), args.project = input(5), args.bias = input(6), args.out = static_cast<T*>(arrays[7]);
  args.batch = n[0], args.ny = n[1], args.nx = n[2], args.channels = n[3], args.heads = n[4], args.epsilon = 1e-5;
  std::vector<char> scratch(static_cast<std::size_t>(half_shuffle_attention_cuda_scratch_bytes(args)));
  half_shuffle_attention_cuda(args, on_gpu(scratch.data()));
}

}  // namespace

CUDA_ON_CPU_ENTRY(forward_f32) { forward<float>(arrays, numbers); }
#ifndef CSMRI_ONLY_FLOAT
CUDA_ON_CPU_ENTRY(forward_f64) { forward<double>(arrays, numbers); }
CUDA_ON_CPU_ENTRY(forward_bf16) { forward<BFloat16>(arrays, numbers); }
CUDA_ON_CPU_ENTRY(forward_f16) { forward<Float16>(arrays, numbers); }
#endif

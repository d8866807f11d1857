// Calls of csrc/hsab/half_shuffle_attention.hpp for test_half_shuffle_attention_cuda.py.
#include <vector>

#include "entry.hpp"
#include "hsab/half_shuffle_attention.hpp"

namespace {

// Arrays: x, norm_weight, norm_bias, query, key_value, project, bias, out. Numbers: batch, ny, nx, channels, heads.
template <class T>
void forward(void* const* arrays, const std::int64_t* n) {
  HalfShuffleAttentionArgs<T> args{};
  args.x = array<T>(arrays, 0), args.norm_weight = array<T>(arrays, 1), args.norm_bias = array<T>(arrays, 2),
  args.query = array<T>(arrays, 3);
  args.key_value = array<T>(arrays, 4), args.project = array<T>(arrays, 5), args.bias = array<T>(arrays, 6),
  args.out = array<T>(arrays, 7);
  args.batch = n[0], args.ny = n[1], args.nx = n[2], args.channels = n[3], args.heads = n[4], args.epsilon = 1e-5;
  std::vector<char> scratch(static_cast<std::size_t>(half_shuffle_attention_cuda_scratch_bytes(args)));
  half_shuffle_attention_cuda(args, on_gpu(scratch.data()));
}

}  // namespace

#define ENTRIES(T, name) \
  CUDA_ON_CPU_ENTRY(forward_##name) { forward<T>(arrays, numbers); }
CUDA_ON_CPU_ENTRIES(ENTRIES)

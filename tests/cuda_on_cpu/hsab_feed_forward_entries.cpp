// Calls of csrc/hsab/hsab_feed_forward.hpp for test_hsab_feed_forward_cuda.py.
#include "entry.hpp"
#include "hsab/hsab_feed_forward.hpp"

using namespace csmri;

namespace {

// Arrays: x, expand, depthwise, contract, out. Numbers: batch, ny, nx, channels, hidden.
template <class T>
void forward(void* const* arrays, const std::int64_t* n) {
  const auto input = [&](int i) { return static_cast<const T*>(arrays[i]); };
  HsabFeedForwardArgs<T> args{};
  args.x = input(0), args.expand = input(1), args.depthwise = input(2), args.contract = input(3);
  args.out = static_cast<T*>(arrays[4]);
  args.batch = n[0], args.ny = n[1], args.nx = n[2], args.channels = n[3], args.hidden = n[4];
  hsab_feed_forward_cuda(args, on_gpu(nullptr));
}

}  // namespace

CUDA_ON_CPU_ENTRY(forward_f32) { forward<float>(arrays, numbers); }
#ifndef CSMRI_ONLY_FLOAT
CUDA_ON_CPU_ENTRY(forward_f64) { forward<double>(arrays, numbers); }
CUDA_ON_CPU_ENTRY(forward_bf16) { forward<BFloat16>(arrays, numbers); }
CUDA_ON_CPU_ENTRY(forward_f16) { forward<Float16>(arrays, numbers); }
#endif

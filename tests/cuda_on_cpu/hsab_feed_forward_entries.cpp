// Calls of csrc/hsab/hsab_feed_forward.hpp for test_hsab_feed_forward_cuda.py.
#include "entry.hpp"
#include "hsab/hsab_feed_forward.hpp"

namespace {

// Arrays: x, expand, depthwise, contract, out. Numbers: batch, ny, nx, channels, hidden.
template <class T>
void forward(void* const* arrays, const std::int64_t* n) {
  HsabFeedForwardArgs<T> args{};
  args.x = array<T>(arrays, 0), args.expand = array<T>(arrays, 1), args.depthwise = array<T>(arrays, 2),
  args.contract = array<T>(arrays, 3);
  args.out = array<T>(arrays, 4);
  args.batch = n[0], args.ny = n[1], args.nx = n[2], args.channels = n[3], args.hidden = n[4];
  hsab_feed_forward_cuda(args, on_gpu(nullptr));
}

}  // namespace

#define ENTRIES(T, name) \
  CUDA_ON_CPU_ENTRY(forward_##name) { forward<T>(arrays, numbers); }
CUDA_ON_CPU_ENTRIES(ENTRIES)

// Calls of csrc/hsab/hsab_feed_forward.hpp for test_hsab_feed_forward_cuda.py.
#include <vector>

#include "entry.hpp"
#include "hsab/hsab_feed_forward.hpp"

namespace {

// Of both: batch, ny, nx, channels, hidden.
template <class Args>
void set_extents(Args& args, const std::int64_t* n) {
  args.batch = n[0], args.ny = n[1], args.nx = n[2], args.channels = n[3], args.hidden = n[4];
}

// Arrays: x, expand, depthwise, contract, out.
template <class T>
void forward(void* const* arrays, const std::int64_t* n) {
  HsabFeedForwardArgs<T> args{};
  args.x = array<T>(arrays, 0), args.expand = array<T>(arrays, 1), args.depthwise = array<T>(arrays, 2),
  args.contract = array<T>(arrays, 3);
  args.out = array<T>(arrays, 4);
  set_extents(args, n);
  hsab_feed_forward_cuda(args, on_gpu(nullptr));
}

// Arrays: x, expand, depthwise, contract, grad_out, then the gradients of the first four.
template <class T>
void backward(void* const* arrays, const std::int64_t* n) {
  HsabFeedForwardBackwardArgs<T> args{};
  args.x = array<T>(arrays, 0), args.expand = array<T>(arrays, 1), args.depthwise = array<T>(arrays, 2),
  args.contract = array<T>(arrays, 3), args.grad_out = array<T>(arrays, 4);
  args.grad_x = array<T>(arrays, 5), args.grad_expand = array<T>(arrays, 6), args.grad_depthwise = array<T>(arrays, 7),
  args.grad_contract = array<T>(arrays, 8);
  set_extents(args, n);
  // Not zeros: what a part holds before is not to be added.
  std::vector<char> scratch(static_cast<std::size_t>(hsab_feed_forward_backward_cuda_scratch_bytes(args)), '\xff');
  hsab_feed_forward_backward_cuda(args, on_gpu(scratch.data()));
}

}  // namespace

#define ENTRIES(T, name)                                             \
  CUDA_ON_CPU_ENTRY(forward_##name) { forward<T>(arrays, numbers); } \
  CUDA_ON_CPU_ENTRY(backward_##name) { backward<T>(arrays, numbers); }
CUDA_ON_CPU_ENTRIES(ENTRIES)

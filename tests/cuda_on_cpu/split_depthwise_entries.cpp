// Calls of csrc/split_depthwise/split_depthwise.hpp for test_split_depthwise_cuda.py, which documents the arguments.
#include "entry.hpp"
#include "split_depthwise/split_depthwise.hpp"

namespace {

template <class Args>
void set_extents(Args& args, const std::int64_t* n) {
  args.batch = n[0], args.splits = n[1], args.channels = n[2], args.ny = n[3], args.nx = n[4];
}

template <class T>
void forward(void* const* a, const std::int64_t* numbers) {
  SplitDepthwiseArgs<T> args{};
  args.x = array<T>(a, 0), args.weight = array<T>(a, 1), args.out = array<T>(a, 2);
  set_extents(args, numbers);
  split_depthwise_cuda(args, on_gpu(nullptr));
}
// The last array is scratch, or receives its bytes.
template <class T>
void backward(void* const* a, const std::int64_t* numbers, bool bytes = false) {
  SplitDepthwiseBackwardArgs<T> args{};
  args.grad_out = array<T>(a, 0), args.x = array<T>(a, 1), args.out = array<T>(a, 2), args.weight = array<T>(a, 3);
  args.grad_x = array<T>(a, 4), args.grad_weight = array<Sum<T> >(a, 5);
  set_extents(args, numbers);
  if (bytes) return void(*array<std::int64_t>(a, 6) = split_depthwise_backward_cuda_scratch_bytes(args));
  split_depthwise_backward_cuda(args, on_gpu(a[6]));
}

}  // namespace

#define ENTRIES(T, name)                                               \
  CUDA_ON_CPU_ENTRY(forward_##name) { forward<T>(arrays, numbers); }   \
  CUDA_ON_CPU_ENTRY(backward_##name) { backward<T>(arrays, numbers); } \
  CUDA_ON_CPU_ENTRY(scratch_bytes_##name) { backward<T>(arrays, numbers, true); }
CUDA_ON_CPU_ENTRIES(ENTRIES)

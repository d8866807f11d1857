// Calls of csrc/nasn/relu_conv.hpp for test_relu_conv_cuda.py. The backward pass: separable_node_entries.cpp.
#include "entry.hpp"
#include "nasn/relu_conv.hpp"

namespace {

// Numbers: batch, ny, nx, outputs, elements between pixels of out, channels, and between pixels of x, whether there is
// a residual. Arrays: x, weight, the residual, out.
template <class T>
void relu_conv(void* const* arrays, const std::int64_t* n) {
  ReluConvArgs<T> args{};
  args.batch = n[0], args.ny = n[1], args.nx = n[2];
  args.outputs = n[3], args.out_pixel = n[4];
  args.channels = n[5], args.pixel = n[6];
  args.x = static_cast<const T*>(*arrays++), args.weight = static_cast<const T*>(*arrays++);
  args.residual_pixel = args.outputs;
  if (n[7]) args.residual = static_cast<const T*>(*arrays++);
  args.out = static_cast<T*>(*arrays);
  relu_conv_cuda(args, on_gpu(nullptr));
}

}  // namespace

#define ENTRIES(T, name) \
  CUDA_ON_CPU_ENTRY(relu_conv_##name) { relu_conv<T>(arrays, numbers); }
CUDA_ON_CPU_ENTRIES(ENTRIES)

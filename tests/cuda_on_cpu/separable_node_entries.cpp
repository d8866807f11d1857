// Calls of csrc/nasn/separable_node.hpp for test_separable_node_cuda.py and test_relu_conv_cuda.py.
#include "entry.hpp"
#include "nasn/separable_node.hpp"

namespace {

struct Reader {
  void* const* arrays;
  const std::int64_t* numbers;
  template <class T>
  T* array() {
    return static_cast<T*>(*arrays++);
  }
  std::int64_t number() { return *numbers++; }
};

// Numbers: operation, channels, pixel, whether skip has a factor. Arrays: x, first and second where there are any.
template <class T>
NodeTerm<T> read_term(Reader& r) {
  NodeTerm<T> term{};
  term.operation = static_cast<Separable>(r.number());
  term.channels = r.number(), term.pixel = r.number();
  const bool scaled = r.number();
  term.x = r.array<const T>();
  if (radius_of(term.operation) > 0 && term.operation != Separable::relu_conv) term.first = r.array<const T>();
  if (term.operation != Separable::skip || scaled) term.second = r.array<const T>();
  return term;
}

// Numbers: batch, ny, nx, outputs, elements between pixels of out, tf32, number of terms, then the terms' numbers.
// Arrays: those of the terms, out.
template <class T>
void forward(Reader r) {
  SeparableNodeArgs<T> args{};
  args.batch = r.number(), args.ny = r.number(), args.nx = r.number();
  args.outputs = r.number(), args.out_pixel = r.number(), args.tf32 = r.number();
  args.n_terms = static_cast<int>(r.number());
  for (int i = 0; i < args.n_terms; ++i) args.term[i] = read_term<T>(r);
  args.out = r.array<T>();
  separable_node_cuda(args, on_gpu(nullptr));
}

// Numbers: batch, ny, nx, outputs, grad_pixel, tf32, whether there is an addend, whether grad_x and weights are wanted,
// the term's numbers. Arrays: those of the term, grad, then what there is of addend, grad_x, grad_first, grad_second,
// and scratch.
template <class T>
SeparableNodeBackwardArgs<T> read_backward(Reader& r) {
  SeparableNodeBackwardArgs<T> args{};
  args.batch = r.number(), args.ny = r.number(), args.nx = r.number();
  args.outputs = r.number(), args.grad_pixel = r.number(), args.tf32 = r.number();
  const bool addend = r.number(), grad_x = r.number(), weights = r.number();
  args.term = read_term<T>(r);
  args.grad = r.array<const T>();
  args.addend_pixel = args.grad_x_pixel = args.term.channels;
  if (addend) args.addend = r.array<const T>();
  if (grad_x) args.grad_x = r.array<T>();
  if (weights && args.term.first) args.grad_first = r.array<T>();
  if (weights) args.grad_second = r.array<T>();
  return args;
}
template <class T>
void backward(Reader r) {
  const auto args = read_backward<T>(r);
  separable_node_backward_cuda(args, on_gpu(r.array<void>()));
}
// The same arguments; the last array receives the bytes of scratch.
template <class T>
void scratch_bytes(Reader r) {
  const auto args = read_backward<T>(r);
  *r.array<std::int64_t>() = separable_node_backward_cuda_scratch_bytes(args);
}

}  // namespace

#define ENTRIES(T, name)                                                 \
  CUDA_ON_CPU_ENTRY(forward_##name) { forward<T>({arrays, numbers}); }   \
  CUDA_ON_CPU_ENTRY(backward_##name) { backward<T>({arrays, numbers}); } \
  CUDA_ON_CPU_ENTRY(scratch_bytes_##name) { scratch_bytes<T>({arrays, numbers}); }
CUDA_ON_CPU_ENTRIES(ENTRIES)

// Calls of csrc/nasn/supernet_node.hpp for test_supernet_node_cuda.py.
#include "entry.hpp"
#include "nasn/supernet_node.hpp"

namespace {

// Numbers: how many follow, batch, ny, nx, channels, elements between pixels of x, outputs, the same of grad, tf32,
// whether there is an addend, whether grad_x and weights are wanted, then the operations. Arrays: x, grad, what there
// is of addend and grad_x; of every operation alpha, first, second and, if they are wanted, their gradients, what there
// is; the last one is scratch.
template <class T>
struct Reader {
  void* const* arrays;
  const std::int64_t* numbers;
  const std::int64_t n_numbers;

  template <class Element>
  Element* array() {
    return static_cast<Element*>(*arrays++);
  }
  SupernetEdgeBackwardArgs<T> arguments() {
    SupernetEdgeBackwardArgs<T> args{};
    const std::int64_t* n = numbers;
    args.batch = *n++, args.ny = *n++, args.nx = *n++;
    args.channels = *n++, args.pixel = *n++, args.outputs = *n++, args.grad_pixel = *n++, args.tf32 = *n++;
    const bool addend = *n++, grad_x = *n++;
    args.need_weight = *n++;
    args.addend_pixel = args.grad_x_pixel = args.channels;
    args.x = array<const T>(), args.grad = array<const T>();
    if (addend) args.addend = array<const T>();
    if (grad_x) args.grad_x = array<T>();
    for (; n < numbers + n_numbers; ++n) {
      EdgeTerm<T>& term = args.term[args.n_terms++];
      term.operation = static_cast<Separable>(*n);
      const bool first = has_depthwise_3x3(term.operation), second = term.operation != Separable::skip;
      term.alpha = array<const T>();
      if (first) term.first = array<const T>();
      if (second) term.second = array<const T>();
      if (!args.need_weight) continue;
      term.grad_alpha = array<T>();
      if (first) term.grad_first = array<T>();
      if (second) term.grad_second = array<T>();
    }
    return args;
  }
};

template <class T>
void backward(Reader<T> r) {
  const auto args = r.arguments();
  supernet_edge_backward_cuda(args, on_gpu(r.template array<void>()));
}
// The same arguments; the last array receives the bytes of scratch.
template <class T>
void scratch_bytes(Reader<T> r) {
  const auto args = r.arguments();
  *r.template array<std::int64_t>() = supernet_edge_backward_cuda_scratch_bytes(args);
}

// Numbers: how many terms, then the fields of _core.SupernetEdgeBackwardArgs, numbers and addresses, one after another.
template <class T>
SupernetEdgeBackwardArgs<T> at_addresses(const std::int64_t* n) {
  SupernetEdgeBackwardArgs<T> args{};
  const auto given = [&n] { return reinterpret_cast<const T*>(*n++); };
  const auto written = [&n] { return reinterpret_cast<T*>(*n++); };
  args.n_terms = static_cast<int>(*n++);
  for (int i = 0; i < args.n_terms; ++i) {
    EdgeTerm<T>& term = args.term[i];
    term.operation = static_cast<Separable>(*n++);
    term.alpha = given(), term.first = given(), term.second = given();
    term.grad_alpha = written(), term.grad_first = written(), term.grad_second = written();
  }
  args.x = given(), args.channels = *n++, args.pixel = *n++, args.grad = given(), args.outputs = *n++;
  args.grad_pixel = *n++, args.addend = given(), args.addend_pixel = *n++, args.grad_x = written();
  args.grad_x_pixel = *n++, args.need_weight = *n++, args.batch = *n++, args.ny = *n++, args.nx = *n++;
  args.tf32 = *n++;
  return args;
}

}  // namespace

#define ENTRIES(T, name)                                                             \
  CUDA_ON_CPU_ENTRY(edge_##name) { backward<T>({arrays, numbers + 1, numbers[0]}); } \
  CUDA_ON_CPU_ENTRY(edge_scratch_bytes_##name) { scratch_bytes<T>({arrays, numbers + 1, numbers[0]}); }
CUDA_ON_CPU_ENTRIES(ENTRIES)
CUDA_ON_CPU_ENTRY(edge_at_addresses) { supernet_edge_backward_cuda(at_addresses<float>(numbers), on_gpu(arrays[0])); }
CUDA_ON_CPU_ENTRY(edge_scratch_bytes_at_addresses) {
  *static_cast<std::int64_t*>(arrays[0]) = supernet_edge_backward_cuda_scratch_bytes(at_addresses<float>(numbers));
}

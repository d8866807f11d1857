// Calls of csrc/data_consistency for data_consistency_problem.py, which documents the arguments.
#include "data_consistency/data_consistency.hpp"
#include "entry.hpp"
#include "sense_normal/sense_normal.hpp"

namespace {

struct Reader {
  void* const* arrays;
  const std::int64_t* numbers;

  KspaceShape shape() {
    KspaceShape s{};
    s.batch = *numbers++, s.replicas = *numbers++, s.batch_per_mask = *numbers++;
    s.ny = *numbers++, s.nx = *numbers++;
    s.axes = static_cast<Axes>(*numbers++);
    return s;
  }
  template <class T>
  T* array() {
    return static_cast<T*>(*arrays++);
  }
  template <class T>
  T* array_if(bool present) {
    T* p = array<T>();
    return present ? p : nullptr;
  }
  bool flag() { return *numbers++ != 0; }
  // One array; numbers: offsets of re and im, the four strides.
  template <class T>
  ComplexImages<T> images() {
    T* base = array<T>();
    ComplexImages<T> stack{};
    stack.re = base + *numbers++, stack.im = base + *numbers++;
    stack.batch_stride = *numbers++, stack.replica_stride = *numbers++;
    stack.row_stride = *numbers++, stack.column_stride = *numbers++;
    return stack;
  }
};

template <class T>
void apply(Reader r) {
  DataConsistencyArgs<T> args{};
  args.shape = r.shape();
  args.image = r.images<const T>(), args.out = r.images<T>();
  args.samples = r.array_if<const T>(r.flag());
  args.weights = r.array<const T>(), args.eta = r.array<const T>(), args.add_image = r.flag();
  data_consistency_cuda(args, on_gpu(nullptr));
}
template <class T>
DataConsistencyBackwardArgs<T> backward_args(Reader& r) {
  DataConsistencyBackwardArgs<T> args{};
  args.shape = r.shape();
  args.grad = r.images<const T>(), args.image = r.images<const T>(), args.grad_image = r.images<T>();
  args.samples = r.array_if<const T>(r.flag());
  args.weights = r.array<const T>(), args.eta = r.array<const T>(), args.add_image = r.flag();
  args.grad_eta = r.array<T>();
  return args;
}
// The last array is scratch, or receives its bytes.
template <class T>
void backward(Reader r, bool bytes = false) {
  const auto args = backward_args<T>(r);
  if (bytes) return void(*r.array<std::int64_t>() = data_consistency_backward_cuda_scratch_bytes(args));
  data_consistency_backward_cuda(args, on_gpu(r.array<void>()));
}
template <class T>
void measure(Reader r, bool bytes = false) {
  MeasureArgs<T> args{};
  args.shape = r.shape();
  args.image = r.images<const T>();
  args.weights = r.array<const T>(), args.samples = r.array<T>();
  if (bytes) return void(*r.array<std::int64_t>() = data_consistency_measure_cuda_scratch_bytes(args));
  data_consistency_measure_cuda(args, on_gpu(r.array<void>()));
}
template <class T>
PackArgs<T> pack_args(Reader r) {
  PackArgs<T> args{};
  args.shape = r.shape();
  args.kspace = r.array<T>(), args.mask = r.array<const T>(), args.samples = r.array<T>();
  return args;
}
template <class T>
void sense(Reader r, bool bytes = false) {
  SenseNormalArgs<T> args{};
  args.shape = r.shape(), args.coils = *r.numbers++, args.sens_maps_stride = *r.numbers++;
  args.image = r.array<const T>(), args.sens_maps = r.array<const T>(), args.weights = r.array<const T>();
  args.out = r.array<T>();
  if (bytes) return void(*r.array<std::int64_t>() = sense_normal_cuda_scratch_bytes(args));
  sense_normal_cuda(args, on_gpu(r.array<void>()));
}
template <class T>
void pack_mask(Reader r) {
  PackMaskArgs<T> args{};
  args.shape = r.shape();
  args.mask = r.array<const T>(), args.weights = r.array<T>();
  data_consistency_pack_mask_cuda(args, on_gpu(nullptr));
}

}  // namespace

CUDA_ON_CPU_ENTRY(apply_f32) { apply<float>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(apply_f64) { apply<double>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(backward_f32) { backward<float>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(backward_scratch_bytes_f32) { backward<float>({arrays, numbers}, true); }
CUDA_ON_CPU_ENTRY(backward_f64) { backward<double>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(backward_scratch_bytes_f64) { backward<double>({arrays, numbers}, true); }
CUDA_ON_CPU_ENTRY(measure_f32) { measure<float>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(measure_scratch_bytes_f32) { measure<float>({arrays, numbers}, true); }
CUDA_ON_CPU_ENTRY(measure_f64) { measure<double>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(measure_scratch_bytes_f64) { measure<double>({arrays, numbers}, true); }
CUDA_ON_CPU_ENTRY(pack_f32) { data_consistency_pack_cuda(pack_args<float>({arrays, numbers}), on_gpu(nullptr)); }
CUDA_ON_CPU_ENTRY(pack_f64) { data_consistency_pack_cuda(pack_args<double>({arrays, numbers}), on_gpu(nullptr)); }
CUDA_ON_CPU_ENTRY(unpack_f32) { data_consistency_unpack_cuda(pack_args<float>({arrays, numbers}), on_gpu(nullptr)); }
CUDA_ON_CPU_ENTRY(unpack_f64) { data_consistency_unpack_cuda(pack_args<double>({arrays, numbers}), on_gpu(nullptr)); }
CUDA_ON_CPU_ENTRY(pack_mask_f32) { pack_mask<float>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(pack_mask_f64) { pack_mask<double>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(sense_normal_f32) { sense<float>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(sense_normal_scratch_bytes_f32) { sense<float>({arrays, numbers}, true); }
CUDA_ON_CPU_ENTRY(sense_normal_f64) { sense<double>({arrays, numbers}); }
CUDA_ON_CPU_ENTRY(sense_normal_scratch_bytes_f64) { sense<double>({arrays, numbers}, true); }

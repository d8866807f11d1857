// Calls of csrc/pyramid_attention/pyramid_attention.hpp for test_pyramid_attention_cuda.py, which documents the
// arguments.
#include "entry.hpp"
#include "pyramid_attention/pyramid_attention.hpp"

namespace {

// Numbers: batch, ny, nx, channels of the three parts (0: no such part), outputs of a branch, then kernel size and
// groups of each of the four branches (0: no such branch), then what else a call needs.
constexpr int kShapeNumbers = 15;

PyramidShape shape_of(const std::int64_t* n) {
  PyramidShape s{};
  s.batch = n[0], s.ny = n[1], s.nx = n[2], s.branch_channels = n[6];
  for (int p = 0; p < kMaxParts; ++p)
    if (n[3 + p]) s.part_channels[s.n_parts++] = n[3 + p];
  for (int i = 0; i < kMaxBranches; ++i)
    if (n[7 + 2 * i]) s.kernel[s.n_branches] = static_cast<int>(n[7 + 2 * i]), s.groups[s.n_branches++] = n[8 + 2 * i];
  return s;
}

struct Reader {
  void* const* arrays;
  template <class T>
  T* array() {
    return static_cast<T*>(*arrays++);
  }
};

// Of both directions: the array after argmax is scratch, or receives its bytes.
template <class T>
void forward(Reader r, const std::int64_t* numbers, bool bytes = false) {
  PyramidArgs<T> args{};
  args.shape = shape_of(numbers);
  for (int p = 0; p < args.shape.n_parts; ++p) args.part[p] = r.array<const T>();
  args.scale = r.array<const T>();
  for (int i = 0; i < args.shape.n_branches; ++i) args.weight[i] = r.array<const T>();
  args.features = r.array<T>(), args.mean = r.array<T>(), args.maximum = r.array<T>();
  args.argmax = r.array<std::int64_t>();
  if (bytes) return void(*r.array<std::int64_t>() = pyramid_attention_cuda_scratch_bytes(args));
  pyramid_attention_cuda(args, on_gpu(r.array<void>()));
}

// Two more numbers: whether grad_x and grad_weight are wanted.
template <class T>
void backward(Reader r, const std::int64_t* numbers, bool bytes = false) {
  PyramidBackwardArgs<T> args{};
  args.shape = shape_of(numbers);
  const PyramidShape& s = args.shape;
  for (int p = 0; p < s.n_parts; ++p) args.part[p] = r.array<const T>();
  args.scale = r.array<const T>();
  for (int i = 0; i < s.n_branches; ++i) args.weight[i] = r.array<const T>();
  args.grad_features = r.array<const T>(), args.grad_mean = r.array<const T>(), args.grad_maximum = r.array<const T>();
  args.argmax = r.array<const std::int64_t>();
  void* const scratch = r.array<void>();
  for (int p = 0; p < s.n_parts && numbers[kShapeNumbers]; ++p) args.grad_x[p] = r.array<T>();
  for (int i = 0; i < s.n_branches && numbers[kShapeNumbers + 1]; ++i) args.grad_weight[i] = r.array<T>();
  if (bytes) return void(*static_cast<std::int64_t*>(scratch) = pyramid_attention_backward_cuda_scratch_bytes(args));
  pyramid_attention_backward_cuda(args, on_gpu(scratch));
}

}  // namespace

CUDA_ON_CPU_ENTRY(forward_f32) { forward<float>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_scratch_bytes_f32) { forward<float>({arrays}, numbers, true); }
CUDA_ON_CPU_ENTRY(backward_f32) { backward<float>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_scratch_bytes_f32) { backward<float>({arrays}, numbers, true); }
CUDA_ON_CPU_ENTRY(forward_bf16) { forward<BFloat16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_scratch_bytes_bf16) { forward<BFloat16>({arrays}, numbers, true); }
CUDA_ON_CPU_ENTRY(backward_bf16) { backward<BFloat16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_scratch_bytes_bf16) { backward<BFloat16>({arrays}, numbers, true); }
CUDA_ON_CPU_ENTRY(forward_f16) { forward<Float16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_scratch_bytes_f16) { forward<Float16>({arrays}, numbers, true); }
CUDA_ON_CPU_ENTRY(backward_f16) { backward<Float16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_scratch_bytes_f16) { backward<Float16>({arrays}, numbers, true); }
#ifndef CSMRI_ONLY_FLOAT
CUDA_ON_CPU_ENTRY(forward_f64) { forward<double>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_scratch_bytes_f64) { forward<double>({arrays}, numbers, true); }
CUDA_ON_CPU_ENTRY(backward_f64) { backward<double>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_scratch_bytes_f64) { backward<double>({arrays}, numbers, true); }
#endif

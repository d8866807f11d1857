// Calls of csrc/pyramid_attention/pyramid_attention.hpp for test_pyramid_attention_cuda.py, which documents the
// arguments.
#include "entry.hpp"
#include "pyramid_attention/pyramid_attention.hpp"

using namespace csmri;

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

template <class T>
void forward(Reader r, const std::int64_t* numbers) {
  PyramidArgs<T> args{};
  args.shape = shape_of(numbers);
  for (int p = 0; p < args.shape.n_parts; ++p) args.part[p] = r.array<const T>();
  args.scale = r.array<const T>();
  for (int i = 0; i < args.shape.n_branches; ++i) args.weight[i] = r.array<const T>();
  args.features = r.array<T>(), args.mean = r.array<T>(), args.maximum = r.array<T>();
  args.argmax = r.array<std::int64_t>(), args.scratch = r.array<void>();
  pyramid_attention_cuda(args, nullptr);
}

// Two more numbers: whether grad_x and grad_weight are wanted.
template <class T>
void backward(Reader r, const std::int64_t* numbers) {
  PyramidBackwardArgs<T> args{};
  args.shape = shape_of(numbers);
  const PyramidShape& s = args.shape;
  for (int p = 0; p < s.n_parts; ++p) args.part[p] = r.array<const T>();
  args.scale = r.array<const T>();
  for (int i = 0; i < s.n_branches; ++i) args.weight[i] = r.array<const T>();
  args.grad_features = r.array<const T>(), args.grad_mean = r.array<const T>(), args.grad_maximum = r.array<const T>();
  args.argmax = r.array<const std::int64_t>(), args.scratch = r.array<void>();
  for (int p = 0; p < s.n_parts && numbers[kShapeNumbers]; ++p) args.grad_x[p] = r.array<T>();
  for (int i = 0; i < s.n_branches && numbers[kShapeNumbers + 1]; ++i) args.grad_weight[i] = r.array<T>();
  pyramid_attention_backward_cuda(args, nullptr);
}

template <class T>
void workspace(Reader r, const std::int64_t* numbers) {
  std::int64_t* bytes = r.array<std::int64_t>();
  bytes[0] = pyramid_attention_cuda_workspace<T>(shape_of(numbers));
  bytes[1] = pyramid_attention_backward_cuda_workspace<T>(shape_of(numbers));
}

}  // namespace

CUDA_ON_CPU_ENTRY(workspace_f32) { workspace<float>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_f32) { forward<float>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_f32) { backward<float>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(workspace_bf16) { workspace<BFloat16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_bf16) { forward<BFloat16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_bf16) { backward<BFloat16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(workspace_f16) { workspace<Float16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_f16) { forward<Float16>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_f16) { backward<Float16>({arrays}, numbers); }
#ifndef CSMRI_ONLY_FLOAT
CUDA_ON_CPU_ENTRY(workspace_f64) { workspace<double>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(forward_f64) { forward<double>({arrays}, numbers); }
CUDA_ON_CPU_ENTRY(backward_f64) { backward<double>({arrays}, numbers); }
#endif

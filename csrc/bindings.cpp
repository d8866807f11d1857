// The only pybind11 file. Each function unpacks integers (data pointers, extents, a stream), releases the GIL, calls
// the kernel and turns its error into an exception. Shapes, dtypes and devices are checked in csmri_ext/ops.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/peak.hpp"
#include "core/simd.hpp"
#include "pyramid_attention/pyramid_attention.hpp"
#include "split_depthwise/split_depthwise.hpp"
#ifdef CSMRI_WITH_CUDA
#include <cuda_runtime.h>
#endif

namespace py = pybind11;

namespace {

py::dict build_info() {
  py::dict info;
  info["version"] = CSMRI_VERSION;
#ifdef CSMRI_WITH_CUDA
  info["cuda"] = CUDART_VERSION;
#else
  info["cuda"] = py::none();
#endif
#ifdef _OPENMP
  info["openmp"] = _OPENMP;
#else
  info["openmp"] = py::none();
#endif
#ifdef CSMRI_X86_LEVELS
  info["simd_levels"] = py::make_tuple("baseline", "avx2", "avx512");
#else
  info["simd_levels"] = py::make_tuple("baseline");
#endif
  info["simd_of_machine"] = csmri::simd_name(csmri::simd_level_of_machine());
  return info;
}

template <class T>
T* pointer(std::uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

using Address = std::uintptr_t;
using Addresses = std::vector<Address>;
using Sizes = std::vector<std::int64_t>;

// One name per device and dtype: <op>_cpu_f32. CPU kernels end with scratch memory and a number of threads.
template <class T>
void split_depthwise_cpu(Address x, Address weight, Address out, std::int64_t batch, std::int64_t splits,
                         std::int64_t channels, std::int64_t ny, std::int64_t nx, Address scratch, int threads) {
  csmri::SplitDepthwiseArgs<T> args{};
  args.x = pointer<const T>(x), args.weight = pointer<const T>(weight), args.out = pointer<T>(out);
  args.batch = batch, args.splits = splits, args.channels = channels, args.ny = ny, args.nx = nx;
  args.scratch = pointer<void>(scratch), args.threads = threads;
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::split_depthwise_cpu<level(), T>(args); });
}

template <class T>
void split_depthwise_backward_cpu(Address grad_out, Address x, Address out, Address weight, Address grad_x,
                                  Address grad_weight, std::int64_t batch, std::int64_t splits, std::int64_t channels,
                                  std::int64_t ny, std::int64_t nx, Address scratch, int threads) {
  csmri::SplitDepthwiseBackwardArgs<T> args{};
  args.grad_out = pointer<const T>(grad_out), args.x = pointer<const T>(x), args.out = pointer<const T>(out);
  args.weight = pointer<const T>(weight), args.grad_x = pointer<T>(grad_x), args.grad_weight = pointer<T>(grad_weight);
  args.batch = batch, args.splits = splits, args.channels = channels, args.ny = ny, args.nx = nx;
  args.scratch = pointer<void>(scratch), args.threads = threads;
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::split_depthwise_backward_cpu<level(), T>(args); });
}

csmri::PyramidShape pyramid_shape(std::int64_t batch, std::int64_t ny, std::int64_t nx, const Sizes& part_channels,
                                  const Sizes& kernels, const Sizes& groups, std::int64_t branch_channels) {
  csmri::PyramidShape shape{};
  shape.batch = batch, shape.ny = ny, shape.nx = nx, shape.branch_channels = branch_channels;
  shape.n_parts = static_cast<int>(part_channels.size());
  shape.n_branches = static_cast<int>(kernels.size());
  for (int p = 0; p < shape.n_parts; ++p) shape.part_channels[p] = part_channels.at(p);
  for (int i = 0; i < shape.n_branches; ++i) {
    shape.kernel[i] = static_cast<int>(kernels.at(i));
    shape.groups[i] = groups.at(i);
  }
  return shape;
}

template <class T>
std::int64_t pyramid_scratch_bytes(const csmri::PyramidShape& shape, int threads) {
  return csmri::at_simd_level([&](auto level) { return csmri::pyramid_scratch_bytes<level(), T>(shape, threads); });
}

template <class T>
void pyramid_attention_cpu(const csmri::PyramidShape& shape, const Addresses& parts, Address scale,
                           const Addresses& weights, Address features, Address mean, Address maximum, Address argmax,
                           Address scratch, int threads) {
  csmri::PyramidArgs<T> args{};
  args.shape = shape;
  for (int p = 0; p < shape.n_parts; ++p) args.part[p] = pointer<const T>(parts.at(p));
  for (int i = 0; i < shape.n_branches; ++i) args.weight[i] = pointer<const T>(weights.at(i));
  args.scale = pointer<const T>(scale), args.features = pointer<T>(features), args.mean = pointer<T>(mean);
  args.maximum = pointer<T>(maximum), args.argmax = pointer<std::int64_t>(argmax);
  args.scratch = pointer<void>(scratch), args.threads = threads;
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::pyramid_attention_cpu<level(), T>(args); });
}

// Empty grad_x or grad_weight: not wanted.
template <class T>
void pyramid_attention_backward_cpu(const csmri::PyramidShape& shape, const Addresses& parts, Address scale,
                                    const Addresses& weights, Address grad_features, Address grad_mean,
                                    Address grad_maximum, Address argmax, const Addresses& grad_x,
                                    const Addresses& grad_weight, Address scratch, int threads) {
  csmri::PyramidBackwardArgs<T> args{};
  args.shape = shape;
  for (int p = 0; p < shape.n_parts; ++p) args.part[p] = pointer<const T>(parts.at(p));
  for (int i = 0; i < shape.n_branches; ++i) args.weight[i] = pointer<const T>(weights.at(i));
  for (std::size_t p = 0; p < grad_x.size(); ++p) args.grad_x[p] = pointer<T>(grad_x[p]);
  for (std::size_t i = 0; i < grad_weight.size(); ++i) args.grad_weight[i] = pointer<T>(grad_weight[i]);
  args.scale = pointer<const T>(scale), args.grad_features = pointer<const T>(grad_features);
  args.grad_mean = pointer<const T>(grad_mean), args.grad_maximum = pointer<const T>(grad_maximum);
  args.argmax = pointer<const std::int64_t>(argmax);
  args.scratch = pointer<void>(scratch), args.threads = threads;
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::pyramid_attention_backward_cpu<level(), T>(args); });
}

template <class T>
void define_float_kernels(py::module_& m, const std::string& suffix) {
  m.def(("split_depthwise_cpu_" + suffix).c_str(), &split_depthwise_cpu<T>);
  m.def(("split_depthwise_backward_cpu_" + suffix).c_str(), &split_depthwise_backward_cpu<T>);
  m.def(("pyramid_attention_cpu_" + suffix).c_str(), &pyramid_attention_cpu<T>);
  m.def(("pyramid_attention_backward_cpu_" + suffix).c_str(), &pyramid_attention_backward_cpu<T>);
  m.def(("pyramid_scratch_bytes_" + suffix).c_str(), &pyramid_scratch_bytes<T>);
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() =
      "Compiled kernels of csmri_ext: raw pointers in, nothing allocated. Reached only through torch.ops.csmri_ext.";
  m.def("build_info", &build_info, "How this module was built, and the best instruction set of this machine.");
  m.def(
      "simd_level", [] { return csmri::simd_name(csmri::simd_level()); },
      "The instruction set in use: the machine's best, or what CSMRI_SIMD names.");
  m.def(
      "measure_fma_rate",
      [](int threads) {
        py::gil_scoped_release release;
        return csmri::at_simd_level([&](auto level) { return csmri::measure_fma_rate<level()>(threads); });
      },
      "float32 operations per second of register-only multiply-adds: the ceiling that benchmarks print.");
  py::class_<csmri::PyramidShape>(m, "PyramidShape").def(py::init(&pyramid_shape));
  define_float_kernels<float>(m, "f32");
  define_float_kernels<double>(m, "f64");
  m.def("split_depthwise_scratch_bytes", &csmri::split_depthwise_scratch_bytes);
}

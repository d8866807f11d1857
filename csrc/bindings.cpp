// The only pybind11 file. Each function unpacks integers (data pointers, extents, a stream), releases the GIL, calls
// the kernel and turns its error into an exception. Shapes, dtypes and devices are checked in csmri_ext/ops.
#include <pybind11/pybind11.h>

#include "core/peak.hpp"
#include "core/simd.hpp"
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

template <class T>
void split_depthwise(std::uintptr_t x, std::uintptr_t weight, std::uintptr_t out, std::uintptr_t scratch,
                     std::int64_t batch, std::int64_t splits, std::int64_t channels, std::int64_t ny, std::int64_t nx,
                     int threads) {
  const csmri::SplitDepthwiseArgs<T> args{pointer<const T>(x),
                                          pointer<const T>(weight),
                                          pointer<T>(out),
                                          pointer<void>(scratch),
                                          batch,
                                          splits,
                                          channels,
                                          ny,
                                          nx,
                                          threads};
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::split_depthwise_cpu<level(), T>(args); });
}

template <class T>
void split_depthwise_backward(std::uintptr_t grad_out, std::uintptr_t x, std::uintptr_t out, std::uintptr_t weight,
                              std::uintptr_t grad_x, std::uintptr_t grad_weight, std::uintptr_t scratch,
                              std::int64_t batch, std::int64_t splits, std::int64_t channels, std::int64_t ny,
                              std::int64_t nx, int threads) {
  const csmri::SplitDepthwiseBackwardArgs<T> args{pointer<const T>(grad_out),
                                                  pointer<const T>(x),
                                                  pointer<const T>(out),
                                                  pointer<const T>(weight),
                                                  pointer<T>(grad_x),
                                                  pointer<T>(grad_weight),
                                                  pointer<void>(scratch),
                                                  batch,
                                                  splits,
                                                  channels,
                                                  ny,
                                                  nx,
                                                  threads};
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::split_depthwise_backward_cpu<level(), T>(args); });
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
  m.def("split_depthwise_f32", &split_depthwise<float>);
  m.def("split_depthwise_f64", &split_depthwise<double>);
  m.def("split_depthwise_backward_f32", &split_depthwise_backward<float>);
  m.def("split_depthwise_backward_f64", &split_depthwise_backward<double>);
  m.def("split_depthwise_scratch_bytes", &csmri::split_depthwise_scratch_bytes);
}

// The only pybind11 file. Each function unpacks integers (data pointers, extents, a stream), releases the GIL, calls
// the kernel and turns its error into an exception. Shapes, dtypes and devices are checked in csmri_ext/ops.
#include <pybind11/pybind11.h>

#include "core/simd.hpp"
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

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "Compiled kernels of csmri_ext: raw pointers in, nothing allocated. Reached only through torch.ops.csmri_ext.";
  m.def("build_info", &build_info, "How this module was built, and the best instruction set of this machine.");
  m.def("simd_level", [] { return csmri::simd_name(csmri::simd_level()); },
        "The instruction set in use: the machine's best, or what CSMRI_SIMD names.");
}

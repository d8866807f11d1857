// The module itself: how it was built, and what each room defines.
#include <pybind11/pybind11.h>

#include "bindings/binding.hpp"
#include "core/peak.hpp"
#include "core/simd.hpp"

namespace py = pybind11;

namespace {

py::dict build_info() {
  py::dict info;
  info["version"] = CSMRI_VERSION;
#ifdef CSMRI_WITH_CUDA
  info["cuda"] = CUDART_VERSION;
  info["cuda_architectures"] = CSMRI_CUDA_ARCHITECTURES;
#else
  info["cuda"] = py::none();
  info["cuda_architectures"] = py::none();
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

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  using namespace csmri;
  m.doc() =
      "Compiled kernels of csmri_ext: raw pointers in, nothing allocated. Reached only through torch.ops.csmri_ext.";
  m.def("build_info", &build_info, "How this module was built, and the best instruction set of this machine.");
  m.def(
      "simd_level", [] { return simd_name(simd_level()); },
      "The instruction set in use: the machine's best, or what CSMRI_SIMD names.");
  m.def(
      "measure_fma_rate",
      [](int threads) {
        const py::gil_scoped_release release;
        return at_simd_level([&](auto level) { return measure_fma_rate<level()>(threads); });
      },
      py::arg("threads"),
      "float32 operations per second of register-only multiply-adds: the ceiling that benchmarks print.");
  bindings::define_struct<Workspace>(
      m, "Workspace", bindings::field("scratch", &Workspace::scratch), bindings::field("threads", &Workspace::threads),
      bindings::field("device", &Workspace::device), bindings::field("stream", &Workspace::stream));
  for (const bindings::Room::Kind kind : {bindings::Room::Kind::shared, bindings::Room::Kind::op})
    for (const auto& [of_kind, define] : bindings::Room::all())
      if (of_kind == kind) define(m);
}

// What the binding files share. A kernel takes one struct of arguments, by name, and a workspace:
//
//     _core.<op>_cpu_f32(_core.<Op>Args(x=..., weight=..., ...), _core.Workspace(scratch=..., threads=..., ...))
//
// The structs are those of the rooms, Args<T> with T = void: addresses are integers in Python, and one class serves all
// dtypes. Shapes, dtypes and devices are checked in csmri_ext/ops. Everything here runs without the GIL's protection:
// the module has no state but what core/simd.cpp and fft/line_plan.cpp guard themselves.
#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/simd.hpp"
#include "core/storage.hpp"
#include "core/workspace.hpp"
#ifdef CSMRI_WITH_CUDA
#include <cuda_runtime.h>
#endif

namespace csmri::bindings {

// --- structs with named fields ----------------------------------------------------------------------------------
using Address = std::uintptr_t;

// What Python gives for a member of type M, and sees of it.
template <class M>
struct Conversion {
  using Given = M;
  static void write(M& to, const Given& value, const char*) { to = value; }
  static Given read(const M& from) { return from; }
};
template <class P>
struct Conversion<P*> {
  using Given = Address;
  static void write(P*& to, Given value, const char*) { to = reinterpret_cast<P*>(value); }
  static Given read(P* from) { return reinterpret_cast<Address>(from); }
};
template <class M, std::size_t kCount>
struct Conversion<M[kCount]> {
  using Given = std::vector<typename Conversion<M>::Given>;
  static void write(M (&to)[kCount], const Given& values, const char* name) {
    if (values.size() > kCount)
      throw std::length_error(std::string(name) + " has " + std::to_string(values.size()) + " elements, at most " +
                              std::to_string(kCount) + " fit");
    for (std::size_t i = 0; i < values.size(); ++i) Conversion<M>::write(to[i], values[i], name);
  }
  static Given read(const M (&from)[kCount]) {
    Given values;
    for (const M& element : from) values.push_back(Conversion<M>::read(element));
    return values;
  }
};
template <class P>
struct Conversion<std::vector<P*>> {
  using Given = std::vector<Address>;
  static void write(std::vector<P*>& to, const Given& values, const char*) {
    to.clear();
    for (Address value : values) to.push_back(reinterpret_cast<P*>(value));
  }
  static Given read(const std::vector<P*>& from) {
    Given values;
    for (P* element : from) values.push_back(reinterpret_cast<Address>(element));
    return values;
  }
};

template <class Struct, class M>
struct Field {
  using Given = typename Conversion<M>::Given;
  const char* name;
  M Struct::* member;
  void write(Struct& to, const Given& value) const { Conversion<M>::write(to.*member, value, name); }
  Given read(const Struct& from) const { return Conversion<M>::read(from.*member); }
};
template <class Struct, class M>
Field<Struct, M> field(const char* name, M Struct::* member) {
  return {name, member};
}

// An array, and the member that counts its elements.
template <class Struct, class M>
struct CountedField {
  using Given = typename Conversion<M>::Given;
  const char* name;
  M Struct::* member;
  int Struct::* count;
  void write(Struct& to, const Given& values) const {
    Conversion<M>::write(to.*member, values, name);
    to.*count = static_cast<int>(values.size());
  }
  Given read(const Struct& from) const {
    Given values = Conversion<M>::read(from.*member);
    values.resize(static_cast<std::size_t>(from.*count));
    return values;
  }
};
template <class Struct, class M>
CountedField<Struct, M> field(const char* name, M Struct::* member, int Struct::* count) {
  return {name, member, count};
}

// A class of that name in Python, made from keyword arguments, one for each field.
template <class Struct, class... Fields>
pybind11::class_<Struct> define_struct(pybind11::module_& m, const char* name, const Fields&... fields) {
  pybind11::class_<Struct> defined(m, name);
  defined.def(pybind11::init([fields...](const typename Fields::Given&... given) {
                Struct made{};
                (fields.write(made, given), ...);
                return made;
              }),
              pybind11::kw_only(), pybind11::arg(fields.name)...);
  (defined.def_property_readonly(fields.name, [fields](const Struct& self) { return fields.read(self); }), ...);
  return defined;
}

// --- kernels ------------------------------------------------------------------------------------------------------
// Args<void> as Args<T>: the same bytes, since pointers to numbers look alike whatever the numbers.
template <template <class> class Args, class T>
struct Typed {
  static Args<T> of(const Args<void>& given) {
    static_assert(sizeof(Args<T>) == sizeof(Args<void>) && std::is_trivially_copyable_v<Args<T>>);
    Args<T> args;
    std::memcpy(&args, &given, sizeof args);
    return args;
  }
};

template <class T>
constexpr const char* kSuffix = nullptr;
template <>
inline constexpr const char* kSuffix<float> = "f32";
template <>
inline constexpr const char* kSuffix<double> = "f64";
template <>
inline constexpr const char* kSuffix<BFloat16> = "bf16";
template <>
inline constexpr const char* kSuffix<Float16> = "f16";

template <class... T>
struct Types {};
using Real = Types<float, double>;
using Stored = Types<float, double, BFloat16, Float16>;

constexpr auto kNoScratch = [](auto&&...) { return std::int64_t{0}; };

#ifdef CSMRI_WITH_CUDA
struct DeviceGuard {
  int before = 0;
  explicit DeviceGuard(int device) {
    cudaError_t error = cudaGetDevice(&before);
    if (error == cudaSuccess) error = cudaSetDevice(device);
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
  }
  ~DeviceGuard() { cudaSetDevice(before); }
};
#endif

// <name>_cpu_<dtype>(args, work) and <name>_scratch_bytes_cpu_<dtype>(args, threads) for float32 and float64, of
// run(level, args, work) and scratch_bytes(level, args, threads).
template <template <class> class Args, class Run, class ScratchBytes>
void define_cpu(pybind11::module_& m, const std::string& name, const Run& run, const ScratchBytes& scratch_bytes) {
  const auto define = [&](auto zero) {
    using T = decltype(zero);
    const std::string suffix = std::string("_cpu_") + kSuffix<T>;
    m.def((name + suffix).c_str(),
          [run](const Args<void>& given, const Workspace& work) {
            const pybind11::gil_scoped_release release;
            const Args<T> args = Typed<Args, T>::of(given);
            at_simd_level([&](auto level) { run(level, args, work); });
          },
          pybind11::arg("args"), pybind11::arg("work"));
    m.def((name + "_scratch_bytes" + suffix).c_str(),
          [scratch_bytes](const Args<void>& given, [[maybe_unused]] int threads) -> std::int64_t {
            const Args<T> args = Typed<Args, T>::of(given);
            return at_simd_level([&](auto level) -> std::int64_t { return scratch_bytes(level, args, threads); });
          },
          pybind11::arg("args"), pybind11::arg("threads"));
  };
  define(float{});
  define(double{});
}

// The same of a build with CUDA, <name>_cuda_<dtype> for the dtypes T, of run(args, work) and scratch_bytes(args).
template <template <class> class Args, class... T, class Run, class ScratchBytes>
void define_cuda([[maybe_unused]] pybind11::module_& m, [[maybe_unused]] const std::string& name, Types<T...>,
                 [[maybe_unused]] const Run& run, [[maybe_unused]] const ScratchBytes& scratch_bytes) {
#ifdef CSMRI_WITH_CUDA
  const auto define = [&](auto zero) {
    using U = decltype(zero);
    const std::string suffix = std::string("_cuda_") + kSuffix<U>;
    m.def((name + suffix).c_str(),
          [run](const Args<void>& given, const Workspace& work) {
            const pybind11::gil_scoped_release release;
            const DeviceGuard guard(work.device);
            run(Typed<Args, U>::of(given), work);
          },
          pybind11::arg("args"), pybind11::arg("work"));
    m.def((name + "_scratch_bytes" + suffix).c_str(),
          [scratch_bytes](const Args<void>& given, int) -> std::int64_t {
            return scratch_bytes(Typed<Args, U>::of(given));
          },
          pybind11::arg("args"), pybind11::arg("threads"));
  };
  (define(T{}), ...);
#endif
}

// --- rooms --------------------------------------------------------------------------------------------------------
// Each binding file has one object of this type; module.cpp calls their functions, shared structs first.
struct Room {
  enum class Kind { shared, op };
  using Define = void (*)(pybind11::module_&);
  Room(Kind kind, Define define) { all().emplace_back(kind, define); }
  static std::vector<std::pair<Kind, Define>>& all() {
    static std::vector<std::pair<Kind, Define>> rooms;
    return rooms;
  }
};

}  // namespace csmri::bindings

// With nasn.cpp the only pybind11 files. Each function unpacks integers (data pointers, extents, a
// stream), releases the GIL, calls the kernel and turns its error into an exception. Shapes, dtypes and devices are
// checked in csmri_ext/ops.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "bindings/binding.hpp"
#include "core/peak.hpp"
#include "core/simd.hpp"
#include "data_consistency/data_consistency.hpp"
#include "fft/line_plan.hpp"
#include "hsab/hsab_feed_forward.hpp"
#include "pyramid_attention/pyramid_attention.hpp"
#include "sense_normal/sense_normal.hpp"
#include "split_depthwise/split_depthwise.hpp"

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

using Addresses = std::vector<Address>;
using Sizes = std::vector<std::int64_t>;

// One name per device and dtype: <op>_cpu_f32, <op>_cuda_bf16.

using ChainExtents = std::array<std::int64_t, 5>;  // batch, splits, channels, ny, nx

template <class Args>
void set_extents(Args& args, const ChainExtents& n) {
  args.batch = n[0], args.splits = n[1], args.channels = n[2], args.ny = n[3], args.nx = n[4];
}

template <class T, bool kCuda>
void split_depthwise(Address x, Address weight, Address out, const ChainExtents& extents, std::int64_t where,
                     std::int64_t how) {
  csmri::SplitDepthwiseArgs<T> args{};
  args.x = pointer<const T>(x), args.weight = pointer<const T>(weight), args.out = pointer<T>(out);
  set_extents(args, extents);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::split_depthwise_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::split_depthwise_cuda(args, stream); });
}

template <class T, bool kCuda>
void split_depthwise_backward(Address grad_out, Address x, Address out, Address weight, Address grad_x,
                              Address grad_weight, Address partials, const ChainExtents& extents, std::int64_t where,
                              std::int64_t how) {
  csmri::SplitDepthwiseBackwardArgs<T> args{};
  args.grad_out = pointer<const T>(grad_out), args.x = pointer<const T>(x), args.out = pointer<const T>(out);
  args.weight = pointer<const T>(weight), args.grad_x = pointer<T>(grad_x);
  args.grad_weight = pointer<csmri::Sum<T>>(grad_weight), args.scratch = pointer<void>(partials);
  set_extents(args, extents);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::split_depthwise_backward_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::split_depthwise_backward_cuda(args, stream); });
}

using FeedForwardExtents = std::array<std::int64_t, 5>;  // batch, ny, nx, channels, hidden

template <class Args>
Args feed_forward_args(const FeedForwardExtents& n) {
  Args args{};
  args.batch = n[0], args.ny = n[1], args.nx = n[2], args.channels = n[3], args.hidden = n[4];
  return args;
}

// Tensors in the order of HsabFeedForwardArgs.
template <class T, bool kCuda>
void hsab_feed_forward(const std::array<Address, 5>& tensors, const FeedForwardExtents& extents, std::int64_t where,
                       std::int64_t how) {
  auto args = feed_forward_args<csmri::HsabFeedForwardArgs<T>>(extents);
  args.x = pointer<const T>(tensors[0]), args.expand = pointer<const T>(tensors[1]);
  args.depthwise = pointer<const T>(tensors[2]), args.contract = pointer<const T>(tensors[3]);
  args.out = pointer<T>(tensors[4]);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::hsab_feed_forward_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::hsab_feed_forward_cuda(args, stream); });
}

// Tensors in the order of HsabFeedForwardBackwardArgs.
template <class T>
void hsab_feed_forward_backward_cpu(const std::array<Address, 10>& tensors, const FeedForwardExtents& extents,
                                    Address scratch, int threads) {
  auto args = feed_forward_args<csmri::HsabFeedForwardBackwardArgs<T>>(extents);
  args.grad_out = pointer<const T>(tensors[0]), args.x = pointer<const T>(tensors[1]);
  args.expand = pointer<const T>(tensors[2]), args.depthwise = pointer<const T>(tensors[3]);
  args.contract = pointer<const T>(tensors[4]), args.grad_x = pointer<T>(tensors[5]);
  args.grad_expand = pointer<T>(tensors[6]), args.grad_depthwise = pointer<T>(tensors[7]);
  args.grad_contract = pointer<T>(tensors[8]), args.partials = pointer<T>(tensors[9]);
  args.scratch = pointer<void>(scratch), args.threads = threads;
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::hsab_feed_forward_backward_cpu<level(), T>(args); });
}

template <class T>
std::int64_t hsab_feed_forward_scratch_bytes(const FeedForwardExtents& extents) {
  const auto args = feed_forward_args<csmri::HsabFeedForwardArgs<T>>(extents);
  return csmri::at_simd_level([&](auto level) { return csmri::hsab_feed_forward_scratch_bytes<level(), T>(args); });
}

// Bytes of scratch per thread, values of partials.
template <class T>
std::array<std::int64_t, 2> hsab_feed_forward_backward_workspace(const FeedForwardExtents& extents) {
  const auto args = feed_forward_args<csmri::HsabFeedForwardBackwardArgs<T>>(extents);
  return csmri::at_simd_level([&](auto level) {
    return std::array<std::int64_t, 2>{csmri::hsab_feed_forward_backward_scratch_bytes<level(), T>(args),
                                       csmri::hsab_feed_forward_partials<level(), T>(args)};
  });
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

template <class Args, class T>
Args pyramid_args(const csmri::PyramidShape& shape, const Addresses& parts, Address scale, const Addresses& weights,
                  Address workspace) {
  Args args{};
  args.shape = shape, args.scale = pointer<const T>(scale), args.scratch = pointer<void>(workspace);
  for (int p = 0; p < shape.n_parts; ++p) args.part[p] = pointer<const T>(parts.at(p));
  for (int i = 0; i < shape.n_branches; ++i) args.weight[i] = pointer<const T>(weights.at(i));
  return args;
}

template <class T, bool kCuda>
void pyramid_attention(const csmri::PyramidShape& shape, const Addresses& parts, Address scale,
                       const Addresses& weights, Address features, Address mean, Address maximum, Address argmax,
                       Address workspace, std::int64_t where, std::int64_t how) {
  auto args = pyramid_args<csmri::PyramidArgs<T>, T>(shape, parts, scale, weights, workspace);
  args.features = pointer<T>(features), args.mean = pointer<T>(mean), args.maximum = pointer<T>(maximum);
  args.argmax = pointer<std::int64_t>(argmax);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::pyramid_attention_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::pyramid_attention_cuda(args, stream); });
}

// Empty grad_x or grad_weight: not wanted.
template <class T, bool kCuda>
void pyramid_attention_backward(const csmri::PyramidShape& shape, const Addresses& parts, Address scale,
                                const Addresses& weights, Address grad_features, Address grad_mean,
                                Address grad_maximum, Address argmax, const Addresses& grad_x,
                                const Addresses& grad_weight, Address workspace, std::int64_t where, std::int64_t how) {
  auto args = pyramid_args<csmri::PyramidBackwardArgs<T>, T>(shape, parts, scale, weights, workspace);
  for (std::size_t p = 0; p < grad_x.size(); ++p) args.grad_x[p] = pointer<T>(grad_x[p]);
  for (std::size_t i = 0; i < grad_weight.size(); ++i) args.grad_weight[i] = pointer<T>(grad_weight[i]);
  args.grad_features = pointer<const T>(grad_features), args.grad_mean = pointer<const T>(grad_mean);
  args.grad_maximum = pointer<const T>(grad_maximum), args.argmax = pointer<const std::int64_t>(argmax);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::pyramid_attention_backward_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::pyramid_attention_backward_cuda(args, stream); });
}

template <class T>
std::int64_t pyramid_scratch_bytes(const csmri::PyramidShape& shape, int threads) {
  return csmri::at_simd_level([&](auto level) { return csmri::pyramid_scratch_bytes<level(), T>(shape, threads); });
}

using Shape = csmri::KspaceShape;
using Images = std::array<std::int64_t, 6>;  // addresses of re and im, strides of batch, replica, row, column

template <class T>
csmri::ComplexImages<T> images(const Images& x) {
  return {pointer<T>(static_cast<Address>(x[0])), pointer<T>(static_cast<Address>(x[1])), x[2], x[3], x[4], x[5]};
}

template <class T, bool kCuda>
void data_consistency(const Shape& shape, const Images& image, const Images& out, Address samples, Address weights,
                      Address eta, bool add_image, std::int64_t where, std::int64_t how) {
  csmri::DataConsistencyArgs<T> args{};
  args.shape = shape, args.image = images<const T>(image), args.out = images<T>(out), args.add_image = add_image;
  args.samples = pointer<const T>(samples), args.weights = pointer<const T>(weights), args.eta = pointer<const T>(eta);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::data_consistency_cpu<level(), T>(args, work); },
      [&](auto stream) { csmri::data_consistency_cuda(args, stream); });
}

template <class T, bool kCuda>
void data_consistency_backward(const Shape& shape, const Images& grad, const Images& image, const Images& grad_image,
                               Address samples, Address weights, Address eta, Address grad_eta, Address partials,
                               Address workspace, bool add_image, std::int64_t where, std::int64_t how) {
  csmri::DataConsistencyBackwardArgs<T> args{};
  args.shape = shape, args.grad = images<const T>(grad), args.image = images<const T>(image);
  args.grad_image = images<T>(grad_image), args.samples = pointer<const T>(samples), args.add_image = add_image;
  args.weights = pointer<const T>(weights), args.eta = pointer<const T>(eta), args.grad_eta = pointer<T>(grad_eta);
  args.partials = pointer<double>(partials), args.workspace = pointer<T>(workspace);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::data_consistency_backward_cpu<level(), T>(args, work); },
      [&](auto stream) { csmri::data_consistency_backward_cuda(args, stream); });
}

template <class T, bool kCuda>
void data_consistency_measure(const Shape& shape, const Images& image, Address weights, Address samples,
                              Address workspace, std::int64_t where, std::int64_t how) {
  const csmri::MeasureArgs<T> args{shape, images<const T>(image), pointer<const T>(weights), pointer<T>(samples),
                                   pointer<T>(workspace)};
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::data_consistency_measure_cpu<level(), T>(args, work); },
      [&](auto stream) { csmri::data_consistency_measure_cuda(args, stream); });
}

template <class T, bool kCuda>
void data_consistency_pack(const Shape& shape, Address kspace, Address mask, Address samples, std::int64_t where,
                           std::int64_t how) {
  const csmri::PackArgs<T> args{shape, pointer<T>(kspace), pointer<const T>(mask), pointer<T>(samples)};
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::data_consistency_pack_cpu<level(), T>(args, work); },
      [&](auto stream) { csmri::data_consistency_pack_cuda(args, stream); });
}

template <class T, bool kCuda>
void data_consistency_unpack(const Shape& shape, Address kspace, Address mask, Address samples, std::int64_t where,
                             std::int64_t how) {
  const csmri::PackArgs<T> args{shape, pointer<T>(kspace), pointer<const T>(mask), pointer<T>(samples)};
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::data_consistency_unpack_cpu<level(), T>(args, work); },
      [&](auto stream) { csmri::data_consistency_unpack_cuda(args, stream); });
}

template <class T, bool kCuda>
void data_consistency_pack_mask(const Shape& shape, Address mask, Address weights, std::int64_t where,
                                std::int64_t how) {
  const csmri::PackMaskArgs<T> args{shape, pointer<const T>(mask), pointer<T>(weights)};
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::data_consistency_pack_mask_cpu<level(), T>(args, work); },
      [&](auto stream) { csmri::data_consistency_pack_mask_cuda(args, stream); });
}

template <class T, bool kCuda>
void sense_normal(const Shape& shape, std::int64_t coils, Address image, Address sens_maps,
                  std::int64_t sens_maps_stride, Address weights, Address out, Address workspace, std::int64_t where,
                  std::int64_t how) {
  csmri::SenseNormalArgs<T> args{};
  args.shape = shape, args.coils = coils, args.image = pointer<const T>(image);
  args.sens_maps = pointer<const T>(sens_maps), args.sens_maps_stride = sens_maps_stride;
  args.weights = pointer<const T>(weights), args.out = pointer<T>(out), args.workspace = pointer<T>(workspace);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::sense_normal_cpu<level(), T>(args, work); },
      [&](auto stream) { csmri::sense_normal_cuda(args, stream); });
}

template <class T, bool kCuda>
void define_data_consistency(py::module_& m, const std::string& suffix) {
  m.def(("data_consistency" + suffix).c_str(), &data_consistency<T, kCuda>);
  m.def(("data_consistency_backward" + suffix).c_str(), &data_consistency_backward<T, kCuda>);
  m.def(("data_consistency_measure" + suffix).c_str(), &data_consistency_measure<T, kCuda>);
  m.def(("data_consistency_pack" + suffix).c_str(), &data_consistency_pack<T, kCuda>);
  m.def(("data_consistency_unpack" + suffix).c_str(), &data_consistency_unpack<T, kCuda>);
  m.def(("data_consistency_pack_mask" + suffix).c_str(), &data_consistency_pack_mask<T, kCuda>);
  m.def(("sense_normal" + suffix).c_str(), &sense_normal<T, kCuda>);
}

// Kernels of real-valued tensors.
template <class T, bool kCuda>
void define_real(py::module_& m, const std::string& suffix) {
  m.def(("split_depthwise" + suffix).c_str(), &split_depthwise<T, kCuda>);
  m.def(("split_depthwise_backward" + suffix).c_str(), &split_depthwise_backward<T, kCuda>);
  m.def(("hsab_feed_forward" + suffix).c_str(), &hsab_feed_forward<T, kCuda>);
  m.def(("pyramid_attention" + suffix).c_str(), &pyramid_attention<T, kCuda>);
  m.def(("pyramid_attention_backward" + suffix).c_str(), &pyramid_attention_backward<T, kCuda>);
  if constexpr (kCuda) {
    m.def(("pyramid_attention_workspace" + suffix).c_str(), &csmri::pyramid_attention_cuda_workspace<T>);
    m.def(("pyramid_attention_backward_workspace" + suffix).c_str(),
          &csmri::pyramid_attention_backward_cuda_workspace<T>);
  } else {
    m.def(("pyramid_attention_scratch_bytes" + suffix).c_str(), &pyramid_scratch_bytes<T>);
    m.def(("hsab_feed_forward_backward" + suffix).c_str(), &hsab_feed_forward_backward_cpu<T>);
    m.def(("hsab_feed_forward_scratch_bytes" + suffix).c_str(), &hsab_feed_forward_scratch_bytes<T>);
    m.def(("hsab_feed_forward_backward_workspace" + suffix).c_str(), &hsab_feed_forward_backward_workspace<T>);
  }
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
  define_separable(m);
  py::class_<Shape>(m, "KspaceShape")
      .def(py::init([](std::int64_t batch, std::int64_t replicas, std::int64_t batch_per_mask, std::int64_t ny,
                       std::int64_t nx, const std::string& axes) {
        const csmri::Axes which = axes == "x" ? csmri::Axes::x : axes == "y" ? csmri::Axes::y : csmri::Axes::xy;
        return Shape{batch, replicas, batch_per_mask, ny, nx, which};
      }));
  define_real<float, false>(m, "_cpu_f32");
  define_real<double, false>(m, "_cpu_f64");
  define_data_consistency<float, false>(m, "_cpu_f32");
  define_data_consistency<double, false>(m, "_cpu_f64");
#ifdef CSMRI_WITH_CUDA
  define_real<float, true>(m, "_cuda_f32");
  define_real<double, true>(m, "_cuda_f64");
  define_real<csmri::BFloat16, true>(m, "_cuda_bf16");
  define_real<csmri::Float16, true>(m, "_cuda_f16");
  define_data_consistency<float, true>(m, "_cuda_f32");
  define_data_consistency<double, true>(m, "_cuda_f64");
#endif
  m.attr("data_consistency_cuda_length") = csmri::kMaxCudaLength;
  m.def("line_scratch_bytes", &csmri::line_scratch_bytes);
  m.def("data_consistency_partials", &csmri::data_consistency_partials);
  m.def("sense_normal_workspace", &csmri::sense_normal_workspace);
  m.def("split_depthwise_scratch_bytes", &csmri::split_depthwise_scratch_bytes);
  m.def("split_depthwise_partials", &csmri::split_depthwise_partials);
}

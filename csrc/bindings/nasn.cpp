// Bindings of the NasN kernels, as in bindings.cpp.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/binding.hpp"
#include "core/simd.hpp"
#include "nasn/nasn_cascade.hpp"
#include "nasn/relu_conv.hpp"
#include "nasn/separable_node.hpp"
#include "nasn/supernet_node.hpp"

namespace py = pybind11;

namespace {

using Extents = std::array<std::int64_t, 3>;   // batch, ny, nx
using Pixels = std::array<std::int64_t, 2>;    // address of an NHWC tensor, elements from one pixel to the next
using NodeTerm = std::array<std::int64_t, 6>;  // operation, channels, address and pixel of x, addresses of its weights

template <class T>
csmri::NodeTerm<T> node_term(const NodeTerm& t) {
  return {static_cast<csmri::Separable>(t[0]),          pointer<const T>(static_cast<Address>(t[2])), t[1], t[3],
          pointer<const T>(static_cast<Address>(t[4])), pointer<const T>(static_cast<Address>(t[5]))};
}

template <class T>
csmri::SeparableNodeArgs<T> separable_node_args(const std::vector<NodeTerm>& terms, std::int64_t outputs,
                                                const Extents& extents) {
  csmri::SeparableNodeArgs<T> args{};
  args.n_terms = static_cast<int>(terms.size());
  for (int i = 0; i < args.n_terms; ++i) args.term[i] = node_term<T>(terms.at(i));
  args.outputs = outputs, args.batch = extents[0], args.ny = extents[1], args.nx = extents[2];
  return args;
}

template <class T, bool kCuda>
void separable_node(const std::vector<NodeTerm>& terms, std::int64_t outputs, const Extents& extents, const Pixels& out,
                    bool tf32, std::int64_t where, std::int64_t how) {
  auto args = separable_node_args<T>(terms, outputs, extents);
  args.out = pointer<T>(static_cast<Address>(out[0])), args.out_pixel = out[1], args.tf32 = tf32;
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::separable_node_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::separable_node_cuda(args, stream); });
}

template <class T>
csmri::SeparableNodeBackwardArgs<T> separable_node_backward_args(const NodeTerm& term, std::int64_t outputs,
                                                                 const Extents& extents) {
  csmri::SeparableNodeBackwardArgs<T> args{};
  args.term = node_term<T>(term);
  args.outputs = outputs, args.batch = extents[0], args.ny = extents[1], args.nx = extents[2];
  return args;
}

// Address 0: addend 0, grad_x not wanted; grad_second 0: weight gradients not wanted. workspace: the CPU kernel's
// partial sums, or what separable_node_backward_cuda_workspace says.
template <class T, bool kCuda>
void separable_node_backward(const NodeTerm& term, std::int64_t outputs, const Extents& extents, const Pixels& grad,
                             const Pixels& addend, const Pixels& grad_x, Address grad_first, Address grad_second,
                             Address workspace, bool tf32, std::int64_t where, std::int64_t how) {
  auto args = separable_node_backward_args<T>(term, outputs, extents);
  args.grad = pointer<const T>(static_cast<Address>(grad[0])), args.grad_pixel = grad[1];
  args.addend = pointer<const T>(static_cast<Address>(addend[0])), args.addend_pixel = addend[1];
  args.grad_x = pointer<T>(static_cast<Address>(grad_x[0])), args.grad_x_pixel = grad_x[1];
  args.grad_first = pointer<T>(grad_first), args.grad_second = pointer<T>(grad_second), args.tf32 = tf32;
  if constexpr (kCuda)
    args.scratch = pointer<void>(workspace);
  else
    args.partials = pointer<T>(workspace);
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::separable_node_backward_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::separable_node_backward_cuda(args, stream); });
}

// Address 0: addend 0, grad_x or grad_factor not wanted.
template <class T>
void scaled_skip_backward_cpu(std::int64_t channels, const Extents& extents, const Pixels& x, Address factor,
                              const Pixels& grad, const Pixels& addend, const Pixels& grad_x, Address grad_factor,
                              Address partials, Address, int threads) {
  csmri::ScaledSkipBackwardArgs<T> args{};
  args.channels = channels, args.batch = extents[0], args.ny = extents[1], args.nx = extents[2];
  args.x = pointer<const T>(static_cast<Address>(x[0])), args.pixel = x[1];
  args.factor = pointer<const T>(factor);
  args.grad = pointer<const T>(static_cast<Address>(grad[0])), args.grad_pixel = grad[1];
  args.addend = pointer<const T>(static_cast<Address>(addend[0])), args.addend_pixel = addend[1];
  args.grad_x = pointer<T>(static_cast<Address>(grad_x[0])), args.grad_x_pixel = grad_x[1];
  args.grad_factor = pointer<T>(grad_factor), args.partials = pointer<double>(partials);
  args.threads = threads;
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::scaled_skip_backward_cpu<level(), T>(args); });
}

template <class T>
csmri::ReluConvArgs<T> relu_conv_args(std::int64_t channels, std::int64_t outputs, const Extents& extents) {
  csmri::ReluConvArgs<T> args{};
  args.channels = channels, args.outputs = outputs;
  args.batch = extents[0], args.ny = extents[1], args.nx = extents[2];
  return args;
}

template <class T, bool kCuda>
void relu_conv(std::int64_t channels, std::int64_t outputs, const Extents& extents, const Pixels& x, Address weight,
               const Pixels& residual, const Pixels& out, std::int64_t where, std::int64_t how) {
  auto args = relu_conv_args<T>(channels, outputs, extents);
  args.x = pointer<const T>(static_cast<Address>(x[0])), args.pixel = x[1];
  args.weight = pointer<const T>(weight);
  args.residual = pointer<const T>(static_cast<Address>(residual[0])), args.residual_pixel = residual[1];
  args.out = pointer<T>(static_cast<Address>(out[0])), args.out_pixel = out[1];
  run<kCuda>(
      where, how, [&](auto level, auto work) { csmri::relu_conv_cpu<level(), T>(with(args, work)); },
      [&](auto stream) { csmri::relu_conv_cuda(args, stream); });
}

// Scratch bytes per thread of the forward pass; the same of the backward pass, and its number of partial sums.
template <class T>
void define_separable_node(py::module_& m, const std::string& suffix) {
  m.def(("separable_node_cpu_" + suffix).c_str(), &separable_node<T, false>);
  m.def(("separable_node_backward_cpu_" + suffix).c_str(), &separable_node_backward<T, false>);
  m.def(("scaled_skip_backward_cpu_" + suffix).c_str(), &scaled_skip_backward_cpu<T>);
  m.def(("separable_node_scratch_" + suffix).c_str(), [](const std::vector<NodeTerm>& terms, std::int64_t outputs,
                                                         const Extents& extents) {
    const auto args = separable_node_args<T>(terms, outputs, extents);
    return csmri::at_simd_level([&](auto level) { return csmri::separable_node_scratch_bytes<level(), T>(args); });
  });
  m.def(("relu_conv_cpu_" + suffix).c_str(), &relu_conv<T, false>);
  m.def(("relu_conv_scratch_" + suffix).c_str(),
        [](std::int64_t channels, std::int64_t outputs, const Extents& extents) {
          const auto args = relu_conv_args<T>(channels, outputs, extents);
          return csmri::at_simd_level([&](auto level) { return csmri::relu_conv_scratch_bytes<level(), T>(args); });
        });
  m.def(("separable_node_backward_scratch_" + suffix).c_str(),
        [](const NodeTerm& term, std::int64_t outputs, const Extents& extents) {
          const auto args = separable_node_backward_args<T>(term, outputs, extents);
          return csmri::at_simd_level([&](auto level) {
            return std::pair(csmri::separable_node_backward_scratch_bytes<level(), T>(args),
                             csmri::separable_node_partials<level(), T>(args));
          });
        });
}

#ifdef CSMRI_WITH_CUDA
// Operation, addresses of alpha and of the weights, and of their gradients; 0 where there are none.
using EdgeTerm = std::array<std::int64_t, 7>;

template <class T>
csmri::SupernetEdgeBackwardArgs<T> supernet_edge_args(const std::vector<EdgeTerm>& terms, std::int64_t channels,
                                                      std::int64_t outputs, const Extents& extents,
                                                      const Pixels& grad_x, bool need_weight) {
  csmri::SupernetEdgeBackwardArgs<T> args{};
  args.n_terms = static_cast<int>(terms.size());
  for (int i = 0; i < args.n_terms; ++i) {
    const EdgeTerm& t = terms.at(i);
    const auto given = [&](int j) { return pointer<const T>(static_cast<Address>(t[j])); };
    const auto wanted = [&](int j) { return pointer<T>(static_cast<Address>(t[j])); };
    args.term[i] = {static_cast<csmri::Separable>(t[0]), given(1), given(2), given(3), wanted(4), wanted(5), wanted(6)};
  }
  args.channels = channels, args.outputs = outputs, args.need_weight = need_weight;
  args.batch = extents[0], args.ny = extents[1], args.nx = extents[2];
  args.grad_x = pointer<T>(static_cast<Address>(grad_x[0])), args.grad_x_pixel = grad_x[1];
  return args;
}

template <class T>
void supernet_edge_backward(const std::vector<EdgeTerm>& terms, std::int64_t channels, std::int64_t outputs,
                            const Extents& extents, const Pixels& grad_x, bool need_weight, const Pixels& x,
                            const Pixels& grad, const Pixels& addend, Address workspace, bool tf32, std::int64_t where,
                            std::int64_t how) {
  auto args = supernet_edge_args<T>(terms, channels, outputs, extents, grad_x, need_weight);
  args.x = pointer<const T>(static_cast<Address>(x[0])), args.pixel = x[1];
  args.grad = pointer<const T>(static_cast<Address>(grad[0])), args.grad_pixel = grad[1];
  args.addend = pointer<const T>(static_cast<Address>(addend[0])), args.addend_pixel = addend[1];
  args.scratch = pointer<void>(workspace), args.tf32 = tf32;
  run<true>(where, how, [](auto, auto) {}, [&](auto stream) { csmri::supernet_edge_backward_cuda(args, stream); });
}

template <class T>
void define_separable_node_cuda(py::module_& m, const std::string& suffix) {
  m.def(("separable_node_cuda_" + suffix).c_str(), &separable_node<T, true>);
  m.def(("separable_node_backward_cuda_" + suffix).c_str(), &separable_node_backward<T, true>);
  m.def(("relu_conv_cuda_" + suffix).c_str(), &relu_conv<T, true>);
  m.def(("separable_node_backward_workspace_cuda_" + suffix).c_str(),
        [](const NodeTerm& term, std::int64_t outputs, const Extents& extents) {
          const auto args = separable_node_backward_args<T>(term, outputs, extents);
          return csmri::separable_node_backward_cuda_workspace(args);
        });
  m.def(("supernet_edge_backward_cuda_" + suffix).c_str(), &supernet_edge_backward<T>);
  m.def(("supernet_edge_backward_workspace_cuda_" + suffix).c_str(),
        [](const std::vector<EdgeTerm>& terms, std::int64_t channels, std::int64_t outputs, const Extents& extents,
           const Pixels& grad_x, bool need_weight) {
          const auto args = supernet_edge_args<T>(terms, channels, outputs, extents, grad_x, need_weight);
          return csmri::supernet_edge_backward_cuda_workspace(args);
        });
}
#endif

// A module: in_channels, channels, cells, composite; then the edges of each node as (operation, source).
using Module = std::tuple<std::int64_t, std::int64_t, int, bool>;
using Nodes = std::vector<std::vector<std::array<int, 2>>>;

template <class T>
csmri::NasnCascadeArgs<T> nasn_cascade_args(const Module& module, const Nodes& nodes, const Extents& extents) {
  csmri::NasnCascadeArgs<T> args{};
  std::tie(args.shape.in_channels, args.shape.channels, args.shape.cells, args.shape.composite) = module;
  for (const auto& node : nodes) {
    args.shape.nodes.emplace_back();
    for (const auto& edge : node) args.shape.nodes.back().push_back({static_cast<csmri::Separable>(edge[0]), edge[1]});
  }
  args.batch = extents[0], args.ny = extents[1], args.nx = extents[2];
  return args;
}

template <class T>
void nasn_cascade_cpu(const Module& module, const Nodes& nodes, const Extents& extents, const Pixels& image,
                      const Pixels& out, const std::vector<Address>& weights, Address scratch, int threads) {
  auto args = nasn_cascade_args<T>(module, nodes, extents);
  args.image = pointer<const T>(static_cast<Address>(image[0])), args.pixel = image[1];
  args.out = pointer<T>(static_cast<Address>(out[0])), args.out_pixel = out[1];
  for (Address weight : weights) args.weights.push_back(pointer<const T>(weight));
  args.scratch = pointer<void>(scratch), args.threads = threads;
  py::gil_scoped_release release;
  csmri::at_simd_level([&](auto level) { csmri::nasn_cascade_cpu<level(), T>(args); });
}

template <class T>
void define_nasn_cascade(py::module_& m, const std::string& suffix) {
  m.def(("nasn_cascade_cpu_" + suffix).c_str(), &nasn_cascade_cpu<T>);
  m.def(("nasn_cascade_scratch_" + suffix).c_str(),  // of all threads together
        [](const Module& module, const Nodes& nodes, const Extents& extents, int threads) {
          auto args = nasn_cascade_args<T>(module, nodes, extents);
          args.threads = threads;
          return csmri::at_simd_level([&](auto level) { return csmri::nasn_cascade_scratch_bytes<level(), T>(args); });
        });
}

}  // namespace

void define_separable(py::module_& m) {
  define_separable_node<float>(m, "f32");
  define_separable_node<double>(m, "f64");
  define_nasn_cascade<float>(m, "f32");
  define_nasn_cascade<double>(m, "f64");
#ifdef CSMRI_WITH_CUDA
  define_separable_node_cuda<float>(m, "f32");
  define_separable_node_cuda<double>(m, "f64");
  define_separable_node_cuda<csmri::BFloat16>(m, "bf16");
  define_separable_node_cuda<csmri::Float16>(m, "f16");
#endif
}

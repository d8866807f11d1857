#include "pyramid_attention/pyramid_attention.hpp"

#include <iterator>

#include "bindings/binding.hpp"

namespace csmri::bindings {
namespace {

void define(pybind11::module_& m) {
  m.attr("MAX_PARTS") = kMaxParts;
  m.attr("MAX_BRANCHES") = kMaxBranches;
  m.attr("KERNEL_SIZES") =
      pybind11::tuple(pybind11::cast(std::vector<int>(std::begin(kKernelSizes), std::end(kKernelSizes))));
  using Shape = PyramidShape;
  define_struct<Shape>(m, "PyramidShape", field("batch", &Shape::batch), field("ny", &Shape::ny),
                       field("nx", &Shape::nx), field("part_channels", &Shape::part_channels, &Shape::n_parts),
                       field("kernel", &Shape::kernel, &Shape::n_branches), field("groups", &Shape::groups),
                       field("branch_channels", &Shape::branch_channels));

  using A = PyramidArgs<void>;
  define_struct<A>(m, "PyramidArgs", field("shape", &A::shape), field("part", &A::part), field("scale", &A::scale),
                   field("weight", &A::weight), field("features", &A::features), field("mean", &A::mean),
                   field("maximum", &A::maximum), field("argmax", &A::argmax));
  define_cpu<PyramidArgs>(
      m, "pyramid_attention",
      [](auto level, const auto& args, const Workspace& work) { pyramid_attention_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return pyramid_attention_scratch_bytes<level()>(args, threads);
      });
  define_cuda<PyramidArgs>(
      m, "pyramid_attention", Stored{},
      [](const auto& args, const Workspace& work) { pyramid_attention_cuda(args, work); },
      [](const auto& args) { return pyramid_attention_cuda_scratch_bytes(args); });

  using B = PyramidBackwardArgs<void>;
  define_struct<B>(m, "PyramidBackwardArgs", field("shape", &B::shape), field("part", &B::part),
                   field("scale", &B::scale), field("weight", &B::weight), field("grad_features", &B::grad_features),
                   field("grad_mean", &B::grad_mean), field("grad_maximum", &B::grad_maximum),
                   field("argmax", &B::argmax), field("grad_x", &B::grad_x), field("grad_weight", &B::grad_weight));
  define_cpu<PyramidBackwardArgs>(
      m, "pyramid_attention_backward",
      [](auto level, const auto& args, const Workspace& work) { pyramid_attention_backward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return pyramid_attention_backward_scratch_bytes<level()>(args, threads);
      });
  define_cuda<PyramidBackwardArgs>(
      m, "pyramid_attention_backward", Stored{},
      [](const auto& args, const Workspace& work) { pyramid_attention_backward_cuda(args, work); },
      [](const auto& args) { return pyramid_attention_backward_cuda_scratch_bytes(args); });
}

const Room room(Room::Kind::op, define);

}  // namespace
}  // namespace csmri::bindings

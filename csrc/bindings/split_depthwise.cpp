#include "split_depthwise/split_depthwise.hpp"

#include "bindings/binding.hpp"

namespace csmri::bindings {
namespace {

void define(pybind11::module_& m) {
  m.attr("MAX_SPLITS") = kMaxSplits;
  using A = SplitDepthwiseArgs<void>;
  define_struct<A>(m, "SplitDepthwiseArgs", field("x", &A::x), field("weight", &A::weight), field("out", &A::out),
                   field("batch", &A::batch), field("splits", &A::splits), field("channels", &A::channels),
                   field("ny", &A::ny), field("nx", &A::nx));
  define_cpu<SplitDepthwiseArgs>(
      m, "split_depthwise",
      [](auto level, const auto& args, const Workspace& work) { split_depthwise_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return split_depthwise_scratch_bytes<level()>(args, threads); });
  define_cuda<SplitDepthwiseArgs>(
      m, "split_depthwise", Stored{}, [](const auto& args, const Workspace& work) { split_depthwise_cuda(args, work); },
      kNoScratch);

  using B = SplitDepthwiseBackwardArgs<void>;
  define_struct<B>(m, "SplitDepthwiseBackwardArgs", field("grad_out", &B::grad_out), field("x", &B::x),
                   field("out", &B::out), field("weight", &B::weight), field("grad_x", &B::grad_x),
                   field("grad_weight", &B::grad_weight), field("batch", &B::batch), field("splits", &B::splits),
                   field("channels", &B::channels), field("ny", &B::ny), field("nx", &B::nx));
  define_cpu<SplitDepthwiseBackwardArgs>(
      m, "split_depthwise_backward",
      [](auto level, const auto& args, const Workspace& work) { split_depthwise_backward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return split_depthwise_backward_scratch_bytes<level()>(args, threads);
      });
  define_cuda<SplitDepthwiseBackwardArgs>(
      m, "split_depthwise_backward", Stored{},
      [](const auto& args, const Workspace& work) { split_depthwise_backward_cuda(args, work); },
      [](const auto& args) { return split_depthwise_backward_cuda_scratch_bytes(args); });
}

const Room room(Room::Kind::op, define);

}  // namespace
}  // namespace csmri::bindings

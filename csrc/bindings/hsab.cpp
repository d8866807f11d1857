#include "bindings/binding.hpp"
#include "hsab/half_shuffle_attention.hpp"
#include "hsab/hsab_feed_forward.hpp"

namespace csmri::bindings {
namespace {

void define_attention(pybind11::module_& m) {
  using A = HalfShuffleAttentionArgs<void>;
  define_struct<A>(m, "HalfShuffleAttentionArgs", field("x", &A::x), field("norm_weight", &A::norm_weight),
                   field("norm_bias", &A::norm_bias), field("query", &A::query), field("key_value", &A::key_value),
                   field("project", &A::project), field("bias", &A::bias), field("out", &A::out),
                   field("batch", &A::batch), field("ny", &A::ny), field("nx", &A::nx), field("channels", &A::channels),
                   field("heads", &A::heads), field("epsilon", &A::epsilon));
  m.attr("WINDOW") = kWindow;
  define_cpu<HalfShuffleAttentionArgs>(
      m, "half_shuffle_attention",
      [](auto level, const auto& args, const Workspace& work) { half_shuffle_attention_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return half_shuffle_attention_scratch_bytes<level()>(args, threads);
      });

  define_cuda<HalfShuffleAttentionArgs>(
      m, "half_shuffle_attention", Stored{},
      [](const auto& args, const Workspace& work) { half_shuffle_attention_cuda(args, work); },
      [](const auto& args) { return half_shuffle_attention_cuda_scratch_bytes(args); });

  using B = HalfShuffleAttentionBackwardArgs<void>;
  define_struct<B>(m, "HalfShuffleAttentionBackwardArgs", field("grad_out", &B::grad_out),
                   field("forward", &B::forward), field("grad_x", &B::grad_x),
                   field("grad_norm_weight", &B::grad_norm_weight), field("grad_norm_bias", &B::grad_norm_bias),
                   field("grad_query", &B::grad_query), field("grad_key_value", &B::grad_key_value),
                   field("grad_project", &B::grad_project), field("grad_bias", &B::grad_bias));
  define_cpu<HalfShuffleAttentionBackwardArgs>(
      m, "half_shuffle_attention_backward",
      [](auto level, const auto& args, const Workspace& work) {
        half_shuffle_attention_backward_cpu<level()>(args, work);
      },
      [](auto level, const auto& args, int threads) {
        return half_shuffle_attention_backward_scratch_bytes<level()>(args, threads);
      });
}

void define(pybind11::module_& m) {
  define_attention(m);

  using A = HsabFeedForwardArgs<void>;
  define_struct<A>(m, "HsabFeedForwardArgs", field("x", &A::x), field("expand", &A::expand),
                   field("depthwise", &A::depthwise), field("contract", &A::contract), field("out", &A::out),
                   field("batch", &A::batch), field("ny", &A::ny), field("nx", &A::nx), field("channels", &A::channels),
                   field("hidden", &A::hidden));
  define_cpu<HsabFeedForwardArgs>(
      m, "hsab_feed_forward",
      [](auto level, const auto& args, const Workspace& work) { hsab_feed_forward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return hsab_feed_forward_scratch_bytes<level()>(args, threads);
      });
  define_cuda<HsabFeedForwardArgs>(
      m, "hsab_feed_forward", Stored{},
      [](const auto& args, const Workspace& work) { hsab_feed_forward_cuda(args, work); }, kNoScratch);

  using B = HsabFeedForwardBackwardArgs<void>;
  define_struct<B>(m, "HsabFeedForwardBackwardArgs", field("grad_out", &B::grad_out), field("x", &B::x),
                   field("expand", &B::expand), field("depthwise", &B::depthwise), field("contract", &B::contract),
                   field("grad_x", &B::grad_x), field("grad_expand", &B::grad_expand),
                   field("grad_depthwise", &B::grad_depthwise), field("grad_contract", &B::grad_contract),
                   field("batch", &B::batch), field("ny", &B::ny), field("nx", &B::nx), field("channels", &B::channels),
                   field("hidden", &B::hidden));
  define_cpu<HsabFeedForwardBackwardArgs>(
      m, "hsab_feed_forward_backward",
      [](auto level, const auto& args, const Workspace& work) { hsab_feed_forward_backward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return hsab_feed_forward_backward_scratch_bytes<level()>(args, threads);
      });
  define_cuda<HsabFeedForwardBackwardArgs>(
      m, "hsab_feed_forward_backward", Stored{},
      [](const auto& args, const Workspace& work) { hsab_feed_forward_backward_cuda(args, work); },
      [](const auto& args) { return hsab_feed_forward_backward_cuda_scratch_bytes(args); });
}

const Room room(Room::Kind::op, define);

}  // namespace
}  // namespace csmri::bindings

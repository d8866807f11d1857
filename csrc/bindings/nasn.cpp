#include "bindings/binding.hpp"
#include "nasn/nasn_cascade.hpp"
#include "nasn/relu_conv.hpp"
#include "nasn/separable_node.hpp"
#include "nasn/stem_backward.hpp"
#include "nasn/supernet_node.hpp"

namespace csmri::bindings {

template <class T>
struct Typed<NasnCascadeArgs, T> {  // holds vectors
  static NasnCascadeArgs<T> of(const NasnCascadeArgs<void>& given) {
    NasnCascadeArgs<T> args{};
    args.shape = given.shape;
    args.image = static_cast<const T*>(given.image), args.pixel = given.pixel;
    args.out = static_cast<T*>(given.out), args.out_pixel = given.out_pixel;
    for (const void* weight : given.weights) args.weights.push_back(static_cast<const T*>(weight));
    for (void* saved : given.saved) args.saved.push_back(static_cast<T*>(saved));
    args.saved_pixel = given.saved_pixel;
    args.batch = given.batch, args.ny = given.ny, args.nx = given.nx;
    return args;
  }
};

namespace {

void define_separable_node(pybind11::module_& m) {
  m.attr("MAX_TERMS") = kMaxTerms;
  pybind11::enum_<Separable>(m, "Separable")
      .value("pointwise", Separable::pointwise)
      .value("dilation1", Separable::dilation1)
      .value("dilation2", Separable::dilation2)
      .value("dilation3", Separable::dilation3)
      .value("column_row", Separable::column_row)
      .value("relu_conv", Separable::relu_conv)
      .value("skip", Separable::skip);
  using Term = NodeTerm<void>;
  define_struct<Term>(m, "NodeTerm", field("operation", &Term::operation), field("x", &Term::x),
                      field("channels", &Term::channels), field("pixel", &Term::pixel), field("first", &Term::first),
                      field("second", &Term::second));

  using A = SeparableNodeArgs<void>;
  define_struct<A>(m, "SeparableNodeArgs", field("term", &A::term, &A::n_terms), field("out", &A::out),
                   field("outputs", &A::outputs), field("out_pixel", &A::out_pixel), field("batch", &A::batch),
                   field("ny", &A::ny), field("nx", &A::nx), field("tf32", &A::tf32));
  define_cpu<SeparableNodeArgs>(
      m, "separable_node",
      [](auto level, const auto& args, const Workspace& work) { separable_node_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return separable_node_scratch_bytes<level()>(args, threads); });
  define_cuda<SeparableNodeArgs>(
      m, "separable_node", Stored{}, [](const auto& args, const Workspace& work) { separable_node_cuda(args, work); },
      kNoScratch);

  using B = SeparableNodeBackwardArgs<void>;
  define_struct<B>(m, "SeparableNodeBackwardArgs", field("term", &B::term), field("grad", &B::grad),
                   field("outputs", &B::outputs), field("grad_pixel", &B::grad_pixel), field("addend", &B::addend),
                   field("addend_pixel", &B::addend_pixel), field("grad_x", &B::grad_x),
                   field("grad_x_pixel", &B::grad_x_pixel), field("grad_first", &B::grad_first),
                   field("grad_second", &B::grad_second), field("batch", &B::batch), field("ny", &B::ny),
                   field("nx", &B::nx), field("tf32", &B::tf32));
  define_cpu<SeparableNodeBackwardArgs>(
      m, "separable_node_backward",
      [](auto level, const auto& args, const Workspace& work) { separable_node_backward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return separable_node_backward_scratch_bytes<level()>(args, threads);
      });
  define_cuda<SeparableNodeBackwardArgs>(
      m, "separable_node_backward", Stored{},
      [](const auto& args, const Workspace& work) { separable_node_backward_cuda(args, work); },
      [](const auto& args) { return separable_node_backward_cuda_scratch_bytes(args); });
}

void define_relu_conv(pybind11::module_& m) {
  using A = ReluConvArgs<void>;
  define_struct<A>(m, "ReluConvArgs", field("x", &A::x), field("channels", &A::channels), field("pixel", &A::pixel),
                   field("weight", &A::weight), field("residual", &A::residual),
                   field("residual_pixel", &A::residual_pixel), field("out", &A::out), field("outputs", &A::outputs),
                   field("out_pixel", &A::out_pixel), field("batch", &A::batch), field("ny", &A::ny),
                   field("nx", &A::nx));
  define_cpu<ReluConvArgs>(
      m, "relu_conv", [](auto level, const auto& args, const Workspace& work) { relu_conv_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return relu_conv_scratch_bytes<level()>(args, threads); });
  define_cuda<ReluConvArgs>(
      m, "relu_conv", Stored{}, [](const auto& args, const Workspace& work) { relu_conv_cuda(args, work); },
      kNoScratch);
}

void define_supernet_node(pybind11::module_& m) {
  using S = ScaledSkipBackwardArgs<void>;
  define_struct<S>(m, "ScaledSkipBackwardArgs", field("x", &S::x), field("channels", &S::channels),
                   field("pixel", &S::pixel), field("factor", &S::factor), field("grad", &S::grad),
                   field("grad_pixel", &S::grad_pixel), field("addend", &S::addend),
                   field("addend_pixel", &S::addend_pixel), field("grad_x", &S::grad_x),
                   field("grad_x_pixel", &S::grad_x_pixel), field("grad_factor", &S::grad_factor),
                   field("batch", &S::batch), field("ny", &S::ny), field("nx", &S::nx));
  define_cpu<ScaledSkipBackwardArgs>(
      m, "scaled_skip_backward",
      [](auto level, const auto& args, const Workspace& work) { scaled_skip_backward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return scaled_skip_backward_scratch_bytes<level()>(args, threads);
      });

  using Term = EdgeTerm<void>;
  define_struct<Term>(m, "EdgeTerm", field("operation", &Term::operation), field("alpha", &Term::alpha),
                      field("first", &Term::first), field("second", &Term::second),
                      field("grad_alpha", &Term::grad_alpha), field("grad_first", &Term::grad_first),
                      field("grad_second", &Term::grad_second));
  using A = SupernetEdgeBackwardArgs<void>;
  define_struct<A>(m, "SupernetEdgeBackwardArgs", field("term", &A::term, &A::n_terms), field("x", &A::x),
                   field("channels", &A::channels), field("pixel", &A::pixel), field("grad", &A::grad),
                   field("outputs", &A::outputs), field("grad_pixel", &A::grad_pixel), field("addend", &A::addend),
                   field("addend_pixel", &A::addend_pixel), field("grad_x", &A::grad_x),
                   field("grad_x_pixel", &A::grad_x_pixel), field("need_weight", &A::need_weight),
                   field("batch", &A::batch), field("ny", &A::ny), field("nx", &A::nx), field("tf32", &A::tf32));
  define_cuda<SupernetEdgeBackwardArgs>(
      m, "supernet_edge_backward", Stored{},
      [](const auto& args, const Workspace& work) { supernet_edge_backward_cuda(args, work); },
      [](const auto& args) { return supernet_edge_backward_cuda_scratch_bytes(args); });
}

void define_nasn_cascade(pybind11::module_& m) {
  define_struct<CascadeEdge>(m, "CascadeEdge", field("operation", &CascadeEdge::operation),
                             field("source", &CascadeEdge::source));
  define_struct<CascadeShape>(m, "CascadeShape", field("in_channels", &CascadeShape::in_channels),
                              field("channels", &CascadeShape::channels), field("cells", &CascadeShape::cells),
                              field("composite", &CascadeShape::composite), field("nodes", &CascadeShape::nodes));
  using A = NasnCascadeArgs<void>;
  define_struct<A>(m, "NasnCascadeArgs", field("shape", &A::shape), field("image", &A::image),
                   field("pixel", &A::pixel), field("out", &A::out), field("out_pixel", &A::out_pixel),
                   field("weights", &A::weights), field("saved", &A::saved), field("saved_pixel", &A::saved_pixel),
                   field("batch", &A::batch), field("ny", &A::ny), field("nx", &A::nx));
  define_cpu<NasnCascadeArgs>(
      m, "nasn_cascade",
      [](auto level, const auto& args, const Workspace& work) { nasn_cascade_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return nasn_cascade_scratch_bytes<level()>(args, threads); });
}

void define_stem_backward(pybind11::module_& m) {
  using A = StemBackwardArgs<void>;
  define_struct<A>(m, "StemBackwardArgs", field("image", &A::image), field("in_channels", &A::in_channels),
                   field("pixel", &A::pixel), field("first", &A::first), field("second", &A::second),
                   field("grad", &A::grad), field("channels", &A::channels), field("grad_pixel", &A::grad_pixel),
                   field("residual", &A::residual), field("residual_pixel", &A::residual_pixel),
                   field("grad_image", &A::grad_image), field("grad_image_pixel", &A::grad_image_pixel),
                   field("grad_first", &A::grad_first), field("grad_second", &A::grad_second),
                   field("batch", &A::batch), field("ny", &A::ny), field("nx", &A::nx));
  define_cpu<StemBackwardArgs>(
      m, "stem_backward",
      [](auto level, const auto& args, const Workspace& work) { stem_backward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return stem_backward_scratch_bytes<level()>(args, threads); });
}

const Room room(Room::Kind::op, [](pybind11::module_& m) {
  define_separable_node(m);
  define_relu_conv(m);
  define_supernet_node(m);
  define_nasn_cascade(m);
  define_stem_backward(m);
});

}  // namespace
}  // namespace csmri::bindings

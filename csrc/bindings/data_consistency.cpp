#include "data_consistency/data_consistency.hpp"

#include "bindings/fft.hpp"

namespace csmri::bindings {
namespace {

template <class T>
void move(ComplexImages<T>& images, Address by) {
  images.re = reinterpret_cast<T*>(reinterpret_cast<Address>(images.re) + by);
  images.im = reinterpret_cast<T*>(reinterpret_cast<Address>(images.im) + by);
}

// Arguments at address 0, of a call whose extents have been seen before: moved to where its tensors are, `at`, and run
// there, `run_cpu_<dtype>`. Building them from their names takes as long as a small image, and so does one way more
// through Python.
template <template <class> class Args, class Data, class Run>
void define_at(pybind11::class_<Args<void>>& args, const char* data_name, Data Args<void>::* data,
               const char* mask_name, Data Args<void>::* mask, const Run& run) {
  const pybind11::arg of_image("image"), of_out("out"), of_data(data_name), of_mask(mask_name), of_eta("eta");
  const auto at = [data, mask](const Args<void>& self, Address image, Address out, Address data_at, Address mask_at,
                               Address eta) {
    Args<void> moved = self;
    move(moved.image, image);
    move(moved.out, out);
    moved.*data = reinterpret_cast<Data>(data_at);
    moved.*mask = reinterpret_cast<Data>(mask_at);
    moved.eta = reinterpret_cast<Data>(eta);
    return moved;
  };
  args.def("at", at, of_image, of_out, of_data, of_mask, of_eta);
  const auto define_run = [&](auto zero) {
    using T = decltype(zero);
    args.def((std::string("run_cpu_") + kSuffix<T>).c_str(),
             [at, run](const Args<void>& self, Address image, Address out, Address data_at, Address mask_at,
                       Address eta, const Workspace& work) {
               const pybind11::gil_scoped_release release;
               const Args<T> moved = Typed<Args, T>::of(at(self, image, out, data_at, mask_at, eta));
               at_simd_level([&](auto level) { run(level, moved, work); });
             },
             of_image, of_out, of_data, of_mask, of_eta, pybind11::arg("work"));
  };
  define_run(float{});
  define_run(double{});
}

void define_apply(pybind11::module_& m) {
  using A = DataConsistencyArgs<void>;
  auto apply_args =
      define_struct<A>(m, "DataConsistencyArgs", field("shape", &A::shape), field("image", &A::image),
                       field("out", &A::out), field("samples", &A::samples), field("weights", &A::weights),
                       field("eta", &A::eta), field("add_image", &A::add_image));
  const auto apply = [](auto level, const auto& args, const Workspace& work) {
    data_consistency_cpu<level()>(args, work);
  };
  define_at<DataConsistencyArgs>(apply_args, "samples", &A::samples, "weights", &A::weights, apply);
  define_cpu<DataConsistencyArgs>(m, "data_consistency", apply, [](auto level, const auto& args, int threads) {
    return data_consistency_scratch_bytes<level()>(args, threads);
  });
  define_cuda<DataConsistencyArgs>(
      m, "data_consistency", Real{}, [](const auto& args, const Workspace& work) { data_consistency_cuda(args, work); },
      kNoScratch);

  using O = DataConsistencyOnceArgs<void>;
  auto once_args = define_struct<O>(m, "DataConsistencyOnceArgs", field("shape", &O::shape), field("image", &O::image),
                                    field("out", &O::out), field("kspace", &O::kspace), field("mask", &O::mask),
                                    field("eta", &O::eta), field("add_image", &O::add_image));
  const auto once = [](auto level, const auto& args, const Workspace& work) {
    data_consistency_once_cpu<level()>(args, work);
  };
  define_at<DataConsistencyOnceArgs>(once_args, "kspace", &O::kspace, "mask", &O::mask, once);
  define_cpu<DataConsistencyOnceArgs>(m, "data_consistency_once", once, [](auto level, const auto& args, int threads) {
    return data_consistency_once_scratch_bytes<level()>(args, threads);
  });

  using B = DataConsistencyBackwardArgs<void>;
  define_struct<B>(m, "DataConsistencyBackwardArgs", field("shape", &B::shape), field("grad", &B::grad),
                   field("image", &B::image), field("grad_image", &B::grad_image), field("samples", &B::samples),
                   field("weights", &B::weights), field("eta", &B::eta), field("grad_eta", &B::grad_eta),
                   field("add_image", &B::add_image));
  define_cpu<DataConsistencyBackwardArgs>(
      m, "data_consistency_backward",
      [](auto level, const auto& args, const Workspace& work) { data_consistency_backward_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return data_consistency_backward_scratch_bytes<level()>(args, threads);
      });
  define_cuda<DataConsistencyBackwardArgs>(
      m, "data_consistency_backward", Real{},
      [](const auto& args, const Workspace& work) { data_consistency_backward_cuda(args, work); },
      [](const auto& args) { return data_consistency_backward_cuda_scratch_bytes(args); });

  using M = MeasureArgs<void>;
  define_struct<M>(m, "MeasureArgs", field("shape", &M::shape), field("image", &M::image),
                   field("weights", &M::weights), field("samples", &M::samples));
  define_cpu<MeasureArgs>(
      m, "data_consistency_measure",
      [](auto level, const auto& args, const Workspace& work) { data_consistency_measure_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) {
        return data_consistency_measure_scratch_bytes<level()>(args, threads);
      });
  define_cuda<MeasureArgs>(
      m, "data_consistency_measure", Real{},
      [](const auto& args, const Workspace& work) { data_consistency_measure_cuda(args, work); },
      [](const auto& args) { return data_consistency_measure_cuda_scratch_bytes(args); });
}

void define_pack(pybind11::module_& m) {
  using P = PackArgs<void>;
  define_struct<P>(m, "PackArgs", field("shape", &P::shape), field("kspace", &P::kspace), field("mask", &P::mask),
                   field("samples", &P::samples));
  const auto scratch_bytes = [](auto level, const auto& args, int threads) {
    return data_consistency_pack_scratch_bytes<level()>(args, threads);
  };
  define_cpu<PackArgs>(
      m, "data_consistency_pack",
      [](auto level, const auto& args, const Workspace& work) { data_consistency_pack_cpu<level()>(args, work); },
      scratch_bytes);
  define_cpu<PackArgs>(
      m, "data_consistency_unpack",
      [](auto level, const auto& args, const Workspace& work) { data_consistency_unpack_cpu<level()>(args, work); },
      scratch_bytes);
  define_cuda<PackArgs>(
      m, "data_consistency_pack", Real{},
      [](const auto& args, const Workspace& work) { data_consistency_pack_cuda(args, work); }, kNoScratch);
  define_cuda<PackArgs>(
      m, "data_consistency_unpack", Real{},
      [](const auto& args, const Workspace& work) { data_consistency_unpack_cuda(args, work); }, kNoScratch);

  using M = PackMaskArgs<void>;
  define_struct<M>(m, "PackMaskArgs", field("shape", &M::shape), field("mask", &M::mask),
                   field("weights", &M::weights));
  define_cpu<PackMaskArgs>(
      m, "data_consistency_pack_mask",
      [](auto level, const auto& args, const Workspace& work) { data_consistency_pack_mask_cpu<level()>(args, work); },
      kNoScratch);
  define_cuda<PackMaskArgs>(
      m, "data_consistency_pack_mask", Real{},
      [](const auto& args, const Workspace& work) { data_consistency_pack_mask_cuda(args, work); }, kNoScratch);
}

const Room room(Room::Kind::op, [](pybind11::module_& m) {
  define_apply(m);
  define_pack(m);
});

}  // namespace
}  // namespace csmri::bindings

#include "sense_normal/sense_normal.hpp"

#include "bindings/binding.hpp"

namespace csmri::bindings {
namespace {

void define(pybind11::module_& m) {
  using A = SenseNormalArgs<void>;
  define_struct<A>(m, "SenseNormalArgs", field("shape", &A::shape), field("coils", &A::coils),
                   field("image", &A::image), field("sens_maps", &A::sens_maps),
                   field("sens_maps_stride", &A::sens_maps_stride), field("weights", &A::weights),
                   field("out", &A::out));
  define_cpu<SenseNormalArgs>(
      m, "sense_normal",
      [](auto level, const auto& args, const Workspace& work) { sense_normal_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return sense_normal_scratch_bytes<level()>(args, threads); });
  define_cuda<SenseNormalArgs>(
      m, "sense_normal", Real{}, [](const auto& args, const Workspace& work) { sense_normal_cuda(args, work); },
      [](const auto& args) { return sense_normal_cuda_scratch_bytes(args); });
}

const Room room(Room::Kind::op, define);

}  // namespace
}  // namespace csmri::bindings

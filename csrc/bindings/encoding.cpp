#include "bindings/binding.hpp"
#include "encoding/encode.hpp"

namespace csmri::bindings {
namespace {

void define(pybind11::module_& m) {
  using A = EncodeArgs<void>;
  define_struct<A>(m, "EncodeArgs", field("images", &A::images), field("coils", &A::coils), field("ny", &A::ny),
                   field("nx", &A::nx), field("image", &A::image), field("sens_maps", &A::sens_maps),
                   field("sens_maps_stride", &A::sens_maps_stride), field("mask", &A::mask),
                   field("coil_images_per_mask", &A::coil_images_per_mask),
                   field("mask_row_stride", &A::mask_row_stride), field("mask_column_stride", &A::mask_column_stride),
                   field("kspace", &A::kspace));
  define_cpu<EncodeArgs>(
      m, "encode", [](auto level, const auto& args, const Workspace& work) { encode_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return encode_scratch_bytes<level()>(args, threads); });
  define_cpu<EncodeArgs>(
      m, "encode_adjoint",
      [](auto level, const auto& args, const Workspace& work) { encode_adjoint_cpu<level()>(args, work); },
      [](auto level, const auto& args, int threads) { return encode_adjoint_scratch_bytes<level()>(args, threads); });
}

const Room room(Room::Kind::op, define);

}  // namespace
}  // namespace csmri::bindings

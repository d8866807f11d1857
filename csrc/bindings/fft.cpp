#include "bindings/fft.hpp"

#include "fft/packed_kspace.hpp"

namespace csmri::bindings {
namespace {

void define(pybind11::module_& m) {
  m.attr("KSPACE_TILE") = kTile;
  m.attr("MAX_CUDA_LENGTH") = kMaxCudaLength;
  pybind11::enum_<Axes>(m, "Axes").value("x", Axes::x).value("y", Axes::y).value("xy", Axes::xy);
  m.def(
      "mask_axes",
      [](Address masks, std::int64_t n_masks, std::int64_t ny, std::int64_t nx, std::int64_t element_bytes) {
        return mask_axes(reinterpret_cast<const void*>(masks), n_masks, ny, nx, element_bytes);
      },
      pybind11::arg("masks"), pybind11::arg("n_masks"), pybind11::arg("ny"), pybind11::arg("nx"),
      pybind11::arg("element_bytes"));
  using Images = ComplexImages<void>;
  define_struct<Images>(m, "ComplexImages", field("re", &Images::re), field("im", &Images::im),
                        field("batch_stride", &Images::batch_stride), field("replica_stride", &Images::replica_stride),
                        field("row_stride", &Images::row_stride), field("column_stride", &Images::column_stride));
  using Shape = KspaceShape;
  define_struct<Shape>(m, "KspaceShape", field("batch", &Shape::batch), field("replicas", &Shape::replicas),
                       field("batch_per_mask", &Shape::batch_per_mask), field("ny", &Shape::ny),
                       field("nx", &Shape::nx), field("axes", &Shape::axes));
}

const Room room(Room::Kind::shared, define);

}  // namespace
}  // namespace csmri::bindings

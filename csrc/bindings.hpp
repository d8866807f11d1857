// What the binding files share.
#pragma once
#include <pybind11/pybind11.h>

#include <cstdint>

using Address = std::uintptr_t;

template <class T>
T* pointer(Address address) {
  return reinterpret_cast<T*>(address);
}

void define_separable(pybind11::module_& m);  // the operations of NasN

// The parts of the extension module; each .cpp file that faces Python has one bind function.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

namespace bitprop {

// Python checks what a user gives. This guards memory against a mistake in our own calls, as a ValueError.
inline void require(bool holds, const char* expected) {
    if (!holds) throw std::invalid_argument(expected);
}

// Matrices of real numbers, given and to be filled.
template <class R>
using Reals = nanobind::ndarray<const R, nanobind::ndim<2>, nanobind::c_contig, nanobind::device::cpu>;
template <class R>
using Result = nanobind::ndarray<R, nanobind::ndim<2>, nanobind::c_contig, nanobind::device::cpu>;

void bind_mixture(nanobind::module_& module);
void bind_overlap(nanobind::module_& module);
void bind_packed(nanobind::module_& module);
void bind_slope(nanobind::module_& module);
void bind_sparse(nanobind::module_& module);
void bind_spiking(nanobind::module_& module);
void bind_spiking_layer(nanobind::module_& module);
void bind_table(nanobind::module_& module);

}  // namespace bitprop

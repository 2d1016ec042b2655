// A mixture's designs from Python, and the sums that are kept of them.
#include "designs.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "levels.h"

namespace nb = nanobind;

namespace bitprop {

Scale Scale::of(double gain, std::int64_t length, int precision_bits, int scale_bits) {
    const double most = static_cast<double>((std::int64_t{1} << scale_bits) - 1);
    int exponent = 0;
    const double ratio = gain * static_cast<double>(std::int64_t{1} << precision_bits) / static_cast<double>(length);
    const double fraction = std::frexp(ratio, &exponent);
    int shift = scale_bits - exponent;
    if (std::nearbyint(std::ldexp(fraction, scale_bits)) > most) --shift;  // rounded up to one bit more
    shift = std::min(std::max(shift, 1), 40);
    const double found = std::nearbyint(std::ldexp(fraction, exponent + shift));
    // what is not a number is the least one, and is seen in the real value
    return {static_cast<std::int64_t>(found >= 1.0 ? std::min(found, most) : 1.0), shift};
}

void Designs::check() const {
    const std::size_t of_lengths = lengths.size();
    require(precision_bits >= 1 && precision_bits <= 16, "precision_bits: 1 .. 16");
    require(scale_bits == 0 || (scale_bits >= 2 && scale_bits <= 16), "scale_bits: 0, or 2 .. 16");
    require(limits.size() == 2, "limits: two");
    require(local.size() == of_lengths, "local: one a length");
    require(tables.size() == of_lengths * tables_each(), "tables: as many for each length");
    require(goes_on.size() == of_lengths && (of_lengths == 0 || !goes_on[0]), "goes_on: one a length, not the first");
    for (const std::int64_t code : codes) require(code >= 0 && code <= 2, "codes: 0 .. 2");
    std::size_t held = 0;
    for (std::size_t l = 0; l < of_lengths; ++l) {
        require(lengths[l] >= 1 && lengths[l] <= INT32_MAX, "lengths: too long");
        require(!local[l] || lengths[l] <= static_cast<std::int64_t>(kSlopeLongest), "local: of short streams");
        held += 2 * static_cast<std::size_t>(lengths[l]);
    }
    for (std::size_t at = 0; at < tables.size(); ++at) {
        const std::size_t l = at / tables_each();
        require(tables[at]->precision_bits() == precision_bits, "tables: of this precision");
        const std::int64_t before = goes_on[l] ? lengths[l - 1] : 0;
        require(static_cast<std::int64_t>(tables[at]->length()) == lengths[l] - before, "tables: of the lengths");
    }
    require(numbers.size() == held, "numbers: of both sides, for each length");
    for (const std::int64_t number : numbers) {
        require(number >= 0 && number < std::int64_t{1} << precision_bits, "numbers: 0 .. 2**precision_bits - 1");
    }
}

void Designs::check_inputs(std::size_t inputs) const {
    require(inputs >= 1 && inputs <= 65536, "x: 1 .. 65536 inputs");
    for (const std::int64_t length : lengths) {
        require(length * static_cast<std::int64_t>(inputs) <= INT32_MAX, "lengths: too long");
    }
}

void KeptSums::put(Level level, std::size_t design, std::size_t first, const std::int64_t* sums, std::size_t size) {
    Part& part = parts_[at(design, first)];
    part.narrow.reset(new std::int16_t[size]);
    bytes_ += size * sizeof(std::int16_t);
    if (BITPROP_CHOOSE(level, mixture_kernels).narrow(sums, size, part.narrow.get())) return;
    part.narrow.reset();
    part.wide.reset(new std::int32_t[size]);
    bytes_ += size * (sizeof(std::int32_t) - sizeof(std::int16_t));
    std::transform(sums, sums + size, part.wide.get(), [](std::int64_t s) { return static_cast<std::int32_t>(s); });
}

const std::int32_t* KeptSums::get(Level level, std::size_t design, std::size_t first, std::size_t size,
                                  std::int32_t* room) const {
    const Part& part = parts_[at(design, first)];
    if (part.wide) return part.wide.get();
    BITPROP_CHOOSE(level, mixture_kernels).widen(part.narrow.get(), size, room);
    return room;
}

namespace {

using Line = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void make_designs(Designs* self, Integers codes, Integers lengths, int scale_bits, Integers limits, int precision_bits,
                  std::vector<const CountTable*> tables, Integers goes_on, Integers signs, Integers local,
                  Line numbers) {
    Designs given{std::move(codes),   std::move(lengths),
                  scale_bits,         std::move(limits),
                  precision_bits,     std::move(tables),
                  std::move(goes_on), std::move(signs),
                  std::move(local),   Integers(numbers.data(), numbers.data() + numbers.size())};
    given.check();
    new (self) Designs(std::move(given));
}

}  // namespace

void bind_designs(nb::module_& module) {
    nb::class_<Designs>(module, "Designs", "The designs that a bit-true layer mixes.")
        .def("__init__", make_designs, nb::arg("codes"), nb::arg("lengths"), nb::arg("scale_bits"), nb::arg("limits"),
             nb::arg("precision_bits"), nb::arg("tables"), nb::arg("goes_on"), nb::arg("signs"), nb::arg("local"),
             nb::arg("numbers"), nb::keep_alive<1, 7>())
        .def_ro("goes_on", &Designs::goes_on)
        .def_ro("signs", &Designs::signs);
    nb::class_<Pass>(module, "Pass", "One step of a mixture of designs, from the forward pass for the way back.")
        .def_prop_ro("bytes", [](const Pass& pass) { return pass.sums.bytes(); })
        .def_ro("inside", &Pass::inside);
    module.def(
        "scale_constants",
        [](double gain, std::int64_t length, int precision_bits, int scale_bits) {
            require(length >= 1 && precision_bits >= 1 && precision_bits <= 16 && scale_bits >= 2 && scale_bits <= 16,
                    "length, precision_bits, scale_bits: 1, 1 .. 16, 2 .. 16");
            const Scale found = Scale::of(gain, length, precision_bits, scale_bits);
            return std::pair<std::int64_t, int>(found.multiplier, found.shift);
        },
        nb::arg("gain"), nb::arg("length"), nb::arg("precision_bits"), nb::arg("scale_bits"),
        "The multiplier and the shift of a layer's scale.");
}

}  // namespace bitprop

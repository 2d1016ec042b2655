// A bit-true layer's mixture of designs in one call forward and one back, from Python.
#include "mixture.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings.h"
#include "dense.h"
#include "levels.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

const MixtureKernels<float>& kernels(Level level, float) { return BITPROP_CHOOSE(level, mixture_kernels).single; }
const MixtureKernels<double>& kernels(Level level, double) { return BITPROP_CHOOSE(level, mixture_kernels).twice; }

template <class R>
bool check_type(Level level) {
    constexpr std::size_t samples = 3, outputs = 37, size = samples * outputs;
    std::vector<R> values(size), bias(outputs), found[2], means[2];
    std::vector<std::int64_t> total(size), bias_raw(outputs);
    std::vector<std::int32_t> codes[2];
    std::vector<int> seen[2];
    std::vector<double> sums[2];
    std::uint64_t state = 7;
    auto next = [&] { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 40; };
    for (R& v : values) v = static_cast<R>(next() % 1000) / R(450) - R(1.1);
    for (R& v : bias) v = static_cast<R>(next() % 1000) / R(1000) - R(0.5);
    for (auto& t : total) t = static_cast<std::int64_t>(next() % 400) - 200;
    for (auto& t : bias_raw) t = static_cast<std::int64_t>(next() % 100) - 50;
    const std::vector<std::int32_t> given(total.begin(), total.end());
    for (const int shift : {0, 5}) {
        DesignView<R> view{samples, outputs, bias.data(), bias_raw.data(), R(0.1), R(16), R(0.3), R(0.0625),
                           9,       -64,     64,          shift,           R(-1),  R(1)};
        for (int which = 0; which < 2; ++which) {
            const MixtureKernels<R>& chosen = kernels(which == 0 ? Level::portable : level, R());
            codes[which].assign(3 * size, 0);
            seen[which].clear();
            for (int code = 0; code < 3; ++code) {
                // some of the values are outside of any range, the biases are within some
                for (const std::vector<R>& reals : {bias, values}) {
                    const Encoded of = chosen.encode(reals.data(), reals.size(), static_cast<SlopeCode>(code), 6,
                                                     codes[which].data() + code * size);
                    seen[which].push_back(of.is_signed + 2 * of.inside);
                }
            }
            found[which].assign(size, R(1));
            means[which].assign(size, R(0));
            sums[which].assign(4 * outputs, 0.0);
            double* const to = sums[which].data();
            chosen.finish(view, total.data(), found[which].data());
            chosen.back(view, values.data(), given.data(), values.data(), means[which].data(),
                        {to, to + outputs, to + 2 * outputs, to + 3 * outputs});
        }
        if (codes[0] != codes[1] || seen[0] != seen[1] || found[0] != found[1] || means[0] != means[1] ||
            sums[0] != sums[1])
            return false;
    }
    return true;
}

// Sums come back as they were, and those that do not fit 16 bits are seen, wherever they stand.
bool check_kept(Level level) {
    const MixtureKernelsOfLevel& chosen = BITPROP_CHOOSE(level, mixture_kernels);
    constexpr std::size_t size = 67;
    std::vector<std::int64_t> total(size);
    std::vector<std::int16_t> kept(size);
    std::vector<std::int32_t> found(size);
    for (std::size_t at = 0; at < size; ++at) {
        total[at] = at % 2 ? INT16_MAX : INT16_MIN;
        if (!chosen.narrow(total.data(), size, kept.data())) return false;
        chosen.widen(kept.data(), size, found.data());
        if (!std::equal(total.begin(), total.end(), found.begin())) return false;
        for (const std::int64_t beyond : {INT16_MAX + 1, INT16_MIN - 1, INT32_MAX, INT32_MIN}) {
            total[at] = beyond;
            if (chosen.narrow(total.data(), size, kept.data())) return false;
        }
        total[at] = 0;
    }
    return true;
}

bool check(Level level) { return check_type<float>(level) && check_type<double>(level) && check_kept(level); }

Family family("mixture", check);

template <class R>
using Line = nb::ndarray<const R, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class R>
using Results = nb::ndarray<R, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Integers = std::vector<std::int64_t>;

// What both directions are given of the designs; `codes` by encoding, `shares` by encoding and length, the rest by
// length.
struct Designs {
    Integers codes;
    std::vector<double> shares;
    Integers lengths, multipliers, shifts;
    double gain;
    std::vector<std::int64_t> limits;  // smallest and largest output integer
    int precision_bits;

    std::size_t encodings() const { return codes.size(); }

    void check(std::size_t inputs) const {
        const std::size_t count = lengths.size();
        require(precision_bits >= 1 && precision_bits <= 16, "precision_bits: 1 .. 16");
        require(shares.size() == codes.size() * count, "shares: one for each encoding and length");
        require(multipliers.size() == count && shifts.size() == count && limits.size() == 2, "scales: one a length");
        require(inputs >= 1 && inputs <= 65536, "x: 1 .. 65536 inputs");
        for (const std::int64_t code : codes) require(code >= 0 && code <= 2, "codes: 0 .. 2");
        for (std::size_t l = 0; l < count; ++l) {
            require(lengths[l] >= 1 && lengths[l] * static_cast<std::int64_t>(inputs) <= INT32_MAX,
                    "lengths: too long");
            require(multipliers[l] >= 0 && multipliers[l] <= 65535 && shifts[l] >= 0 && shifts[l] <= 40, "scales");
        }
    }

    // The view of one design; bias_raw is filled for it.
    template <class R>
    DesignView<R> view(std::size_t e, std::size_t l, std::size_t samples, std::size_t outputs, const R* bias,
                       Integers& bias_raw) const {
        const double length = static_cast<double>(lengths[l]), one = static_cast<double>(1 << precision_bits);
        // 2**46 and a multiplier of 16 bits stay in 64; what is not a number counts as nothing here, and is seen in
        // the real value
        constexpr double most = 70368744177664.0;
        bias_raw.resize(outputs);
        for (std::size_t o = 0; o < outputs; ++o) {
            const double found = std::nearbyint(static_cast<double>(bias[o]) * length / gain);
            bias_raw[o] = found == found ? static_cast<std::int64_t>(std::min(std::max(found, -most), most)) : 0;
        }
        const bool scaled = shifts[l] > 0;
        // as torch divides: the numbers of this type
        const R unit = scaled ? static_cast<R>(1.0 / one) : static_cast<R>(gain) / static_cast<R>(lengths[l]);
        return {samples,
                outputs,
                bias,
                bias_raw.data(),
                static_cast<R>(gain),
                static_cast<R>(lengths[l]),
                static_cast<R>(shares[e * lengths.size() + l]),
                unit,
                multipliers[l],
                limits[0],
                limits[1],
                static_cast<int>(shifts[l]),
                limits[0] < 0 ? R(-1) : R(0),
                R(1)};
    }
};

// So many samples at a time bound what a large batch takes beside its sums.
constexpr std::size_t kSamples = 512;

// body(first, samples) for each such part of the batch.
template <class Body>
void in_parts(std::size_t samples, const Body& body) {
    for (std::size_t first = 0; first < samples; first += kSamples) body(first, std::min(kSamples, samples - first));
}

// The sums of all designs, [designs, B, O], for the way back: each part of the batch in 16 bits where all of its sums
// fit, which those of short streams do.
class KeptSums {
  public:
    KeptSums(std::size_t designs, std::size_t samples, std::size_t outputs)
        : samples_(samples), outputs_(outputs), parts_(designs * of_design()) {}
    KeptSums(const KeptSums&) = delete;

    bool holds(std::size_t designs, std::size_t samples, std::size_t outputs) const {
        return samples == samples_ && outputs == outputs_ && parts_.size() == designs * of_design();
    }
    bool filled() const {
        return std::all_of(parts_.begin(), parts_.end(), [](const Part& part) { return part.narrow || part.wide; });
    }

    // Sums of 32 bits at most.
    void put(Level level, std::size_t design, std::size_t first, const std::int64_t* sums, std::size_t size) {
        Part& part = parts_[at(design, first)];
        part.narrow.reset(new std::int16_t[size]);
        bytes_ += size * sizeof(std::int16_t);
        if (BITPROP_CHOOSE(level, mixture_kernels).narrow(sums, size, part.narrow.get())) return;
        part.narrow.reset();
        part.wide.reset(new std::int32_t[size]);
        bytes_ += size * (sizeof(std::int32_t) - sizeof(std::int16_t));
        std::transform(sums, sums + size, part.wide.get(), [](std::int64_t s) { return static_cast<std::int32_t>(s); });
    }

    // In 32 bits: in `room`, or where they are.
    const std::int32_t* get(Level level, std::size_t design, std::size_t first, std::size_t size,
                            std::int32_t* room) const {
        const Part& part = parts_[at(design, first)];
        if (part.wide) return part.wide.get();
        BITPROP_CHOOSE(level, mixture_kernels).widen(part.narrow.get(), size, room);
        return room;
    }

    std::size_t bytes() const { return bytes_; }

  private:
    struct Part {
        std::unique_ptr<std::int16_t[]> narrow;
        std::unique_ptr<std::int32_t[]> wide;
    };
    std::size_t of_design() const { return (samples_ + kSamples - 1) / kSamples; }
    std::size_t at(std::size_t design, std::size_t first) const { return design * of_design() + first / kSamples; }

    std::size_t samples_, outputs_, bytes_ = 0;
    std::vector<Part> parts_;
};

template <class R>
struct Thresholds {
    std::vector<std::int32_t> values;
    bool inside;  // whether the reals are in the encoding's range
    Matrix make(Level level, const R* reals, std::size_t lines, std::size_t inputs, std::int64_t code,
                int precision_bits) {
        values.resize(lines * inputs);
        const Encoded found =
            kernels(level, R())
                .encode(reals, values.size(), static_cast<SlopeCode>(code), precision_bits, values.data());
        inside = found.inside;
        return {values.data(), lines, inputs, found.is_signed};
    }
};

// tables, for each length: at the correlation; then, where its slope is asked for, of the sources' own numbers, and one
// for each of `signs` with the weights' numbers those of the activations or their mirror image. Where a length
// `goes_on`, its tables are of the cycles since the length before it, whose sums it begins with. Returned: for each
// encoding, whether x and whether w are within its range.
template <class R>
std::vector<std::pair<bool, bool>> forward(Reals<R> x, Reals<R> w, Line<R> bias, const Designs& designs,
                                           std::vector<const CountTable*> tables, Integers goes_on, Integers signs,
                                           KeptSums& kept, std::optional<Results<R>> by_correlation, Result<R> out,
                                           int threads) {
    const std::size_t samples = x.shape(0), outputs = w.shape(0), inputs = x.shape(1), size = samples * outputs;
    const std::size_t count = designs.lengths.size(), each = signs.empty() ? 1 : 2 + signs.size();
    designs.check(inputs);
    require(w.shape(1) == inputs && bias.size() == outputs, "w, bias: [O, I], [O]");
    require(tables.size() == count * each, "tables: as many for each length");
    require(out.shape(0) == samples && out.shape(1) == outputs, "out: [B, O]");
    require(kept.holds(designs.shares.size(), samples, outputs), "kept: [designs, B, O]");
    require(by_correlation.has_value() == !signs.empty(), "by_correlation: with signs, and only with them");
    require(signs.empty() || by_correlation->size() == designs.shares.size() * size, "by_correlation: [designs, B, O]");
    require(goes_on.size() == count && (count == 0 || !goes_on[0]), "goes_on: one a length, not the first");
    for (std::size_t at = 0; at < tables.size(); ++at) {
        require(tables[at]->precision_bits() == designs.precision_bits, "tables: of this precision");
        const std::int64_t before = goes_on[at / each] ? designs.lengths[at / each - 1] : 0;
        require(static_cast<std::int64_t>(tables[at]->length()) == designs.lengths[at / each] - before,
                "tables: of the lengths");
    }
    const Level level = family.level(), by_table = table_level();
    nb::gil_scoped_release released;
    std::fill_n(out.data(), size, R(0));
    std::vector<std::pair<bool, bool>> fits(designs.encodings(), {true, true});
    if (size == 0) return fits;
    thread_local Thresholds<R> of_x, of_w;
    thread_local Integers bias_raw;
    thread_local std::vector<std::int64_t> sums;
    thread_local Shared shared;
    const std::size_t most = std::min(samples, kSamples);
    sums.resize(std::max(sums.size(), each * most * outputs));
    for (std::size_t e = 0; e < designs.encodings(); ++e) {
        const bool xnor = static_cast<SlopeCode>(designs.codes[e]) == SlopeCode::bipolar;
        const Matrix k_w = of_w.make(level, w.data(), outputs, inputs, designs.codes[e], designs.precision_bits);
        fits[e].second = of_w.inside;
        in_parts(samples, [&](std::size_t first, std::size_t here) {
            const std::size_t part = here * outputs;
            const Matrix k_x =
                of_x.make(level, x.data() + first * inputs, here, inputs, designs.codes[e], designs.precision_bits);
            fits[e].first &= of_x.inside;
            shared.renew();
            for (std::size_t l = 0; l < count; ++l) {
                for (std::size_t table = 0; table < each; ++table) {
                    Weights weights(*tables[l * each + table], k_w);
                    dense(by_table, weights, k_x, xnor, sums.data() + table * part, threads, &shared, goes_on[l] != 0);
                }
                const std::size_t design = e * count + l;
                const DesignView<R> view = designs.view<R>(e, l, here, outputs, bias.data(), bias_raw);
                kernels(level, R()).finish(view, sums.data(), out.data() + first * outputs);
                kept.put(level, design, first, sums.data(), part);
                if (signs.empty()) continue;
                R* const slope = by_correlation->data() + design * size + first * outputs;
                for (std::size_t i = 0; i < part; ++i) {
                    std::int64_t slopes = 0;
                    for (std::size_t s = 0; s < signs.size(); ++s) {
                        slopes += signs[s] * (sums[(2 + s) * part + i] - sums[part + i]);
                    }
                    slope[i] = static_cast<R>(slopes) / static_cast<R>(signs.size());
                }
            }
        });
    }
    return fits;
}

// In blocks of columns as SlopeLength has them; of the transposed matrix where `turned`.
template <class R>
void to_blocks(const R* from, std::size_t lines, std::size_t width, bool turned, Buffer& memory) {
    const std::size_t rows = turned ? width : lines, columns = turned ? lines : width;
    const std::size_t size = slope_blocks(columns) * rows * kSlopeLanes;
    memory.reserve(size * sizeof(R));
    R* const blocks = memory.as<R>();
    std::fill_n(blocks, size, R(0));
    for (std::size_t line = 0; line < lines; ++line, from += width) {
        if (turned) {
            R* const to = blocks + line / kSlopeLanes * kSlopeLanes * rows + line % kSlopeLanes;
            for (std::size_t at = 0; at < width; ++at) to[at * kSlopeLanes] = from[at];
            continue;
        }
        for (std::size_t begin = 0; begin < width; begin += kSlopeLanes) {
            std::copy_n(from + begin, std::min(kSlopeLanes, width - begin), blocks + begin * rows + line * kSlopeLanes);
        }
    }
}

// `numbers`: for each length the activations' and the weights'; `local`, by length, whether the slope is theirs. The
// gradients of the mean products of the others are added up by encoding in `relaxed`; where all are, grad_x and grad_w
// are left as they are. Returned: the gradients of the
// shares, of the gain and of the correlation.
template <class R>
std::vector<double> backward(Reals<R> grad, Reals<R> x, Reals<R> w, Line<R> bias, const Designs& designs,
                             Integers local, Line<std::int64_t> numbers, const KeptSums& kept,
                             std::optional<Results<const R>> by_correlation, std::optional<Result<R>> grad_x,
                             std::optional<Result<R>> grad_w, nb::ndarray<R, nb::ndim<1>, nb::c_contig> grad_bias,
                             Results<R> relaxed, int threads) {
    const std::size_t samples = x.shape(0), outputs = w.shape(0), inputs = x.shape(1), size = samples * outputs;
    const std::size_t count = designs.lengths.size(), total = designs.shares.size();
    designs.check(inputs);
    require(w.shape(1) == inputs && bias.size() == outputs && grad_bias.size() == outputs, "w, bias: [O, I], [O]");
    require(grad.shape(0) == samples && grad.shape(1) == outputs, "grad: [B, O]");
    require(kept.holds(total, samples, outputs) && kept.filled() &&
                (!by_correlation || by_correlation->size() == total * size),
            "kept, by_correlation: [designs, B, O]");
    require(!grad_x || (grad_x->shape(0) == samples && grad_x->shape(1) == inputs), "grad_x: [B, I]");
    require(!grad_w || (grad_w->shape(0) == outputs && grad_w->shape(1) == inputs), "grad_w: [O, I]");
    require(relaxed.size() == designs.encodings() * size, "relaxed: [encodings, B, O]");
    require(local.size() == count, "local: one a length");
    std::size_t held = 0;
    for (std::size_t l = 0; l < count; ++l) {
        held += 2 * static_cast<std::size_t>(designs.lengths[l]);
        require(!local[l] || designs.lengths[l] <= static_cast<std::int64_t>(kSlopeLongest), "local: of short streams");
    }
    require(numbers.size() == held, "numbers: of both sides, for each length");
    for (std::size_t t = 0; t < held; ++t) {
        require(numbers.data()[t] >= 0 && numbers.data()[t] < std::int64_t{1} << designs.precision_bits,
                "numbers: 0 .. 2**precision_bits - 1");
    }
    const Level level = family.level(), by_slope = slope_level();
    nb::gil_scoped_release released;
    std::vector<double> found(total + 2, 0.0), columns(4 * outputs, 0.0);
    const bool any_local =
        std::any_of(local.begin(), local.end(), [](std::int64_t of_length) { return of_length != 0; });
    for (const auto& target : {grad_x, grad_w}) {
        if (target && any_local) std::fill_n(target->data(), target->size(), R(0));
    }
    std::fill_n(relaxed.data(), relaxed.size(), R(0));
    thread_local Thresholds<R> of_x, of_w;
    thread_local Integers bias_raw;
    // kept by the thread between calls, as fresh memory would have to be paged in
    thread_local Buffer mean_room, widened_room;
    const std::size_t most = std::min(samples, kSamples) * outputs;
    mean_room.reserve(most * sizeof(R));
    widened_room.reserve(most * sizeof(std::int32_t));
    R* const mean = mean_room.as<R>();
    std::int32_t* const widened = widened_room.as<std::int32_t>();
    std::vector<Buffer> blocks_x(count), blocks_w(count);
    for (std::size_t e = 0; e < designs.encodings(); ++e) {
        SlopeView<R> slopes{};
        slopes.inputs = inputs, slopes.one = std::int32_t{1} << designs.precision_bits;
        slopes.code = static_cast<SlopeCode>(designs.codes[e]);
        in_parts(samples, [&](std::size_t first, std::size_t here) {
            const std::size_t begin = first * outputs;
            std::vector<SlopeGiven<R>> given_x, given_w;
            const std::int64_t* of_length = numbers.data();
            for (std::size_t l = 0; l < count; ++l) {
                const std::size_t design = e * count + l, length = static_cast<std::size_t>(designs.lengths[l]);
                const DesignView<R> view = designs.view<R>(e, l, here, outputs, bias.data(), bias_raw);
                double* const sums = columns.data();
                std::fill_n(sums + outputs, outputs, 0.0);
                kernels(level, R())
                    .back(view, grad.data() + begin, kept.get(level, design, first, here * outputs, widened),
                          by_correlation ? by_correlation->data() + design * size + begin : nullptr, mean,
                          {sums, sums + outputs, sums + 2 * outputs, sums + 3 * outputs});
                for (std::size_t o = 0; o < outputs; ++o) found[design] += sums[outputs + o];
                const std::int64_t* const r = of_length;
                const std::int64_t* const q = of_length + length;
                of_length += 2 * length;
                if (!local[l]) {
                    R* const to = relaxed.data() + e * size + begin;
                    for (std::size_t i = 0; i < here * outputs; ++i) to[i] += mean[i];
                    continue;
                }
                if (grad_w) {
                    to_blocks(mean, here, outputs, false, blocks_w[l]);
                    given_w.push_back({blocks_w[l].as<R>(), length, r, q});
                }
                if (grad_x) {
                    to_blocks(mean, here, outputs, true, blocks_x[l]);
                    given_x.push_back({blocks_x[l].as<R>(), length, q, r});
                }
            }
            const R* const x_here = x.data() + first * inputs;
            if (!given_w.empty()) {
                slopes.threshold =
                    of_x.make(level, x_here, here, inputs, designs.codes[e], designs.precision_bits).values;
                slopes.value = w.data(), slopes.out = grad_w->data();
                slopes.rows = here, slopes.columns = outputs;
                add_slopes(by_slope, slopes, given_w.data(), given_w.size(), threads);
            }
            if (!given_x.empty()) {
                if (first == 0) of_w.make(level, w.data(), outputs, inputs, designs.codes[e], designs.precision_bits);
                slopes.threshold = of_w.values.data();
                slopes.value = x_here, slopes.out = grad_x->data() + first * inputs;
                slopes.rows = outputs, slopes.columns = here;
                add_slopes(by_slope, slopes, given_x.data(), given_x.size(), threads);
            }
        });
    }
    for (std::size_t o = 0; o < outputs; ++o) {
        grad_bias.data()[o] = static_cast<R>(columns[o]);
        found[total] += columns[2 * outputs + o];
        found[total + 1] += columns[3 * outputs + o];
    }
    return found;
}

void make_designs(Designs* self, Integers codes, std::vector<double> shares, Integers lengths, Integers multipliers,
                  Integers shifts, double gain, Integers limits, int precision_bits) {
    new (self) Designs{std::move(codes),       std::move(shares), std::move(lengths),
                       std::move(multipliers), std::move(shifts), gain,
                       std::move(limits),      precision_bits};
}

}  // namespace

void bind_mixture(nb::module_& module) {
    nb::class_<Designs>(module, "Designs", "The designs that a bit-true layer mixes.")
        .def("__init__", make_designs, nb::arg("codes"), nb::arg("shares"), nb::arg("lengths"), nb::arg("multipliers"),
             nb::arg("shifts"), nb::arg("gain"), nb::arg("limits"), nb::arg("precision_bits"));
    nb::class_<KeptSums>(module, "KeptSums", "The sums of a mixture's designs, from the forward pass for the way back.")
        .def(nb::init<std::size_t, std::size_t, std::size_t>(), nb::arg("designs"), nb::arg("samples"),
             nb::arg("outputs"))
        .def_prop_ro("bytes", &KeptSums::bytes);
    module.def("mixture", forward<float>, nb::arg("x"), nb::arg("w"), nb::arg("bias"), nb::arg("designs"),
               nb::arg("tables"), nb::arg("goes_on"), nb::arg("signs"), nb::arg("kept"),
               nb::arg("by_correlation").none(), nb::arg("out"), nb::arg("threads"),
               "The mixture's output, what the way back needs, and which sides fit an encoding.");
    module.def("mixture", forward<double>, nb::arg("x"), nb::arg("w"), nb::arg("bias"), nb::arg("designs"),
               nb::arg("tables"), nb::arg("goes_on"), nb::arg("signs"), nb::arg("kept"),
               nb::arg("by_correlation").none(), nb::arg("out"), nb::arg("threads"));
    module.def("mixture_back", backward<float>, nb::arg("grad"), nb::arg("x"), nb::arg("w"), nb::arg("bias"),
               nb::arg("designs"), nb::arg("local"), nb::arg("numbers"), nb::arg("kept"),
               nb::arg("by_correlation").none(), nb::arg("grad_x").none(), nb::arg("grad_w").none(),
               nb::arg("grad_bias"), nb::arg("relaxed"), nb::arg("threads"), "Its gradients.");
    module.def("mixture_back", backward<double>, nb::arg("grad"), nb::arg("x"), nb::arg("w"), nb::arg("bias"),
               nb::arg("designs"), nb::arg("local"), nb::arg("numbers"), nb::arg("kept"),
               nb::arg("by_correlation").none(), nb::arg("grad_x").none(), nb::arg("grad_w").none(),
               nb::arg("grad_bias"), nb::arg("relaxed"), nb::arg("threads"));
}

}  // namespace bitprop

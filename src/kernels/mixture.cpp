// A bit-true layer's mixture of designs in one call forward and one back, from Python.
#include "mixture.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bindings.h"
#include "dense.h"
#include "designs.h"
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
    const std::vector<double> bias_real(bias_raw.begin(), bias_raw.end());
    for (const auto& [shift, is_exact] :
         {std::pair(0, true), std::pair(0, false), std::pair(5, true), std::pair(5, false)}) {
        DesignView<R> view{samples,  outputs, bias.data(), bias_raw.data(), bias_real.data(),
                           is_exact, R(0.1),  R(16),       R(0.3),          R(0.0625),
                           9,        -64,     64,          shift,           R(-1),
                           R(1)};
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

// Sizes of a layer's matrices.
struct Sizes {
    std::size_t samples, inputs, outputs;
    Sizes(const std::vector<std::size_t>& given) {
        require(given.size() == 3, "sizes: [B, I, O]");
        samples = given[0], inputs = given[1], outputs = given[2];
    }
};

// A tensor's numbers by their address: an array of each tensor would take longer to make than a small layer's sums.
template <class R>
struct At {
    R* start;
    At(std::uintptr_t address) : start(reinterpret_cast<R*>(address)) {}
    R* data() const { return start; }
    explicit operator bool() const { return start != nullptr; }
};

// What is kept of the step for the way back. x [B, I], w [O, I], bias [O], out [B, O].
template <class R>
std::unique_ptr<Pass> forward_of(const Designs& designs, std::vector<double> shares, double gain, double exact_gain,
                                 const Sizes& sizes, At<const R> x, At<const R> w, At<const R> bias, At<R> out,
                                 int threads) {
    const auto [samples, inputs, outputs] = sizes;
    const std::size_t count = designs.lengths.size(), each = designs.tables_each(), size = samples * outputs;
    const Integers& signs = designs.signs;
    designs.check_inputs(inputs);
    require(shares.size() == designs.count(), "shares: one for each encoding and length");
    const Level level = family.level(), by_table = table_level();
    nb::gil_scoped_release released;
    std::unique_ptr<Pass> pass(new Pass{std::move(shares), gain, std::vector<Scale>(count),
                                        KeptSums(designs.count(), samples, outputs),
                                        std::vector<std::pair<bool, bool>>(designs.encodings(), {true, true}),
                                        Buffer(signs.empty() ? 0 : designs.count() * size * sizeof(R)), sizeof(R)});
    for (std::size_t l = 0; designs.scale_bits > 0 && l < count; ++l) {
        pass->scales[l] = Scale::of(exact_gain, designs.lengths[l], designs.precision_bits, designs.scale_bits);
    }
    std::fill_n(out.data(), size, R(0));
    if (size == 0) return pass;
    thread_local Thresholds<R> of_x, of_w;
    thread_local Preloads preloads;
    thread_local std::vector<std::int64_t> sums;
    thread_local Shared shared;
    const std::size_t most = std::min(samples, kSamples);
    sums.resize(std::max(sums.size(), each * most * outputs));
    for (std::size_t e = 0; e < designs.encodings(); ++e) {
        const bool xnor = static_cast<SlopeCode>(designs.codes[e]) == SlopeCode::bipolar;
        const Matrix k_w = of_w.make(level, w.data(), outputs, inputs, designs.codes[e], designs.precision_bits);
        pass->inside[e].second = of_w.inside;
        in_parts(samples, [&](std::size_t first, std::size_t here) {
            const std::size_t part = here * outputs;
            const Matrix k_x =
                of_x.make(level, x.data() + first * inputs, here, inputs, designs.codes[e], designs.precision_bits);
            pass->inside[e].first &= of_x.inside;
            shared.renew();
            for (std::size_t l = 0; l < count; ++l) {
                for (std::size_t table = 0; table < each; ++table) {
                    Weights weights(*designs.tables[l * each + table], k_w);
                    dense(by_table, weights, k_x, xnor, sums.data() + table * part, threads, &shared,
                          designs.goes_on[l] != 0);
                }
                const std::size_t design = e * count + l;
                const DesignView<R> view = pass->view<R>(designs, e, l, here, outputs, bias.data(), preloads);
                kernels(level, R()).finish(view, sums.data(), out.data() + first * outputs);
                pass->sums.put(level, design, first, sums.data(), part);
                if (signs.empty()) continue;
                R* const slope = pass->by_correlation.as<R>() + design * size + first * outputs;
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
    return pass;
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

// The gradients of the mean products of lengths that are not local are added up by encoding in `relaxed`, [encodings,
// B, O]; where all are, grad_x and grad_w, either of which may be missing, are left as they are. Returned: the
// gradients of the shares, of the gain and of the correlation.
template <class R>
std::vector<double> backward_of(const Designs& designs, const Pass& pass, const Sizes& sizes, At<const R> grad,
                                At<const R> x, At<const R> w, At<const R> bias, At<R> grad_x, At<R> grad_w,
                                At<R> grad_bias, At<R> relaxed, int threads) {
    const auto [samples, inputs, outputs] = sizes;
    const std::size_t count = designs.lengths.size(), total = designs.count(), size = samples * outputs;
    const Integers& local = designs.local;
    designs.check_inputs(inputs);
    require(pass.sums.holds(total, samples, outputs) && pass.real_bytes == sizeof(R), "step: of these designs, [B, O]");
    const R* const by_correlation = designs.signs.empty() ? nullptr : pass.by_correlation.as<R>();
    const Level level = family.level(), by_slope = slope_level();
    nb::gil_scoped_release released;
    std::vector<double> found(total + 2, 0.0), columns(4 * outputs, 0.0);
    const bool any_local =
        std::any_of(local.begin(), local.end(), [](std::int64_t of_length) { return of_length != 0; });
    if (any_local && grad_x) std::fill_n(grad_x.data(), samples * inputs, R(0));
    if (any_local && grad_w) std::fill_n(grad_w.data(), outputs * inputs, R(0));
    std::fill_n(relaxed.data(), designs.encodings() * size, R(0));
    thread_local Thresholds<R> of_x, of_w;
    thread_local Preloads preloads;
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
            const std::int64_t* of_length = designs.numbers.data();
            for (std::size_t l = 0; l < count; ++l) {
                const std::size_t design = e * count + l, length = static_cast<std::size_t>(designs.lengths[l]);
                const DesignView<R> view = pass.view<R>(designs, e, l, here, outputs, bias.data(), preloads);
                double* const sums = columns.data();
                std::fill_n(sums + outputs, outputs, 0.0);
                kernels(level, R())
                    .back(view, grad.data() + begin, pass.sums.get(level, design, first, here * outputs, widened),
                          by_correlation != nullptr ? by_correlation + design * size + begin : nullptr, mean,
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
                slopes.value = w.data(), slopes.out = grad_w.data();
                slopes.rows = here, slopes.columns = outputs;
                add_slopes(by_slope, slopes, given_w.data(), given_w.size(), threads);
            }
            if (!given_x.empty()) {
                if (first == 0) of_w.make(level, w.data(), outputs, inputs, designs.codes[e], designs.precision_bits);
                slopes.threshold = of_w.values.data();
                slopes.value = x_here, slopes.out = grad_x.data() + first * inputs;
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

std::unique_ptr<Pass> forward(const Designs& designs, std::vector<double> shares, double gain, double exact_gain,
                              bool twice, const std::vector<std::size_t>& sizes, std::uintptr_t x, std::uintptr_t w,
                              std::uintptr_t bias, std::uintptr_t out, int threads) {
    return twice ? forward_of<double>(designs, std::move(shares), gain, exact_gain, sizes, x, w, bias, out, threads)
                 : forward_of<float>(designs, std::move(shares), gain, exact_gain, sizes, x, w, bias, out, threads);
}

std::vector<double> backward(const Designs& designs, const Pass& pass, bool twice,
                             const std::vector<std::size_t>& sizes, std::uintptr_t grad, std::uintptr_t x,
                             std::uintptr_t w, std::uintptr_t bias, std::uintptr_t grad_x, std::uintptr_t grad_w,
                             std::uintptr_t grad_bias, std::uintptr_t relaxed, int threads) {
    return twice ? backward_of<double>(designs, pass, sizes, grad, x, w, bias, grad_x, grad_w, grad_bias, relaxed,
                                       threads)
                 : backward_of<float>(designs, pass, sizes, grad, x, w, bias, grad_x, grad_w, grad_bias, relaxed,
                                      threads);
}

}  // namespace

void bind_mixture(nb::module_& module) {
    bind_designs(module);
    module.def("mixture", forward, nb::arg("designs"), nb::arg("shares"), nb::arg("gain"), nb::arg("exact_gain"),
               nb::arg("twice"), nb::arg("sizes"), nb::arg("x"), nb::arg("w"), nb::arg("bias"), nb::arg("out"),
               nb::arg("threads"), "The mixture's output, from and to addresses, and what the way back needs.");
    module.def("mixture_back", backward, nb::arg("designs"), nb::arg("step"), nb::arg("twice"), nb::arg("sizes"),
               nb::arg("grad"), nb::arg("x"), nb::arg("w"), nb::arg("bias"), nb::arg("grad_x"), nb::arg("grad_w"),
               nb::arg("grad_bias"), nb::arg("relaxed"), nb::arg("threads"), "Its gradients.");
}

}  // namespace bitprop

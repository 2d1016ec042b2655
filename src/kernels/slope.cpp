// Local slopes of a bit-true layer from Python: checks, ranks, threads.
#include "slope.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <vector>

#include "bindings.h"
#include "levels.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

void call(Level level, const SlopeView<float>& view, std::size_t first, std::size_t last, float* bins) {
    BITPROP_CHOOSE(level, slope_kernels).single(view, first, last, bins);
}

void call(Level level, const SlopeView<double>& view, std::size_t first, std::size_t last, double* bins) {
    BITPROP_CHOOSE(level, slope_kernels).twice(view, first, last, bins);
}

// How many of the sorted numbers lie below each threshold 0 .. one.
std::vector<std::int32_t> ranks(const std::vector<std::int64_t>& sorted, std::int64_t one) {
    std::vector<std::int32_t> found;
    std::size_t below = 0;
    for (std::int64_t threshold = 0; threshold <= one; ++threshold) {
        while (below < sorted.size() && sorted[below] < threshold) ++below;
        found.push_back(static_cast<std::int32_t>(below));
    }
    return found;
}

// `order` are the cycles in the order of the values' numbers; the view's own pointers are set here.
template <class R>
void slopes(Level level, SlopeView<R> view, const std::int64_t* row_numbers, const std::int64_t* value_numbers,
            const std::int64_t* order, int threads) {
    std::vector<std::int64_t> by_row(view.length), place(view.length), rows(view.length), values(view.length);
    for (std::size_t t = 0; t < view.length; ++t) by_row[t] = static_cast<std::int64_t>(t);
    std::stable_sort(by_row.begin(), by_row.end(),
                     [&](std::int64_t a, std::int64_t b) { return row_numbers[a] < row_numbers[b]; });
    std::vector<R> levels(view.length);
    std::vector<std::int32_t> point(view.length);
    for (std::size_t t = 0; t < view.length; ++t) place[static_cast<std::size_t>(by_row[t])] = t;
    for (std::size_t t = 0; t < view.length; ++t) {
        rows[t] = row_numbers[by_row[t]];
        values[t] = value_numbers[order[t]];
        levels[t] = (static_cast<R>(values[t]) + R(0.5)) / static_cast<R>(view.one);
        point[t] = static_cast<std::int32_t>(place[static_cast<std::size_t>(order[t])]);
    }
    const std::vector<std::int32_t> row_rank = ranks(rows, view.one), value_rank = ranks(values, view.one);
    view.row_rank = row_rank.data();
    view.value_rank = value_rank.data();
    view.levels = levels.data();
    view.point = point.data();
    const long tasks = static_cast<long>((view.inputs + kSlopeInputs - 1) / kSlopeInputs);
    const std::size_t room = (view.length + 1) * kSlopeLanes;
    auto body = [&](long task) {
        thread_local std::vector<R> bins;
        if (bins.size() < room) bins.resize(room);
        const std::size_t first = static_cast<std::size_t>(task) * kSlopeInputs;
        call(level, view, first, std::min(first + kSlopeInputs, view.inputs), bins.data());
    };
    parallel_for(threads, tasks, body);
}

template <class R>
bool check_type(Level level) {
    constexpr std::size_t rows = 5, columns = 19, inputs = 18, length = 6;
    const std::int64_t numbers[2][length] = {{0, 12, 5, 9, 5, 15}, {3, 8, 8, 1, 14, 0}};
    const std::int64_t order[length] = {5, 3, 0, 1, 2, 4};
    std::vector<R> grad(rows * columns), value(columns * inputs);
    std::vector<std::int64_t> threshold(rows * inputs), negative(rows * inputs);
    std::uint64_t state = 3;
    auto next = [&] { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 40; };
    for (R& g : grad) g = static_cast<R>(next() % 1000) / R(700) - R(0.5);
    for (R& v : value) v = static_cast<R>(next() % 1000) / R(450) - R(1.1);
    for (auto& k : threshold) k = static_cast<std::int64_t>(next() % 17);
    for (auto& n : negative) n = static_cast<std::int64_t>(next() % 2);
    for (const SlopeCode code : {SlopeCode::unipolar, SlopeCode::sign_magnitude, SlopeCode::bipolar}) {
        std::vector<R> found[2];
        for (int which = 0; which < 2; ++which) {
            found[which].resize(columns * inputs);
            SlopeView<R> view{};
            view.grad = grad.data();
            view.threshold = threshold.data();
            view.negative = code == SlopeCode::sign_magnitude ? negative.data() : nullptr;
            view.value = value.data();
            view.out = found[which].data();
            view.rows = rows, view.columns = columns, view.inputs = inputs, view.length = length, view.one = 16;
            view.code = code;
            slopes(which == 0 ? Level::portable : level, view, numbers[0], numbers[1], order, 1);
        }
        if (found[0] != found[1]) return false;
    }
    return true;
}

bool check(Level level) { return check_type<float>(level) && check_type<double>(level); }

Family family("slope", check);

template <class R>
using Reals = nb::ndarray<const R, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
template <class R>
using Result = nb::ndarray<R, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class R>
void local_slope(Reals<R> grad, Integers threshold, Integers negative, Reals<R> value, Numbers row_numbers,
                 Numbers value_numbers, Numbers order, int precision_bits, int code, Result<R> out, int threads) {
    require(precision_bits >= 1 && precision_bits <= 16, "precision_bits: 1 .. 16");
    require(code >= 0 && code <= 2, "code: 0 .. 2");
    const std::size_t rows = grad.shape(0), columns = grad.shape(1), inputs = value.shape(1);
    const std::size_t length = row_numbers.size();
    require(length >= 1 && length <= 65536 && value_numbers.size() == length && order.size() == length,
            "numbers and order: of one length, 1 .. 65536");
    require(value.shape(0) == columns && out.shape(0) == columns && out.shape(1) == inputs, "value, out: [columns, I]");
    for (const Integers& side : {threshold, negative}) {
        require(side.shape(0) == rows && side.shape(1) == inputs, "threshold, negative: [rows, I]");
    }
    const std::int64_t one = std::int64_t{1} << precision_bits;
    for (std::size_t t = 0; t < length; ++t) {
        require(row_numbers.data()[t] >= 0 && row_numbers.data()[t] < one && value_numbers.data()[t] >= 0 &&
                    value_numbers.data()[t] < one && order.data()[t] >= 0 &&
                    order.data()[t] < static_cast<std::int64_t>(length),
                "numbers: 0 .. 2**precision_bits - 1; order: cycles");
    }
    bool outside = false;
    for (std::size_t at = 0; at < threshold.size(); ++at) {
        outside |= threshold.data()[at] < 0 || threshold.data()[at] > one;
    }
    require(!outside, "threshold: 0 .. 2**precision_bits");
    SlopeView<R> view{};
    view.grad = grad.data();
    view.threshold = threshold.data();
    view.code = static_cast<SlopeCode>(code);
    view.negative = view.code == SlopeCode::sign_magnitude ? negative.data() : nullptr;
    view.value = value.data();
    view.out = out.data();
    view.rows = rows, view.columns = columns, view.inputs = inputs, view.length = length, view.one = one;
    const Level level = family.level();
    nb::gil_scoped_release released;
    slopes(level, view, row_numbers.data(), value_numbers.data(), order.data(), threads);
}

}  // namespace

void bind_slope(nb::module_& module) {
    module.def("local_slope", local_slope<float>, "Local slopes of a layer's values, [columns, I].");
    module.def("local_slope", local_slope<double>);
}

}  // namespace bitprop

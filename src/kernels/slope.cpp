// Local slopes of a bit-true layer from Python: checks, ranks, threads.
#include "slope.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "bindings.h"
#include "count_table.h"
#include "levels.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

void call(Level level, const SlopeView<float>& view, std::size_t first, std::size_t last, SlopeScratch<float> scratch) {
    BITPROP_CHOOSE(level, slope_kernels).single(view, first, last, scratch);
}

void call(Level level, const SlopeView<double>& view, std::size_t first, std::size_t last,
          SlopeScratch<double> scratch) {
    BITPROP_CHOOSE(level, slope_kernels).twice(view, first, last, scratch);
}

// The cycles in the order of their numbers; of equal numbers the earlier cycle first.
std::vector<std::size_t> sorted(const std::int64_t* numbers, std::size_t length) {
    std::vector<std::size_t> order(length);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return numbers[a] < numbers[b]; });
    return order;
}

// How many of the numbers lie below each threshold 0 .. one.
std::vector<std::int32_t> ranks(const std::int64_t* numbers, std::size_t length, std::int32_t one) {
    std::vector<std::int32_t> found(static_cast<std::size_t>(one) + 1, 0);
    for (std::size_t t = 0; t < length; ++t) ++found[static_cast<std::size_t>(numbers[t]) + 1];
    std::partial_sum(found.begin(), found.end(), found.begin());
    return found;
}

}  // namespace

template <class R>
void add_slopes(Level level, SlopeView<R> view, const std::int64_t* row_numbers, const std::int64_t* value_numbers,
                int threads) {
    const std::size_t length = view.length, thresholds = static_cast<std::size_t>(view.one) + 1;
    const std::vector<std::size_t> by_row = sorted(row_numbers, length), by_value = sorted(value_numbers, length);
    // a cycle's bit is one in the rows of a rank above its place
    std::vector<std::int32_t> rank_of_cycle(length);
    for (std::size_t t = 0; t < length; ++t) rank_of_cycle[by_row[t]] = static_cast<std::int32_t>(t) + 1;
    const std::vector<std::int32_t> row_rank = ranks(row_numbers, length, view.one);
    const std::vector<std::int32_t> value_rank = ranks(value_numbers, length, view.one);
    std::vector<std::int32_t> under(thresholds), over(thresholds);
    std::vector<R> level_below(thresholds), gap(thresholds);
    const auto level_of = [&](std::size_t cycle) {
        return (static_cast<R>(value_numbers[cycle]) + R(0.5)) / static_cast<R>(view.one);
    };
    for (std::size_t number = 0; number < thresholds; ++number) {
        const std::size_t found = static_cast<std::size_t>(value_rank[number]);
        const std::size_t below = by_value[found > 0 ? found - 1 : 0], above = by_value[std::min(found, length - 1)];
        under[number] = rank_of_cycle[below];
        over[number] = rank_of_cycle[above];
        level_below[number] = level_of(below);
        gap[number] = level_of(above) - level_of(below);
    }
    view.row_rank = row_rank.data();
    view.under = under.data();
    view.over = over.data();
    view.level = level_below.data();
    view.gap = gap.data();
    const long tasks = static_cast<long>((view.inputs + kSlopeInputs - 1) / kSlopeInputs);
    auto body = [&](long task) {
        thread_local std::vector<std::uint32_t> places;
        thread_local Buffer sums;
        places.resize(std::max(places.size(), kSlopeInputs * (view.rows + 2 * length + 3)));
        sums.reserve((length + 1) * kSlopeLanes * sizeof(R));
        const std::size_t first = static_cast<std::size_t>(task) * kSlopeInputs;
        call(level, view, first, std::min(first + kSlopeInputs, view.inputs),
             {places.data(), places.data() + kSlopeInputs * view.rows, sums.as<R>()});
    };
    parallel_for(threads, tasks, body);
}

template void add_slopes<float>(Level, SlopeView<float>, const std::int64_t*, const std::int64_t*, int);
template void add_slopes<double>(Level, SlopeView<double>, const std::int64_t*, const std::int64_t*, int);

namespace {

template <class R>
bool check_type(Level level) {
    constexpr std::size_t rows = 5, columns = 19, inputs = 18, length = 6;
    const std::int64_t numbers[2][length] = {{0, 12, 5, 9, 5, 15}, {3, 8, 8, 1, 14, 0}};
    const std::size_t stride = slope_stride(columns);
    std::vector<R> grad(rows * stride, R(0)), value(columns * inputs);
    std::vector<std::int32_t> threshold(rows * inputs);
    std::uint64_t state = 3;
    auto next = [&] { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 40; };
    for (std::size_t at = 0; at < grad.size(); ++at) {
        if (at % stride < columns) grad[at] = static_cast<R>(next() % 1000) / R(700) - R(0.5);
    }
    for (R& v : value) v = static_cast<R>(next() % 1000) / R(450) - R(1.1);
    for (auto& k : threshold) k = static_cast<std::int32_t>(next() % 17);
    for (const SlopeCode code : {SlopeCode::unipolar, SlopeCode::bipolar, SlopeCode::sign_magnitude}) {
        std::vector<R> found[2];
        for (int which = 0; which < 2; ++which) {
            if (code == SlopeCode::sign_magnitude) threshold[3] = -5, threshold[inputs] = -16;
            found[which].assign(columns * inputs, R(1));
            SlopeView<R> view{};
            view.grad = grad.data();
            view.threshold = threshold.data();
            view.value = value.data();
            view.out = found[which].data();
            view.rows = rows, view.columns = columns, view.inputs = inputs, view.length = length;
            view.stride = stride, view.one = 16, view.code = code;
            add_slopes(which == 0 ? Level::portable : level, view, numbers[0], numbers[1], 1);
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
using Thresholds = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class R>
void local_slope(Reals<R> grad, Thresholds threshold, Reals<R> value, Numbers row_numbers, Numbers value_numbers,
                 int precision_bits, int code, Result<R> out, int threads) {
    require(precision_bits >= 1 && precision_bits <= 16, "precision_bits: 1 .. 16");
    require(code >= 0 && code <= 2, "code: 0 .. 2");
    const std::size_t rows = grad.shape(0), columns = grad.shape(1), inputs = value.shape(1);
    const std::size_t length = row_numbers.size();
    require(length >= 1 && length <= 65536 && value_numbers.size() == length, "numbers: of one length, 1 .. 65536");
    require(value.shape(0) == columns && out.shape(0) == columns && out.shape(1) == inputs, "value, out: [columns, I]");
    require(threshold.shape(0) == rows && threshold.shape(1) == inputs, "threshold: [rows, I]");
    const std::int32_t one = std::int32_t{1} << precision_bits;
    for (const Numbers& numbers : {row_numbers, value_numbers}) {
        for (std::size_t t = 0; t < length; ++t) {
            require(numbers.data()[t] >= 0 && numbers.data()[t] < one, "numbers: 0 .. 2**precision_bits - 1");
        }
    }
    bool outside = false;
    const std::int32_t least = static_cast<SlopeCode>(code) == SlopeCode::sign_magnitude ? -one : 0;
    for (std::size_t at = 0; at < threshold.size(); ++at) {
        outside |= threshold.data()[at] < least || threshold.data()[at] > one;
    }
    require(!outside, "threshold: 0 .. 2**precision_bits, with a sign for sign_magnitude");
    const Level level = family.level();
    nb::gil_scoped_release released;
    const std::size_t stride = slope_stride(columns);
    std::vector<R> padded(rows * stride, R(0));
    for (std::size_t row = 0; row < rows; ++row) {
        std::copy_n(grad.data() + row * columns, columns, padded.data() + row * stride);
    }
    std::fill_n(out.data(), out.size(), R(0));
    SlopeView<R> view{};
    view.grad = padded.data();
    view.threshold = threshold.data();
    view.value = value.data();
    view.out = out.data();
    view.rows = rows, view.columns = columns, view.inputs = inputs, view.length = length;
    view.stride = stride, view.one = one, view.code = static_cast<SlopeCode>(code);
    add_slopes(level, view, row_numbers.data(), value_numbers.data(), threads);
}

}  // namespace

void bind_slope(nb::module_& module) {
    module.def("local_slope", local_slope<float>, "Local slopes of a layer's values, [columns, I].");
    module.def("local_slope", local_slope<double>);
}

}  // namespace bitprop

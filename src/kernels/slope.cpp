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

// How many of the sorted numbers lie below each threshold 0 .. one.
std::vector<std::int32_t> ranks(const std::vector<std::int64_t>& numbers, std::int32_t one) {
    std::vector<std::int32_t> found(static_cast<std::size_t>(one) + 1, 0);
    for (const std::int64_t number : numbers) ++found[static_cast<std::size_t>(number) + 1];
    std::partial_sum(found.begin(), found.end(), found.begin());
    return found;
}

// The tables of one length that its SlopeLength points to.
template <class R>
struct Tables {
    std::vector<std::int32_t> rank, place_of_rank, pair;
    std::vector<R> level, gap;

    SlopeLength<R> make(const SlopeGiven<R>& given, const std::vector<std::int32_t>& row_rank, std::int32_t one) {
        const std::size_t length = given.length, thresholds = static_cast<std::size_t>(one) + 1;
        const std::int64_t* const numbers = given.value_numbers;
        const std::vector<std::size_t> by_row = sorted(given.row_numbers, length), by_value = sorted(numbers, length);
        std::vector<std::int32_t> place(length);
        rank.resize(length);
        for (std::size_t q = 0; q < length; ++q) {
            place[by_row[q]] = static_cast<std::int32_t>(q) + 1;
            rank[q] = row_rank[static_cast<std::size_t>(given.row_numbers[by_row[q]]) + 1];
        }
        place_of_rank.assign(static_cast<std::size_t>(row_rank.back()) + 1, 0);
        for (std::size_t q = 0; q < length; ++q) ++place_of_rank[static_cast<std::size_t>(rank[q])];
        std::partial_sum(place_of_rank.begin(), place_of_rank.end(), place_of_rank.begin());
        const auto level_of = [&](std::size_t cycle) {
            return (static_cast<R>(numbers[cycle]) + R(0.5)) / static_cast<R>(one);
        };
        pair.resize(thresholds);
        level.resize(thresholds);
        gap.resize(thresholds);
        std::size_t found = 0;
        for (std::size_t number = 0; number < thresholds; ++number) {
            while (found < length && numbers[by_value[found]] < static_cast<std::int64_t>(number)) ++found;
            const std::size_t below = by_value[found > 0 ? found - 1 : 0];
            const std::size_t above = by_value[std::min(found, length - 1)];
            pair[number] = place[below] | place[above] << 16;
            level[number] = level_of(below);
            // beyond the levels both cycles are the same, and any distance serves
            gap[number] = above == below ? R(1) : level_of(above) - level_of(below);
        }
        return {given.grad, length, rank.data(), place_of_rank.data(), pair.data(), level.data(), gap.data()};
    }
};

}  // namespace

template <class R>
void add_slopes(Level level, SlopeView<R> view, const SlopeGiven<R>* given, std::size_t count, int threads) {
    std::vector<std::int64_t> numbers;
    for (std::size_t l = 0; l < count; ++l) {
        numbers.insert(numbers.end(), given[l].row_numbers, given[l].row_numbers + given[l].length);
        view.longest = std::max(view.longest, given[l].length);
    }
    std::sort(numbers.begin(), numbers.end());
    numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
    const std::vector<std::int32_t> row_rank = ranks(numbers, view.one);
    std::vector<Tables<R>> tables(count);
    std::vector<SlopeLength<R>> lengths;
    for (std::size_t l = 0; l < count; ++l) lengths.push_back(tables[l].make(given[l], row_rank, view.one));
    view.row_rank = row_rank.data();
    view.ranks = numbers.size() + 1;
    view.lengths = lengths.data();
    view.count = count;
    const long tasks = static_cast<long>((view.inputs + kSlopeInputs - 1) / kSlopeInputs);
    auto body = [&](long task) {
        thread_local std::vector<std::uint32_t> places;
        thread_local Buffer sums;
        places.resize(std::max(places.size(), kSlopeInputs * (2 * view.rows + 2 * (view.ranks + 1))));
        sums.reserve((view.longest + 2) * kSlopeLanes * sizeof(R));
        const std::size_t first = static_cast<std::size_t>(task) * kSlopeInputs;
        call(level, view, first, std::min(first + kSlopeInputs, view.inputs),
             {places.data(), places.data() + kSlopeInputs * view.rows, places.data() + 2 * kSlopeInputs * view.rows,
              sums.as<R>()});
    };
    parallel_for(threads, tasks, body);
}

template void add_slopes<float>(Level, SlopeView<float>, const SlopeGiven<float>*, std::size_t, int);
template void add_slopes<double>(Level, SlopeView<double>, const SlopeGiven<double>*, std::size_t, int);

namespace {

template <class R>
bool check_type(Level level) {
    constexpr std::size_t rows = 5, columns = 19, inputs = 18, length = 6;
    const std::int64_t numbers[3][length] = {{0, 12, 5, 9, 5, 15}, {3, 8, 8, 1, 14, 0}, {2, 7, 3, 14, 10, 12}};
    std::vector<R> grad(slope_blocks(columns) * rows * kSlopeLanes, R(0)), value(columns * inputs);
    std::vector<std::int32_t> threshold(rows * inputs);
    std::uint64_t state = 3;
    auto next = [&] { return (state = state * 6364136223846793005u + 1442695040888963407u) >> 40; };
    for (R& g : grad) g = static_cast<R>(next() % 1000) / R(700) - R(0.5);
    for (R& v : value) v = static_cast<R>(next() % 1000) / R(450) - R(1.1);
    for (auto& k : threshold) k = static_cast<std::int32_t>(next() % 17);
    const SlopeGiven<R> given[] = {{grad.data(), length, numbers[0], numbers[1]},
                                   {grad.data(), length / 2, numbers[2], numbers[0]}};
    for (const SlopeCode code : {SlopeCode::unipolar, SlopeCode::bipolar, SlopeCode::sign_magnitude}) {
        if (code == SlopeCode::sign_magnitude) threshold[3] = -5, threshold[inputs] = -16;
        std::vector<R> found[2];
        for (int which = 0; which < 2; ++which) {
            found[which].assign(columns * inputs, R(1));
            SlopeView<R> view{};
            view.threshold = threshold.data();
            view.value = value.data();
            view.out = found[which].data();
            view.rows = rows, view.columns = columns, view.inputs = inputs, view.one = 16, view.code = code;
            add_slopes(which == 0 ? Level::portable : level, view, given, 2, 1);
        }
        if (found[0] != found[1]) return false;
    }
    return true;
}

bool check(Level level) { return check_type<float>(level) && check_type<double>(level); }

Family family("slope", check);

}  // namespace

Level slope_level() { return family.level(); }

namespace {

using Thresholds = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

template <class R>
void local_slope(Reals<R> grad, Thresholds threshold, Reals<R> value, Numbers row_numbers, Numbers value_numbers,
                 int precision_bits, int code, Result<R> out, int threads) {
    require(precision_bits >= 1 && precision_bits <= 16, "precision_bits: 1 .. 16");
    require(code >= 0 && code <= 2, "code: 0 .. 2");
    const std::size_t rows = grad.shape(0), columns = grad.shape(1), inputs = value.shape(1);
    const std::size_t length = row_numbers.size();
    require(length >= 1 && length <= kSlopeLongest && value_numbers.size() == length,
            "numbers: of one length, 1 .. 32767");
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
    std::vector<R> padded(slope_blocks(columns) * rows * kSlopeLanes, R(0));
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t begin = 0; begin < columns; begin += kSlopeLanes) {
            std::copy_n(grad.data() + row * columns + begin, std::min(kSlopeLanes, columns - begin),
                        padded.data() + begin * rows + row * kSlopeLanes);
        }
    }
    std::fill_n(out.data(), out.size(), R(0));
    SlopeView<R> view{};
    view.threshold = threshold.data();
    view.value = value.data();
    view.out = out.data();
    view.rows = rows, view.columns = columns, view.inputs = inputs;
    view.one = one, view.code = static_cast<SlopeCode>(code);
    const SlopeGiven<R> given{padded.data(), length, row_numbers.data(), value_numbers.data()};
    add_slopes(level, view, &given, 1, threads);
}

}  // namespace

void bind_slope(nb::module_& module) {
    module.attr("LONGEST_SLOPE") = kSlopeLongest;
    module.def("local_slope", local_slope<float>, "Local slopes of a layer's values, [columns, I].");
    module.def("local_slope", local_slope<double>);
}

}  // namespace bitprop

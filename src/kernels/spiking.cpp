// Spiking neurons from Python: the choice of a level, calls of neurons, and neurons that hear each other.
#include <cstring>

#include "levels.h"
#include "spiking_blocks.h"

namespace bitprop {
namespace {

using namespace spiking;

const SpikingKernels& kernels(Level level) { return BITPROP_CHOOSE(level, spiking_kernels); }

// --- every level gives the same bits ---------------------------------------------------------------------------------

template <class R>
std::vector<R> some_numbers(Index size) {
    std::vector<R> numbers(static_cast<std::size_t>(size));
    std::uint32_t state = 12345;
    for (R& number : numbers) {
        state = state * 1664525u + 1013904223u;
        number = static_cast<R>(state >> 8) / R(1 << 23) - R(0.25);
    }
    return numbers;
}

constexpr Index kSteps = 7, kCount = 37;  // of the problem that levels are compared on

template <class R>
std::vector<R> everything(const Passes<R>& passes, const Model<R>& model) {
    std::vector<R> numbers = some_numbers<R>(14 * kCount + 4 * kSteps * kCount);
    R* next = numbers.data();
    const auto take = [&](Index size) { return (next += size) - size; };
    const auto row = [&] { return take(kCount); };
    const auto rows = [&] { return Rows<R>{take(kSteps * kCount), kCount}; };
    const auto state_rows = [&] { return State<R>{row(), row(), row()}; };
    const auto fixed = [](const State<R>& s) { return State<const R>{s.v, s.s, s.w}; };
    const State<R> before = state_rows(), after = state_rows(), g_before = state_rows();
    const Rows<R> x = rows(), out = rows(), g_out = rows(), g_x = rows();
    const Forward<R> forward{kSteps, kCount, model, {x.start, kCount}, fixed(before), out, after};
    run_forward(passes, forward, 1);
    R *g_beta = row(), *g_second = row(), *g_theta = row(), *g_sum = row();
    const Backward<R> call{kSteps, kCount,   model,   true, {g_out.start, kCount}, fixed(after), g_x, g_before,
                           g_beta, g_second, g_theta, g_sum};
    run_backward(passes, forward, call, 1);
    return numbers;
}

// A layer's own way: slopes in the place of currents, then gradients in the place of slopes.
std::vector<float> layer(const SpikingKernels& found, const Model<float>& model) {
    std::vector<float> numbers = some_numbers<float>(3 * kSteps * kCount), scratch(kScratchRows * stride(kCount));
    float *const x = numbers.data(), *const out = x + kSteps * kCount, *const g_out = out + kSteps * kCount;
    const Rows<float> current{x, kCount};
    found.fire({kSteps, kCount, model, {x, kCount}, {}, {out, kCount}, {}}, current, 0, kCount, scratch.data());
    const Backward<float> back{kSteps,  kCount, model,   false,   {g_out, kCount}, {},
                               current, {},     nullptr, nullptr, nullptr,         nullptr};
    found.narrow.reverse(back, 0, kCount, {x, nullptr, nullptr, nullptr, nullptr, kCount}, scratch.data());
    return numbers;
}

template <class R>
bool same(const std::vector<R>& a, const std::vector<R>& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(R)) == 0;
}

// Whether `agree` says so of every model.
template <class R, class Agree>
bool of_every_model(const Agree& agree) {
    const R decay[3] = {R(0.9), R(0.7), R(0.8)}, threshold[1] = {R(0.6)};
    for (int neuron = 0; neuron < kNeurons; ++neuron) {
        for (int reset = 0; reset < kResets; ++reset) {
            for (int surrogate = 0; surrogate < kSurrogates; ++surrogate) {
                const Model<R> model{static_cast<Neuron>(neuron),
                                     static_cast<Reset>(reset),
                                     static_cast<Surrogate>(surrogate),
                                     surrogate % 2 == 1,
                                     surrogate % 3 != 1,
                                     {decay, 3},
                                     {decay, 1},
                                     {threshold, 1},
                                     R(0.2),
                                     R(0.1),
                                     R(3)};
                if (!agree(model)) return false;
            }
        }
    }
    return true;
}

bool check(Level level) {
    const SpikingKernels &found = kernels(level), &plain = kernels(Level::portable);
    const auto narrow = [&](const Model<float>& model) {
        return same(everything(found.narrow, model), everything(plain.narrow, model)) &&
               (needs_all(model, false) || model.neuron == kIntegrator ||
                same(layer(found, model), layer(plain, model)));
    };
    const auto wide = [&](const Model<double>& model) {
        return same(everything(found.wide, model), everything(plain.wide, model));
    };
    return of_every_model<float>(narrow) && of_every_model<double>(wide);
}

Family family("spiking", check);

}  // namespace

const SpikingKernels& spiking::chosen_kernels() { return kernels(family.level()); }

namespace {

template <class R>
void spiking_forward(Tensor<const R> x, Tensor<R> out, Index steps, nb::tuple codes, Maybe<const R> beta,
                     Maybe<const R> second, Maybe<const R> theta, Maybe<const R> v0, Maybe<const R> s0,
                     Maybe<const R> w0, Maybe<R> v1, Maybe<R> s1, Maybe<R> w1, int threads) {
    const Index count = count_of(out.size(), steps);
    const Forward<R> call{steps,
                          count,
                          model_of(codes, beta, second, theta, count),
                          rows_of(x, steps, count),
                          state_of(v0, s0, w0, count),
                          {out.data(), count},
                          state_of(v1, s1, w1, count),
                          steps * count > kStreamed};
    const Passes<R>& passes = passes_of<R>(chosen_kernels());
    nb::gil_scoped_release released;
    expect_pages(out.data(), steps * count);
    run_forward(passes, call, threads);
}

template <class R>
void spiking_backward(Tensor<const R> x, Tensor<const R> g_out, Index steps, nb::tuple codes, Maybe<const R> beta,
                      Maybe<const R> second, Maybe<const R> theta, Maybe<const R> v0, Maybe<const R> s0,
                      Maybe<const R> w0, Maybe<const R> g_v1, Maybe<const R> g_s1, Maybe<const R> g_w1, Tensor<R> g_x,
                      Maybe<R> g_v0, Maybe<R> g_s0, Maybe<R> g_w0, Maybe<R> g_beta, Maybe<R> g_second, Maybe<R> g_theta,
                      int threads) {
    const Index count = count_of(g_out.size(), steps);
    const Model<R> model = model_of(codes, beta, second, theta, count);
    const Forward<R> forward{steps,        count, model, rows_of(x, steps, count), state_of(v0, s0, w0, count),
                             {nullptr, 0}, {}};
    require(g_x.size() == x.size(), "g_x: the size of x");
    constexpr const char* each = "gradients of constants: one number for each neuron";
    const Backward<R> call{steps,
                           count,
                           model,
                           needs_all(model, g_beta || g_second || g_theta),
                           {g_out.data(), count},
                           state_of(g_v1, g_s1, g_w1, count),
                           rows_of(g_x, steps, count),
                           state_of(g_v0, g_s0, g_w0, count),
                           data_of(g_beta, count, each),
                           data_of(g_second, count, each),
                           data_of(g_theta, count, each),
                           nullptr};
    const Passes<R>& passes = passes_of<R>(chosen_kernels());
    nb::gil_scoped_release released;
    expect_pages(g_x.data(), static_cast<Index>(g_x.size()));
    run_backward(passes, forward, call, threads);
}

// Planes [steps, count] of what the way back needs, for neurons that hear each other: there it goes step by step.
template <class R>
void spiking_keep(Tensor<const R> x, Index steps, nb::tuple codes, Maybe<const R> beta, Maybe<const R> second,
                  Maybe<const R> theta, Maybe<const R> v0, Maybe<const R> s0, Maybe<const R> w0, Tensor<R> slope,
                  Maybe<R> p, Maybe<R> q, Maybe<R> c, Maybe<R> w, int threads) {
    const Index count = count_of(x.size(), steps), all = steps * count;
    const Forward<R> call{steps,
                          count,
                          model_of(codes, beta, second, theta, count),
                          {x.data(), count},
                          state_of(v0, s0, w0, count),
                          {nullptr, 0},
                          {}};
    require(static_cast<Index>(slope.size()) == all, "slope: the size of x");
    constexpr const char* expected = "planes: the size of x";
    const Kept<R> kept{slope.data(),
                       data_of(p, all, expected),
                       data_of(q, all, expected),
                       data_of(c, all, expected),
                       data_of(w, all, expected),
                       count};
    const bool more = kept.p != nullptr;
    require(more == (kept.q && kept.c && kept.w) && (more || !needs_all(call.model, false)),
            "planes: all that is needed");
    const Passes<R>& passes = passes_of<R>(chosen_kernels());
    nb::gil_scoped_release released;
    over_blocks(count, steps, block_width<R>(count, kScratchRows, kForwardBytes, threads), threads,
                [&](Index begin, Index size) {
                    const Scratch<R> scratch(kScratchRows * stride(size));
                    const auto moved = [begin](R* plane) { return plane == nullptr ? nullptr : plane + begin; };
                    const Kept<R> here{moved(kept.slope), moved(kept.p), moved(kept.q),
                                       moved(kept.c),     moved(kept.w), count};
                    passes.keep(call, more, begin, size, here, scratch.start());
                });
}

// One step back: gradients of the state after it are replaced by those of the state before it.
template <class R>
void spiking_reverse(Tensor<const R> g_out, Index step, Index steps, nb::tuple codes, Maybe<const R> beta,
                     Maybe<const R> second, Maybe<const R> theta, Tensor<R> slope, Maybe<R> p, Maybe<R> q, Maybe<R> c,
                     Maybe<R> w, Tensor<R> g_v, Tensor<R> g_s, Tensor<R> g_w, Tensor<R> g_x, Maybe<R> g_beta,
                     Maybe<R> g_second, Maybe<R> g_theta, int threads) {
    const Index count = static_cast<Index>(g_out.size()), all = steps * count;
    require(0 <= step && step < steps, "a step of the planes");
    require(static_cast<Index>(slope.size()) == all && static_cast<Index>(g_x.size()) == all,
            "slope and g_x: [steps, neurons]");
    const State<R> state = state_of<R>(g_v, g_s, g_w, count);
    constexpr const char *expected = "planes: [steps, neurons]", *each = "gradients of constants: one for each neuron";
    const Model<R> model = model_of(codes, beta, second, theta, count);
    const bool constants = g_beta || g_second || g_theta;
    const Backward<R> call{1,
                           count,
                           model,
                           needs_all(model, constants),
                           {g_out.data(), count},
                           {state.v, state.s, state.w},
                           {g_x.data() + step * count, count},
                           state,
                           data_of(g_beta, count, each),
                           data_of(g_second, count, each),
                           data_of(g_theta, count, each),
                           nullptr};
    const Kept<R> kept{slope.data(),
                       data_of(p, all, expected),
                       data_of(q, all, expected),
                       data_of(c, all, expected),
                       data_of(w, all, expected),
                       count};
    require(!call.all || (kept.p && kept.q && kept.c && kept.w), "planes: all that is needed");
    const Passes<R>& passes = passes_of<R>(chosen_kernels());
    nb::gil_scoped_release released;
    over_blocks(
        count, 1, block_width<R>(count, kScratchRows, kForwardBytes, threads), threads, [&](Index begin, Index size) {
            const Scratch<R> scratch(kScratchRows * stride(size));
            const Index shift = step * count + begin;
            const auto moved = [shift](R* plane) { return plane == nullptr ? nullptr : plane + shift; };
            const Kept<R> here{moved(kept.slope), moved(kept.p), moved(kept.q), moved(kept.c), moved(kept.w), count};
            passes.reverse(call, begin, size, here, scratch.start());
        });
}

template <class R>
void bind(nb::module_& module, const char* suffix) {
    const auto named = [suffix](const char* stem) { return std::string(stem) + suffix; };
    const nb::arg x("x"), steps("steps"), codes("codes"), threads("threads"), out("out"), g_out("g_out"), g_x("g_x");
    const auto maybe = [](const char* name) { return nb::arg(name).none(); };
    module.def(named("spiking_forward").c_str(), spiking_forward<R>, x, out, steps, codes, maybe("beta"),
               maybe("second"), maybe("theta"), maybe("v0"), maybe("s0"), maybe("w0"), maybe("v1"), maybe("s1"),
               maybe("w1"), threads, "All steps: x [steps, n] or [n] to out [steps, n] and the last state.");
    module.def(named("spiking_backward").c_str(), spiking_backward<R>, x, g_out, steps, codes, maybe("beta"),
               maybe("second"), maybe("theta"), maybe("v0"), maybe("s0"), maybe("w0"), maybe("g_v1"), maybe("g_s1"),
               maybe("g_w1"), g_x, maybe("g_v0"), maybe("g_s0"), maybe("g_w0"), maybe("g_beta"), maybe("g_second"),
               maybe("g_theta"), threads, "Gradients of spiking_forward; those of constants are added to.");
    module.def(named("spiking_keep").c_str(), spiking_keep<R>, x, steps, codes, maybe("beta"), maybe("second"),
               maybe("theta"), maybe("v0"), maybe("s0"), maybe("w0"), nb::arg("slope"), maybe("p"), maybe("q"),
               maybe("c"), maybe("w"), threads, "What spiking_reverse needs of every step, [steps, n] each.");
    module.def(named("spiking_reverse").c_str(), spiking_reverse<R>, g_out, nb::arg("step"), steps, codes,
               maybe("beta"), maybe("second"), maybe("theta"), nb::arg("slope"), maybe("p"), maybe("q"), maybe("c"),
               maybe("w"), nb::arg("g_v"), nb::arg("g_s"), nb::arg("g_w"), g_x, maybe("g_beta"), maybe("g_second"),
               maybe("g_theta"), threads, "One step back through what spiking_keep kept.");
}

}  // namespace

void bind_spiking(nb::module_& module) {
    bind<float>(module, "_f32");
    bind<double>(module, "_f64");
    bind_spiking_layer(module);
}

}  // namespace bitprop

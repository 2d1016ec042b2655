// Expected overlaps from Python: checks, threads.
#include "overlap.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <vector>

#include "bindings.h"
#include "levels.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

const OverlapKernels<float>& kernels(Level level, float) { return BITPROP_CHOOSE(level, overlap_kernels).single; }
const OverlapKernels<double>& kernels(Level level, double) { return BITPROP_CHOOSE(level, overlap_kernels).twice; }

template <class R>
bool check_type(Level level) {
    constexpr std::size_t samples = 2, outputs = 3, inputs = 37;
    std::vector<R> sides[4];
    std::uint64_t state = 5;
    for (std::size_t side = 0; side < 4; ++side) {
        sides[side].resize((side < 2 ? samples : outputs) * inputs);
        for (R& value : sides[side]) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            // few different ones, so that some are equal
            value = side % 2 ? (state >> 63 ? R(1) : R(-1)) : static_cast<R>((state >> 40) % 9) / R(8);
        }
    }
    const R grad[samples * outputs] = {R(0.3), R(-1.1), R(0.7), R(2), R(0.1), R(-0.9)};
    for (const bool positive : {false, true}) {
        const OverlapView<R> view{sides[0].data(), sides[1].data(), sides[2].data(), sides[3].data(),
                                  samples,         outputs,         inputs,          positive};
        std::vector<R> found[2];
        for (int which = 0; which < 2; ++which) {
            const OverlapKernels<R>& chosen = kernels(which == 0 ? Level::portable : level, R());
            found[which].resize(outputs + 2 * inputs);
            chosen.sums(view, 1, found[which].data());
            chosen.back_x(view, grad, 1, found[which].data() + outputs);
            chosen.back_w(view, grad, 2, found[which].data() + outputs + inputs);
        }
        if (found[0] != found[1]) return false;
    }
    return true;
}

bool check(Level level) { return check_type<float>(level) && check_type<double>(level); }

Family family("overlap", check);

template <class R>
OverlapView<R> view_of(const Reals<R>& p_x, const Reals<R>& s_x, const Reals<R>& p_w, const Reals<R>& s_w,
                       bool positive) {
    const std::size_t samples = p_x.shape(0), outputs = p_w.shape(0), inputs = p_x.shape(1);
    require(p_w.shape(1) == inputs, "p_x, p_w: [B, I], [O, I]");
    require(s_x.shape(0) == samples && s_x.shape(1) == inputs, "s_x: as p_x");
    require(s_w.shape(0) == outputs && s_w.shape(1) == inputs, "s_w: as p_w");
    return {p_x.data(), s_x.data(), p_w.data(), s_w.data(), samples, outputs, inputs, positive};
}

template <class R>
void overlap(Reals<R> p_x, Reals<R> s_x, Reals<R> p_w, Reals<R> s_w, bool positive, Result<R> out, int threads) {
    const OverlapView<R> view = view_of(p_x, s_x, p_w, s_w, positive);
    require(out.shape(0) == view.samples && out.shape(1) == view.outputs, "out: [B, O]");
    const OverlapKernels<R>& chosen = kernels(family.level(), R());
    nb::gil_scoped_release released;
    auto body = [&](long task) {
        const std::size_t sample = static_cast<std::size_t>(task);
        chosen.sums(view, sample, out.data() + sample * view.outputs);
    };
    parallel_for(threads, static_cast<long>(view.samples), body);
}

template <class R>
void overlap_back(Reals<R> grad, Reals<R> p_x, Reals<R> s_x, Reals<R> p_w, Reals<R> s_w, bool positive,
                  Result<R> grad_x, Result<R> grad_w, int threads) {
    const OverlapView<R> view = view_of(p_x, s_x, p_w, s_w, positive);
    require(grad.shape(0) == view.samples && grad.shape(1) == view.outputs, "grad: [B, O]");
    require(grad_x.shape(0) == view.samples && grad_x.shape(1) == view.inputs, "grad_x: [B, I]");
    require(grad_w.shape(0) == view.outputs && grad_w.shape(1) == view.inputs, "grad_w: [O, I]");
    const OverlapKernels<R>& chosen = kernels(family.level(), R());
    nb::gil_scoped_release released;
    auto body = [&](long task) {
        std::size_t line = static_cast<std::size_t>(task);
        if (line < view.samples) {
            chosen.back_x(view, grad.data(), line, grad_x.data() + line * view.inputs);
        } else {
            line -= view.samples;
            chosen.back_w(view, grad.data(), line, grad_w.data() + line * view.inputs);
        }
    };
    parallel_for(threads, static_cast<long>(view.samples + view.outputs), body);
}

}  // namespace

void bind_overlap(nb::module_& module) {
    module.def("overlap", overlap<float>, "Expected overlaps of fully correlated streams, [B, O].");
    module.def("overlap", overlap<double>);
    module.def("overlap_back", overlap_back<float>, "Their gradients in both sides' probabilities.");
    module.def("overlap_back", overlap_back<double>);
}

}  // namespace bitprop

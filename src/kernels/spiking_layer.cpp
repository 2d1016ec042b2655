// Spiking layers from Python: memory for results, and calls that a layer makes with currents of its own.
#include <nanobind/stl/vector.h>

#include "spiking_blocks.h"

namespace bitprop {
namespace {

using namespace spiking;

// --- memory for results ----------------------------------------------------------------------------------------------

// A tensor whose memory comes from the store and goes back to it.
template <class R>
nb::ndarray<R> spiking_room(std::vector<std::size_t> shape) {
    std::size_t bytes = sizeof(R);
    for (const std::size_t side : shape) bytes *= side;
    require(bytes > 0, "a shape without zeros");
    auto* const room = new Room<R>(static_cast<Index>(bytes / sizeof(R)));
    const nb::capsule owner(room, [](void* given) noexcept { delete static_cast<Room<R>*>(given); });
    return nb::ndarray<R>(room->start(), shape.size(), shape.data(), owner);
}

// --- a layer's own currents ------------------------------------------------------------------------------------------

constexpr Index kRow = 1 << 10;  // neurons of a block: with their state in the first cache

Index row_width(Index count, int threads) {
    return padded(std::min(kRow, std::max<Index>((count + threads - 1) / threads, 1)));
}

// All steps forward. `current` is overwritten by the surrogate's slopes: with them alone the way back is found.
void spiking_fire(Tensor<float> current, Tensor<float> out, Index steps, nb::tuple codes, Maybe<const float> beta,
                  Maybe<const float> second, Maybe<const float> theta, int threads) {
    const Index count = count_of(out.size(), steps);
    require(current.size() == out.size(), "current: the size of out");
    const Forward<float> call{steps,
                              count,
                              model_of(codes, beta, second, theta, count),
                              {current.data(), count},
                              {},
                              {out.data(), count},
                              {},
                              steps * count > kStreamed};
    require(call.model.neuron != kIntegrator && !needs_all(call.model, false),
            "model: a neuron that fires, and no hard reset");
    const SpikingKernels& found = chosen_kernels();
    nb::gil_scoped_release released;
    expect_pages(out.data(), steps * count);
    over_blocks(count, steps, row_width(count, threads), threads, [&](Index begin, Index size) {
        const Scratch<float> scratch(kScratchRows * stride(size));
        found.fire(call, {current.data(), count}, begin, size, scratch.start());
    });
}

// All steps back through the slopes of spiking_fire, which g_x may replace; an integrator has none.
void spiking_pull(Tensor<const float> g_out, Maybe<const float> slope, Index steps, nb::tuple codes,
                  Maybe<const float> beta, Maybe<const float> second, Maybe<const float> theta, Tensor<float> g_x,
                  Maybe<float> g_sum, int threads) {
    const Index count = count_of(g_out.size(), steps);
    require(g_x.size() == g_out.size(), "g_x: the size of g_out");
    const Backward<float> call{steps,
                               count,
                               model_of(codes, beta, second, theta, count),
                               false,
                               {g_out.data(), count},
                               {},
                               {g_x.data(), count},
                               {},
                               nullptr,
                               nullptr,
                               nullptr,
                               data_of(g_sum, count, "g_sum: one number for each neuron")};
    const float* slopes = data_of(slope, steps * count, "slope: the size of g_out");
    require(!needs_all(call.model, false) && (slopes != nullptr) == (call.model.neuron != kIntegrator),
            "slope: of a neuron that fires, without a hard reset");
    const SpikingKernels& found = chosen_kernels();
    nb::gil_scoped_release released;
    expect_pages(g_x.data(), steps * count);
    over_blocks(count, steps, row_width(count, threads), threads, [&](Index begin, Index size) {
        const Scratch<float> scratch(kScratchRows * stride(size));
        float* from = slopes == nullptr ? nullptr : const_cast<float*>(slopes) + begin;
        found.narrow.reverse(call, begin, size, {from, nullptr, nullptr, nullptr, nullptr, count}, scratch.start());
    });
}

}  // namespace

void bind_spiking_layer(nb::module_& module) {
    const auto maybe = [](const char* name) { return nb::arg(name).none(); };
    const nb::arg shape("shape"), steps("steps"), codes("codes"), threads("threads");
    module.def("spiking_room_f32", spiking_room<float>, shape, "Memory for a result.");
    module.def("spiking_room_f64", spiking_room<double>, shape, "Memory for a result.");
    module.def("spiking_fire", spiking_fire, nb::arg("current"), nb::arg("out"), steps, codes, maybe("beta"),
               maybe("second"), maybe("theta"), threads,
               "All steps: spikes of currents [steps, n], which the surrogate's slopes replace.");
    module.def("spiking_pull", spiking_pull, nb::arg("g_out"), maybe("slope"), steps, codes, maybe("beta"),
               maybe("second"), maybe("theta"), nb::arg("g_x"), maybe("g_sum"), threads,
               "Gradients by currents, and their sum over the steps; they may replace the slopes.");
}

}  // namespace bitprop

// The extension module bitprop._kernels: levels, families, threads; the kernels themselves bind in their own files.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>

#include "bindings.h"
#include "dispatch.h"
#include "pool.h"

namespace nb = nanobind;

namespace bitprop {
namespace {

Level level_named(const std::string& name) {
    for (int number = 0; number < BITPROP_LEVEL_COUNT; ++number) {
        if (name == name_of(static_cast<Level>(number))) return static_cast<Level>(number);
    }
    throw std::invalid_argument("no such level: " + name);
}

Family& family_named(const std::string& name) {
    for (Family* family : Family::all()) {
        if (name == family->name()) return *family;
    }
    throw std::invalid_argument("no such family: " + name);
}

std::vector<std::string> names(const std::vector<Level>& levels) {
    std::vector<std::string> found;
    for (Level level : levels) found.emplace_back(name_of(level));
    return found;
}

nb::dict families() {
    nb::dict found;
    for (Family* family : Family::all()) found[family->name()] = name_of(family->level());
    return found;
}

// Runs `tasks` tasks and returns how often each ran: 1 everywhere, whatever the threads.
std::vector<int> exercise_pool(int threads, int tasks) {
    std::vector<std::atomic<int>> ran(static_cast<std::size_t>(tasks));
    auto body = [&](long task) {
        ran[static_cast<std::size_t>(task)].fetch_add(1);
        auto nothing = [](long) {};
        parallel_for(threads, 2, nothing);  // nested calls must run, not wait for ever
    };
    {
        nb::gil_scoped_release released;
        parallel_for(threads, tasks, body);
    }
    return std::vector<int>(ran.begin(), ran.end());
}

}  // namespace
}  // namespace bitprop

NB_MODULE(_kernels, module) {
    using namespace bitprop;
    // Python keeps tables until the process ends, and they are freed with it
    nb::set_leak_warnings(false);
    module.attr("SOURCES") = BITPROP_SOURCES;
    module.def("supported_levels", [] { return names(supported_levels()); }, "Levels this machine can run.");
    module.def("limit", [] { return std::string(name_of(limit())); }, "The highest level in use.");
    module.def("set_limit", [](const std::string& name) { set_limit(level_named(name)); }, nb::arg("level"));
    module.def("families", families, "The level that each family of kernels uses now.");
    module.def(
        "agrees",
        [](const std::string& family, const std::string& level) {
            return family_named(family).agrees(level_named(level));
        },
        nb::arg("family"), nb::arg("level"), "Whether a level passes the family's check on this machine.");
    module.def(
        "plant_failure",
        [](const std::string& family, const std::string& level) {
            family_named(family).plant_failure(level.empty() ? -1 : static_cast<int>(level_named(level)));
        },
        nb::arg("family"), nb::arg("level"), "Makes the check of one level fail, or of none (''); for tests.");
    module.def("exercise_pool", exercise_pool, nb::arg("threads"), nb::arg("tasks"), "How often each task ran.");
    bind_overlap(module);
    bind_packed(module);
    bind_slope(module);
    bind_sparse(module);
    bind_spiking(module);
    bind_table(module);
    bind_mixture(module);  // takes tables
}

#include "dispatch.h"

#include <stdexcept>

namespace bitprop {
namespace {

constexpr Level kLevels[] = {Level::portable, Level::avx2, Level::avx512, Level::avx512vbmi};

bool cpu_has(Level level) {
#if defined(__x86_64__)
    // libgcc's and compiler-rt's tables also ask the operating system (XGETBV) whether it saves the wide registers
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                      __builtin_cpu_supports("popcnt");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512cd");
    const bool vbmi = avx512 && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
                      __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bitalg");
    const bool has[] = {true, avx2, avx512, vbmi};
    return has[static_cast<int>(level)];
#else
    return level == Level::portable;
#endif
}

Level best() { return supported_levels().back(); }

std::atomic<int>& limit_cell() {
    static std::atomic<int> cell{static_cast<int>(best())};
    return cell;
}

std::vector<Family*>& registry() {
    static std::vector<Family*> families;
    return families;
}

}  // namespace

const char* name_of(Level level) {
    constexpr const char* names[] = {"portable", "avx2", "avx512", "avx512vbmi"};
    return names[static_cast<int>(level)];
}

bool is_compiled(Level level) { return static_cast<int>(level) < BITPROP_LEVEL_COUNT; }

bool is_supported(Level level) { return is_compiled(level) && cpu_has(level); }

std::vector<Level> supported_levels() {
    std::vector<Level> found;
    for (Level level : kLevels) {
        if (is_supported(level)) found.push_back(level);
    }
    return found;
}

Level limit() { return static_cast<Level>(limit_cell().load(std::memory_order_relaxed)); }

void set_limit(Level level) {
    if (!is_supported(level)) throw std::invalid_argument(std::string("this machine cannot run ") + name_of(level));
    limit_cell().store(static_cast<int>(level));
}

Family::Family(const char* name, Check check) : name_(name), check_(check) {
    for (auto& known : known_) known.store(0);
    registry().push_back(this);
}

bool Family::agrees(Level level) {
    if (level == Level::portable) return true;
    std::atomic<int>& known = known_[static_cast<int>(level)];
    int state = known.load(std::memory_order_acquire);
    if (state == 0) {
        state = static_cast<int>(level) != planted_.load() && check_(level) ? 1 : 2;
        known.store(state, std::memory_order_release);
    }
    return state == 1;
}

Level Family::level() {
    for (int candidate = static_cast<int>(limit()); candidate > 0; --candidate) {
        const Level level = static_cast<Level>(candidate);
        if (is_supported(level) && agrees(level)) return level;
    }
    return Level::portable;
}

void Family::plant_failure(int level) {
    planted_.store(level);
    for (auto& known : known_) known.store(0);
}

const std::vector<Family*>& Family::all() { return registry(); }

}  // namespace bitprop

// Levels of instruction sets: which were compiled, which this CPU has, and which one a family of kernels uses.
#pragma once

#include <atomic>
#include <string>
#include <vector>

namespace bitprop {

// In the order of preference; the numbers are BITPROP_LEVEL_NUMBER of CMakeLists.txt.
enum class Level : int { portable = 0, avx2 = 1, avx512 = 2, avx512vbmi = 3 };

const char* name_of(Level level);
bool is_compiled(Level level);
// Compiled, and this CPU and its operating system can run it.
bool is_supported(Level level);
std::vector<Level> supported_levels();

// No family goes above this level; the best supported one unless set_limit said otherwise.
Level limit();
void set_limit(Level level);

// One family of kernels. Its check runs a level's kernels on small data and compares them with the portable ones; it
// runs once per level, before the level is first used, and a level that disagrees is never used.
class Family {
  public:
    using Check = bool (*)(Level);
    Family(const char* name, Check check);

    const char* name() const { return name_; }
    // The best level at or below the limit whose check passed.
    Level level();
    // Whether a supported level agrees with the portable one (computed on first demand).
    bool agrees(Level level);
    // Forgets what is known and makes the check of one level fail, or of none (-1): for tests of the fall-back.
    void plant_failure(int level);

    static const std::vector<Family*>& all();

  private:
    const char* name_;
    Check check_;
    std::atomic<int> planted_{-1};
    std::atomic<int> known_[4];  // 0 unknown, 1 agrees, 2 does not
};

}  // namespace bitprop

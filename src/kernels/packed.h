// Packed streams: 64 cycles a word. The interface between packed.cpp and the levels of packed_level.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitprop {

// What is counted of two rows of words: both one; different; both one, less 2 times those where the signs differ, which
// are words of ones (minus) or zeros.
enum class PackedProduct : int { both, different, both_signed };

struct PackedRow {
    const std::uint64_t* words;
    const std::uint64_t* signs;  // of both_signed only
};

struct PackedKernels {
    // Ones of each of `rows` rows of `words` words.
    void (*ones)(const std::uint64_t* data, std::size_t rows, std::size_t words, std::int64_t* counts);
    // The count of two rows.
    std::int64_t (*product)(PackedProduct product, const PackedRow& a, const PackedRow& b, std::size_t words);
    // Looks up that many vectors of bytes in tables of 16, and returns how many bytes: a probe of the machine's rate.
    std::int64_t (*shuffle)(std::int64_t vectors);
};

namespace portable {
extern const PackedKernels packed_kernels;
}
namespace avx2 {
extern const PackedKernels packed_kernels;
}
namespace avx512 {
extern const PackedKernels packed_kernels;
}
namespace avx512vbmi {
extern const PackedKernels packed_kernels;
}

}  // namespace bitprop

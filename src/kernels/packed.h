// Packed streams: 64 cycles a word. The interface between packed.cpp and the levels of packed_level.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitprop {

struct PackedKernels {
    // Ones of each of `rows` rows of `words` words.
    void (*ones)(const std::uint64_t* data, std::size_t rows, std::size_t words, std::int64_t* counts);
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

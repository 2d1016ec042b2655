// Counting the ones of packed streams and of their products, once per level.
#include "packed.h"

#if BITPROP_LEVEL_NUMBER > 0
#include "vectors.h"
#endif

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

// Words to count: of one row, or of a product of two.
struct Ones {
    const std::uint64_t* a;
    std::uint64_t word(std::size_t at) const { return a[at]; }
#if BITPROP_LEVEL_NUMBER > 0
    Bytes bytes(std::size_t at) const { return load(a + at); }
#endif
};

struct Both {
    const std::uint64_t* a;
    const std::uint64_t* b;
    std::uint64_t word(std::size_t at) const { return a[at] & b[at]; }
#if BITPROP_LEVEL_NUMBER > 0
    Bytes bytes(std::size_t at) const { return both(load(a + at), load(b + at)); }
#endif
};

struct Different {
    const std::uint64_t* a;
    const std::uint64_t* b;
    std::uint64_t word(std::size_t at) const { return a[at] ^ b[at]; }
#if BITPROP_LEVEL_NUMBER > 0
    Bytes bytes(std::size_t at) const { return differing(load(a + at), load(b + at)); }
#endif
};

// Both one, and the signs differ.
struct Subtracted {
    Both ones;
    Different signs;
    std::uint64_t word(std::size_t at) const { return ones.word(at) & signs.word(at); }
#if BITPROP_LEVEL_NUMBER > 0
    Bytes bytes(std::size_t at) const { return both(ones.bytes(at), signs.bytes(at)); }
#endif
};

template <class Source>
std::int64_t count(const Source& source, std::size_t words) {
    std::size_t at = 0;
    std::int64_t found = 0;
#if BITPROP_LEVEL_NUMBER > 0
    constexpr std::size_t step = kWidth / sizeof(std::uint64_t);
    Bytes sum = zero();
#if BITPROP_LEVEL_NUMBER < 3
    // carry-save addition leaves one count of ones for 8 vectors
    Bytes ones = zero(), twos = zero(), fours = zero();
    for (; at + 8 * step <= words; at += 8 * step) {
        Bytes two[2], four[2], eight;
        for (std::size_t half = 0; half < 2; ++half) {
            const std::size_t from = at + 4 * half * step;
            full_add(ones, two[0], source.bytes(from), source.bytes(from + step));
            full_add(ones, two[1], source.bytes(from + 2 * step), source.bytes(from + 3 * step));
            full_add(twos, four[half], two[0], two[1]);
        }
        full_add(fours, eight, four[0], four[1]);
        sum = add64(sum, ones_of_64(eight));
    }
    found =
        8 * total64(sum) + 4 * total64(ones_of_64(fours)) + 2 * total64(ones_of_64(twos)) + total64(ones_of_64(ones));
    sum = zero();
#endif
    for (; at + step <= words; at += step) sum = add64(sum, ones_of_64(source.bytes(at)));
    found += total64(sum);
#endif
    for (; at < words; ++at) found += __builtin_popcountll(source.word(at));
    return found;
}

void ones(const std::uint64_t* data, std::size_t rows, std::size_t words, std::int64_t* counts) {
    for (std::size_t row = 0; row < rows; ++row) counts[row] = count(Ones{data + row * words}, words);
}

std::int64_t product(PackedProduct product, const PackedRow& a, const PackedRow& b, std::size_t words) {
    if (product == PackedProduct::different) return count(Different{a.words, b.words}, words);
    const Both found{a.words, b.words};
    const std::int64_t all = count(found, words);
    if (product == PackedProduct::both) return all;
    return all - 2 * count(Subtracted{found, {a.signs, b.signs}}, words);
}

}  // namespace

extern const PackedKernels packed_kernels;
const PackedKernels packed_kernels = {ones, product};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop

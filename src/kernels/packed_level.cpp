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

#if BITPROP_LEVEL_NUMBER == 0
// in halves, quarters and so on: without an instruction the compiler calls a function for each word
inline std::int64_t ones_of_word(std::uint64_t v) {
    v -= (v >> 1) & 0x5555555555555555u;
    v = (v & 0x3333333333333333u) + ((v >> 2) & 0x3333333333333333u);
    v = (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
    return static_cast<std::int64_t>((v * 0x0101010101010101u) >> 56);
}
#else
inline std::int64_t ones_of_word(std::uint64_t v) { return __builtin_popcountll(v); }
#endif

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
    for (; at < words; ++at) found += ones_of_word(source.word(at));
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

#if BITPROP_LEVEL_NUMBER == 0
// without byte shuffles there is nothing to probe
std::int64_t shuffle(std::int64_t) { return 0; }
#else
std::int64_t shuffle(std::int64_t vectors) {
    constexpr std::int64_t together = 8;  // none of them waits for another
    alignas(64) std::uint8_t bytes[kWidth];
    for (std::size_t at = 0; at < kWidth; ++at) bytes[at] = static_cast<std::uint8_t>((5 * at + 3) % 16);
    const Bytes index = load(bytes);
    Bytes table[together];
    for (std::int64_t which = 0; which < together; ++which) table[which] = all(static_cast<std::uint8_t>(which));
    const std::int64_t rounds = vectors / together;
    for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
        for (std::int64_t which = 0; which < together; ++which) table[which] = look_up(table[which], index);
    }
    Bytes sum = zero();
    for (const Bytes& one : table) sum = add8(sum, one);
    // every table has one number in all places: the sum is 0 + 1 + .. + 7 in each
    const bool right = total64(sums_of_8(sum)) == static_cast<std::int64_t>(28 * kWidth);
    return right ? rounds * together * static_cast<std::int64_t>(kWidth) : 0;
}
#endif

}  // namespace

extern const PackedKernels packed_kernels;
const PackedKernels packed_kernels = {ones, product, shuffle};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop

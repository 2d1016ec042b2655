// Bytes in vectors, the same names for every level that has them. Only for *_level.cpp files.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

#if BITPROP_LEVEL_NUMBER >= 2

using Bytes = __m512i;
constexpr std::size_t kWidth = 64;

inline Bytes load(const void* at) { return _mm512_loadu_si512(at); }
inline void store(void* at, Bytes v) { _mm512_storeu_si512(at, v); }
inline void stream(void* at, Bytes v) { _mm512_stream_si512(static_cast<__m512i*>(at), v); }
inline Bytes zero() { return _mm512_setzero_si512(); }
inline Bytes all(std::uint8_t value) { return _mm512_set1_epi8(static_cast<char>(value)); }
inline Bytes both(Bytes a, Bytes b) { return _mm512_and_si512(a, b); }
inline Bytes masked_and_flipped(Bytes v, Bytes mask, Bytes flip) {
    return _mm512_ternarylogic_epi64(v, mask, flip, 0x6A);
}
inline Bytes add8(Bytes a, Bytes b) { return _mm512_add_epi8(a, b); }
inline Bytes add16(Bytes a, Bytes b) { return _mm512_add_epi16(a, b); }
inline Bytes sub16(Bytes a, Bytes b) { return _mm512_sub_epi16(a, b); }
inline Bytes add64(Bytes a, Bytes b) { return _mm512_add_epi64(a, b); }
inline Bytes differing(Bytes a, Bytes b) { return _mm512_xor_si512(a, b); }
inline Bytes sums_of_8(Bytes v) { return _mm512_sad_epu8(v, _mm512_setzero_si512()); }
inline std::int64_t total64(Bytes v) { return _mm512_reduce_add_epi64(v); }
inline Bytes high_of_16(Bytes a) { return _mm512_srli_epi16(a, 8); }
inline Bytes low_of_16(Bytes a) { return _mm512_and_si512(a, _mm512_set1_epi16(255)); }
template <int Bits>
inline Bytes times_power(Bytes a) {
    return _mm512_slli_epi16(a, Bits);
}
inline Bytes high_nibbles(Bytes a) { return both(_mm512_srli_epi16(a, 4), all(15)); }
// 16 entries, the same for every 16 lanes
inline Bytes load16(const std::uint8_t* at) {
    return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}
inline Bytes load8(const std::uint64_t* at) { return _mm512_set1_epi64(static_cast<long long>(*at)); }
inline Bytes look_up(Bytes table, Bytes index) { return _mm512_shuffle_epi8(table, index); }
// Lanes of the upper 16 entries, ready in memory.
using Upper = __mmask64;
inline Upper upper_half(const std::uint8_t* word, Bytes) {
    return _load_mask64(reinterpret_cast<__mmask64*>(const_cast<std::uint8_t*>(word)));
}
inline void store_upper_half(std::uint8_t* word, Bytes index) {
    _store_mask64(reinterpret_cast<__mmask64*>(word), _mm512_test_epi8_mask(index, all(16)));
}
template <int Bit>
inline Upper lanes_with(Bytes v) {
    return _mm512_test_epi8_mask(v, all(1u << Bit));
}
inline Bytes choose(Upper upper, Bytes low, Bytes high) { return _mm512_mask_blend_epi8(upper, low, high); }
inline Bytes look_up_two(Bytes low, Bytes high, Bytes index, Upper upper) {
    return _mm512_mask_shuffle_epi8(_mm512_shuffle_epi8(low, index), upper, high, index);
}
// `v`, and `there` in the lanes whose bit is set
inline Bytes with_bits(Bytes v, const std::uint8_t* bits, Bytes there) {
    return _mm512_mask_mov_epi8(v, _load_mask64(reinterpret_cast<__mmask64*>(const_cast<std::uint8_t*>(bits))), there);
}
inline void full_add(Bytes& sum, Bytes& carry, Bytes a, Bytes b) {
    sum = _mm512_ternarylogic_epi64(sum, a, b, 0x96);
    // from the new sum, so that no register is copied: a where a and b are the same, else the old sum, which is not it
    carry = _mm512_ternarylogic_epi64(a, b, sum, 0xD4);
}
// 16-bit sums of the even and of the odd lanes, less a bias, added to 32-bit ones in the order of `place`
inline void add_wide(std::int32_t* total, Bytes even, Bytes odd, std::int32_t bias) {
    const __m256i parts[] = {_mm512_castsi512_si256(even), _mm512_extracti64x4_epi64(even, 1),
                             _mm512_castsi512_si256(odd), _mm512_extracti64x4_epi64(odd, 1)};
    for (int part = 0; part < 4; ++part) {
        std::int32_t* at = total + 16 * part;
        const Bytes sum = _mm512_add_epi32(load(at), _mm512_cvtepu16_epi32(parts[part]));
        store(at, _mm512_sub_epi32(sum, _mm512_set1_epi32(bias)));
    }
}

#else

using Bytes = __m256i;
constexpr std::size_t kWidth = 32;

inline Bytes load(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }
inline void store(void* at, Bytes v) { _mm256_storeu_si256(static_cast<__m256i*>(at), v); }
inline void stream(void* at, Bytes v) { _mm256_stream_si256(static_cast<__m256i*>(at), v); }
inline Bytes zero() { return _mm256_setzero_si256(); }
inline Bytes all(std::uint8_t value) { return _mm256_set1_epi8(static_cast<char>(value)); }
inline Bytes both(Bytes a, Bytes b) { return _mm256_and_si256(a, b); }
inline Bytes masked_and_flipped(Bytes v, Bytes mask, Bytes flip) { return _mm256_xor_si256(both(v, mask), flip); }
inline Bytes add8(Bytes a, Bytes b) { return _mm256_add_epi8(a, b); }
inline Bytes add16(Bytes a, Bytes b) { return _mm256_add_epi16(a, b); }
inline Bytes sub16(Bytes a, Bytes b) { return _mm256_sub_epi16(a, b); }
inline Bytes add64(Bytes a, Bytes b) { return _mm256_add_epi64(a, b); }
inline Bytes differing(Bytes a, Bytes b) { return _mm256_xor_si256(a, b); }
inline Bytes sums_of_8(Bytes v) { return _mm256_sad_epu8(v, _mm256_setzero_si256()); }
inline std::int64_t total64(Bytes v) {
    const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1);
}
inline Bytes high_of_16(Bytes a) { return _mm256_srli_epi16(a, 8); }
inline Bytes low_of_16(Bytes a) { return _mm256_and_si256(a, _mm256_set1_epi16(255)); }
template <int Bits>
inline Bytes times_power(Bytes a) {
    return _mm256_slli_epi16(a, Bits);
}
inline Bytes high_nibbles(Bytes a) { return both(_mm256_srli_epi16(a, 4), all(15)); }
inline Bytes load16(const std::uint8_t* at) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)));
}
inline Bytes load8(const std::uint64_t* at) { return _mm256_set1_epi64x(static_cast<long long>(*at)); }
inline Bytes look_up(Bytes table, Bytes index) { return _mm256_shuffle_epi8(table, index); }
// The upper bit of each byte says which.
using Upper = __m256i;
template <int Bit>
inline Upper lanes_with(Bytes v) {
    return _mm256_slli_epi16(v, 7 - Bit);
}
inline Bytes choose(Upper upper, Bytes low, Bytes high) { return _mm256_blendv_epi8(low, high, upper); }
inline Upper upper_half(const std::uint8_t*, Bytes index) { return lanes_with<4>(index); }
inline Bytes look_up_two(Bytes low, Bytes high, Bytes index, Upper upper) {
    return choose(upper, look_up(low, index), look_up(high, index));
}
inline Bytes with_bits(Bytes v, const std::uint8_t* bits, Bytes there) {
    const Bytes word = _mm256_set1_epi32(*reinterpret_cast<const int*>(bits));
    const Bytes own_byte =
        _mm256_shuffle_epi8(word, _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
    const Bytes own_bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
    return _mm256_blendv_epi8(v, there, _mm256_cmpeq_epi8(both(own_byte, own_bit), own_bit));
}
inline void full_add(Bytes& sum, Bytes& carry, Bytes a, Bytes b) {
    const Bytes half = _mm256_xor_si256(a, b);
    carry = _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(half, sum));
    sum = _mm256_xor_si256(half, sum);
}
inline void add_wide(std::int32_t* total, Bytes even, Bytes odd, std::int32_t bias) {
    const __m128i parts[] = {_mm256_castsi256_si128(even), _mm256_extracti128_si256(even, 1),
                             _mm256_castsi256_si128(odd), _mm256_extracti128_si256(odd, 1)};
    for (int part = 0; part < 4; ++part) {
        std::int32_t* at = total + 8 * part;
        const Bytes sum = _mm256_add_epi32(load(at), _mm256_cvtepu16_epi32(parts[part]));
        store(at, _mm256_sub_epi32(sum, _mm256_set1_epi32(bias)));
    }
}

#endif

// Where add_wide puts a lane.
constexpr std::size_t place(std::size_t lane) {
    return lane / kWidth * kWidth + (lane % 2) * (kWidth / 2) + lane % kWidth / 2;
}

// Ones of each byte.
inline Bytes ones_of(Bytes v) {
#if BITPROP_LEVEL_NUMBER >= 3
    return _mm512_popcnt_epi8(v);
#else
    alignas(16) constexpr std::uint8_t ones[16] = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4};
    const Bytes table = load16(ones);
    return add8(look_up(table, both(v, all(15))), look_up(table, high_nibbles(v)));
#endif
}

// Ones of each 64 bits.
inline Bytes ones_of_64(Bytes v) {
#if BITPROP_LEVEL_NUMBER >= 3
    return _mm512_popcnt_epi64(v);
#else
    return sums_of_8(ones_of(v));
#endif
}

}  // namespace
}  // namespace BITPROP_LEVEL
}  // namespace bitprop

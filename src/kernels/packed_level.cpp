// Counting the ones of packed streams, once per level.
#include "packed.h"

#if BITPROP_LEVEL_NUMBER > 0
#include <immintrin.h>
#endif

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

#if BITPROP_LEVEL_NUMBER >= 2
using Vector = __m512i;
Vector load(const std::uint64_t* words) { return _mm512_loadu_si512(words); }
Vector zero() { return _mm512_setzero_si512(); }
Vector add(Vector a, Vector b) { return _mm512_add_epi64(a, b); }
std::int64_t total(Vector v) { return _mm512_reduce_add_epi64(v); }
#if BITPROP_LEVEL_NUMBER >= 3
Vector ones_of(Vector v) { return _mm512_popcnt_epi64(v); }
#else
Vector ones_of(Vector v) {
    const Vector table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const Vector low = _mm512_set1_epi8(15);
    const Vector a = _mm512_shuffle_epi8(table, _mm512_and_si512(v, low));
    const Vector b = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(v, 4), low));
    return _mm512_sad_epu8(_mm512_add_epi8(a, b), _mm512_setzero_si512());
}
#endif
#elif BITPROP_LEVEL_NUMBER == 1
using Vector = __m256i;
Vector load(const std::uint64_t* words) { return _mm256_loadu_si256(reinterpret_cast<const Vector*>(words)); }
Vector zero() { return _mm256_setzero_si256(); }
Vector add(Vector a, Vector b) { return _mm256_add_epi64(a, b); }
std::int64_t total(Vector v) {
    const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return _mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1);
}
Vector ones_of(Vector v) {
    const Vector table = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const Vector low = _mm256_set1_epi8(15);
    const Vector a = _mm256_shuffle_epi8(table, _mm256_and_si256(v, low));
    const Vector b = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(v, 4), low));
    return _mm256_sad_epu8(_mm256_add_epi8(a, b), _mm256_setzero_si256());
}
#endif

void ones(const std::uint64_t* data, std::size_t rows, std::size_t words, std::int64_t* counts) {
    for (std::size_t row = 0; row < rows; ++row, data += words) {
        std::size_t word = 0;
        std::int64_t count = 0;
#if BITPROP_LEVEL_NUMBER > 0
        constexpr std::size_t step = sizeof(Vector) / sizeof(std::uint64_t);
        if (words >= step) {
            Vector sum = zero();
            for (; word + step <= words; word += step) sum = add(sum, ones_of(load(data + word)));
            count = total(sum);
        }
#endif
        for (; word < words; ++word) count += __builtin_popcountll(data[word]);
        counts[row] = count;
    }
}

}  // namespace

extern const PackedKernels packed_kernels;
const PackedKernels packed_kernels = {ones};

}  // namespace BITPROP_LEVEL
}  // namespace bitprop

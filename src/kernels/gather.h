// out[j] = from[index[j]], for 64 lanes. Only for *_level.cpp files: compilers do not always use the instruction.
#pragma once

#include <cstddef>
#include <cstdint>

#if BITPROP_LEVEL_NUMBER > 0
#include <immintrin.h>
#endif

namespace bitprop {
namespace BITPROP_LEVEL {
namespace {

constexpr std::size_t kGathered = 64;

#if BITPROP_LEVEL_NUMBER >= 2

inline void gather(const float* from, const std::int32_t* index, float* out) {
    for (std::size_t j = 0; j < kGathered; j += 16) {
        _mm512_storeu_ps(out + j, _mm512_i32gather_ps(_mm512_loadu_si512(index + j), from, 4));
    }
}
inline void gather(const std::int32_t* from, const std::int32_t* index, std::int32_t* out) {
    for (std::size_t j = 0; j < kGathered; j += 16) {
        _mm512_storeu_si512(out + j, _mm512_i32gather_epi32(_mm512_loadu_si512(index + j), from, 4));
    }
}
inline void gather(const double* from, const std::int32_t* index, double* out) {
    for (std::size_t j = 0; j < kGathered; j += 8) {
        const __m256i eight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index + j));
        _mm512_storeu_pd(out + j, _mm512_i32gather_pd(eight, from, 8));
    }
}

#elif BITPROP_LEVEL_NUMBER == 1

inline __m256i eight_of(const std::int32_t* index) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index));
}
inline void gather(const float* from, const std::int32_t* index, float* out) {
    for (std::size_t j = 0; j < kGathered; j += 8) {
        _mm256_storeu_ps(out + j, _mm256_i32gather_ps(from, eight_of(index + j), 4));
    }
}
inline void gather(const std::int32_t* from, const std::int32_t* index, std::int32_t* out) {
    for (std::size_t j = 0; j < kGathered; j += 8) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + j), _mm256_i32gather_epi32(from, eight_of(index + j), 4));
    }
}
inline void gather(const double* from, const std::int32_t* index, double* out) {
    for (std::size_t j = 0; j < kGathered; j += 4) {
        const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(index + j));
        _mm256_storeu_pd(out + j, _mm256_i32gather_pd(from, four, 8));
    }
}

#else

template <class T>
inline void gather(const T* from, const std::int32_t* index, T* out) {
    for (std::size_t j = 0; j < kGathered; ++j) out[j] = from[index[j]];
}

#endif

}  // namespace
}  // namespace BITPROP_LEVEL
}  // namespace bitprop

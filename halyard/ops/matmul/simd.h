// The vectors that the product kernels are written in, for the instruction set the including file is compiled for. The
// namespace carries the set's name, so that no inline function of one set is linked into another's kernels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 on the undefined registers inside its own intrinsics
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include "halyard/base/float16.h"
#include "halyard/hal/cpu/isa.h"

namespace halyard::simd {
inline namespace HALYARD_ISA {

/// f(0), f(1), … f(n - 1) with constant arguments, so that arrays indexed by them stay in registers.
template <int n, class F> [[gnu::always_inline]] inline void unrolled(const F& f) {
  [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, i>{}), ...);
  }
  (std::make_integer_sequence<int, n>{});
}

template <class T> inline T load_as(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Floats: one register of f32.
#if defined(__AVX512F__)
struct Floats {
  static constexpr int width = 16;
  __m512 v;
};
inline Floats zero() { return {_mm512_setzero_ps()}; }
inline Floats load(const void* p, float) { return {_mm512_loadu_ps(p)}; }
inline Floats load(const void* p, bf16) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
inline Floats load(const void* p, f16) { return {_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)))}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline __m256 half_sum(Floats a) { return _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)); }
#elif defined(__AVX2__)
struct Floats {
  static constexpr int width = 8;
  __m256 v;
};
inline Floats zero() { return {_mm256_setzero_ps()}; }
inline Floats load(const void* p, float) { return {_mm256_loadu_ps(static_cast<const float*>(p))}; }
inline Floats load(const void* p, bf16) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
  return {_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16))};
}
inline Floats load(const void* p, f16) { return {_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p)))}; }
inline Floats fma(Floats a, Floats b, Floats c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline __m256 half_sum(Floats a) { return a.v; }
#else
struct Floats {
  static constexpr int width = 4;
  using Lanes [[gnu::vector_size(16)]] = float;
  Lanes v;
};
inline Floats zero() { return {Floats::Lanes{}}; }
template <class T> inline Floats load(const void* p, T) {
  const auto* e = static_cast<const std::byte*>(p);
  const auto at = [e](std::size_t i) {
    if constexpr (std::is_same_v<T, float>) return load_as<float>(e + 4 * i);
    else return to_float(load_as<T>(e + 2 * i));
  };
  return {Floats::Lanes{at(0), at(1), at(2), at(3)}};
}
inline Floats fma(Floats a, Floats b, Floats c) { return {a.v * b.v + c.v}; }
#endif

/// Floats::width integers of `bits` (4 or 8), packed lowest bits first, as floats.
#if defined(__AVX512F__)
inline Floats load_integers(const void* p, std::integral_constant<int, 8>) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p))))};
}
inline Floats load_integers(const void* p, std::integral_constant<int, 4>) {
  const auto* words = static_cast<const std::byte*>(p);
  const __m512i both = _mm512_mask_set1_epi32(_mm512_set1_epi32(load_as<int>(words)), 0xff00, load_as<int>(words + 4));
  const __m512i shifts = _mm512_broadcast_i32x8(_mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
  return {_mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srlv_epi32(both, shifts), _mm512_set1_epi32(15)))};
}
/// p[i] = q[i] · s + b, rounded after each operation.
inline void store_scaled(float* p, Floats q, float s, float b) {
  _mm512_storeu_ps(p, _mm512_add_ps(_mm512_mul_ps(q.v, _mm512_set1_ps(s)), _mm512_set1_ps(b)));
}
#elif defined(__AVX2__)
inline Floats load_integers(const void* p, std::integral_constant<int, 8>) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p))))};
}
inline Floats load_integers(const void* p, std::integral_constant<int, 4>) {
  const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  const __m256i words = _mm256_set1_epi32(load_as<int>(p));
  return {_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srlv_epi32(words, shifts), _mm256_set1_epi32(15)))};
}
inline void store_scaled(float* p, Floats q, float s, float b) {
  _mm256_storeu_ps(p, _mm256_add_ps(_mm256_mul_ps(q.v, _mm256_set1_ps(s)), _mm256_set1_ps(b)));
}
#else
template <int bits> inline Floats load_integers(const void* p, std::integral_constant<int, bits>) {
  const auto* bytes = static_cast<const std::uint8_t*>(p);
  const auto at = [bytes](int i) {
    return static_cast<float>(bits == 8 ? bytes[i] : i % 2 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15);
  };
  return {Floats::Lanes{at(0), at(1), at(2), at(3)}};
}
inline void store_scaled(float* p, Floats q, float s, float b) {
  const Floats::Lanes w = q.v * s + b;
  std::memcpy(p, &w, sizeof w);
}
#endif

/// sums[i] += the sum of the lanes of a[i], for four of them.
inline void add_sums(const Floats* a, float* sums) {
#if defined(__AVX2__)
  const __m256 ab = _mm256_hadd_ps(half_sum(a[0]), half_sum(a[1]));
  const __m256 cd = _mm256_hadd_ps(half_sum(a[2]), half_sum(a[3]));
  const __m256 abcd = _mm256_hadd_ps(ab, cd);
  const __m128 total = _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1));
  _mm_storeu_ps(sums, _mm_add_ps(_mm_loadu_ps(sums), total));
#else
  for (int i = 0; i < 4; ++i) sums[i] += (a[i].v[0] + a[i].v[1]) + (a[i].v[2] + a[i].v[3]);
#endif
}

}  // namespace HALYARD_ISA
}  // namespace halyard::simd

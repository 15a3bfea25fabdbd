// Vectors of f32 at the width of the instruction set a *.isa.cc file is compiled for. Only such files include this.
//
// Everything has internal linkage: the linker must never take one instruction set's copy of a function for another's.
// The values are those of the vector extension that g++ and clang++ share, so + - * / < ?: work on them; intrinsics are
// called only where the extension has no word for what is meant.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 on the undefined registers inside its own intrinsics
#include <immintrin.h>
#pragma GCC diagnostic pop
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "halyard/base/types.h"

namespace halyard::ops::simd {
namespace {

#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
inline constexpr int kRegisters = 32;
// For the zero-masking forms of intrinsics: g++ 12 warns of uninitialised values inside the plain ones.
inline constexpr __mmask16 kAll = 0xffff;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
inline constexpr int kRegisters = 16;
#elif defined(__aarch64__)
inline constexpr int kLanes = 4;
inline constexpr int kRegisters = 32;
#else
inline constexpr int kLanes = 4;
inline constexpr int kRegisters = 16;
#endif

typedef float F __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t I __attribute__((vector_size(kLanes * 4)));
typedef std::uint32_t U __attribute__((vector_size(kLanes * 4)));
typedef std::uint16_t H __attribute__((vector_size(kLanes * 2)));  // the bits of as many f16 or bf16

inline constexpr float kInfinity = __builtin_inff();

inline F splat(float x) { return x - F{}; }
inline I splat(std::int32_t x) { return x - I{}; }
inline F bits_to_float(I x) { return __builtin_bit_cast(F, x); }
inline I float_to_bits(F x) { return __builtin_bit_cast(I, x); }
inline F select(I mask, F a, F b) { return mask ? a : b; }
inline I select(I mask, I a, I b) { return mask ? a : b; }

/// 0, 1, 2, …
inline I iota() {
  I v{};
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}

// --- arithmetic -----------------------------------------------------------------------------------------------------

/// a·b + c, rounded once where the instruction set can.
inline F fma(F a, F b, F c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

/// The greater of a and b; b where either is NaN.
inline F max(F a, F b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(kAll, a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__SSE2__)
  return _mm_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

/// All lanes combined by f(a, b): the upper half folded onto the lower until one lane is left.
template <class Op> inline float fold(F v, Op f) {
#if defined(__AVX512F__)
  v = f(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  v = f(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  v = f(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  v = f(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
#elif defined(__AVX2__)
  v = f(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
  v = f(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5));
  v = f(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6));
#else
  v = f(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
  v = f(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
#endif
  return v[0];
}
inline float sum(F v) {
  return fold(v, [](F a, F b) { return a + b; });
}
/// The greatest lane. Lanes must not be NaN; max(x, top) keeps it out of `top`.
inline float max(F v) {
  return fold(v, [](F a, F b) { return max(a, b); });
}

/// e^x to 1 ulp, subnormal results included. x = n·ln 2 + r with |r| ≤ ln 2 / 2 (Cody and Waite 1980), e^r by a polynomial
/// of degree 7 fitted to (e^r - 1 - r) / r², error 2e-10.
inline F exp(F x) {
  constexpr float log2_e = 0x1.715476p+0F;
  constexpr float ln2_high = 0x1.62e4p-1F, ln2_low = 0x1.7f7d1cp-20F;  // n · ln2_high is exact
  constexpr float round = 0x1.8p23F;                                   // adding it rounds to an integer in the low bits
  x = x < splat(-110.0F) ? splat(-110.0F) : x;                         // e^-110 rounds to 0, e^90 to infinity
  x = x > splat(90.0F) ? splat(90.0F) : x;
  const F shifted = fma(x, splat(log2_e), splat(round));
  const F n = shifted - round;
  const F r = fma(n, splat(-ln2_low), fma(n, splat(-ln2_high), x));
  F p = splat(1.990765150e-4F);
  p = fma(p, r, splat(1.393373260e-3F));
  p = fma(p, r, splat(8.333285915e-3F));
  p = fma(p, r, splat(4.166646417e-2F));
  p = fma(p, r, splat(1.666666677e-1F));
  p = fma(p, r, splat(5.000000014e-1F));
  p = fma(r * r, p, r) + 1.0F;
  // 2^n in two factors, so that neither overflows nor is subnormal.
  const I power = float_to_bits(shifted) - splat(std::int32_t{0x4b400000});
  const I half = power >> 1;
  return p * bits_to_float((half + 127) << 23) * bits_to_float((power - half + 127) << 23);
}

// --- memory ---------------------------------------------------------------------------------------------------------
// load(p, n) and store(p, v, n) touch n < kLanes elements; lanes beyond are 0.

inline F load(const float* p) {
  F v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, F v) { __builtin_memcpy(p, &v, sizeof v); }

#if defined(__AVX512F__)
inline __mmask16 first_bits(std::size_t n) { return static_cast<__mmask16>((1U << n) - 1); }
#endif
inline F load(const float* p, std::size_t n) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(first_bits(n), p);
#else
  F v{};
  for (std::size_t i = 0; i < n; ++i) v[i] = p[i];
  return v;
#endif
}
inline void store(float* p, F v, std::size_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, first_bits(n), v);
#else
  for (std::size_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

inline H load_bits(const void* p) {
  H v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store_bits(void* p, H v) { __builtin_memcpy(p, &v, sizeof v); }

inline U widen(H v) { return __builtin_convertvector(v, U); }
inline H narrow(U v) { return __builtin_convertvector(v, H); }

inline F bf16_to_float(H v) { return __builtin_bit_cast(F, widen(v) << 16); }
/// Round to nearest, ties to even; NaN stays NaN (quiet).
inline H float_to_bf16(F x) {
  const U u = __builtin_bit_cast(U, x);
  const U rounded = (u + 0x7fffU + ((u >> 16) & 1U)) >> 16;
  const U nan = (u >> 16) | 0x40U;
  return narrow((u & 0x7fffffffU) > 0x7f800000U ? nan : rounded);
}

inline F f16_to_float(H v) {
#if defined(__AVX512F__)
  return _mm512_maskz_cvtph_ps(kAll, __builtin_bit_cast(__m256i, v));
#elif defined(__F16C__)
  return _mm256_cvtph_ps(__builtin_bit_cast(__m128i, v));
#elif defined(__aarch64__)
  return vcvt_f32_f16(__builtin_bit_cast(float16x4_t, v));
#else
  const U u = widen(v);
  const U magnitude = (u & 0x7fffU) << 13;
  // The exponent's bias goes from 15 to 127 by a product, which makes subnormals right too.
  const U finite = __builtin_bit_cast(U, __builtin_bit_cast(F, magnitude) * 0x1p112F);
  const U special = magnitude | 0x7f800000U;
  return __builtin_bit_cast(F, (magnitude >= 0x0f800000U ? special : finite) | ((u & 0x8000U) << 16));
#endif
}
/// Round to nearest, ties to even; beyond the range becomes infinity; NaN stays NaN (quiet).
inline H float_to_f16(F x) {
#if defined(__AVX512F__)
  return __builtin_bit_cast(H, _mm512_maskz_cvtps_ph(kAll, x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__F16C__)
  return __builtin_bit_cast(H, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__aarch64__)
  return __builtin_bit_cast(H, vcvt_f16_f32(x));
#else
  const U u = __builtin_bit_cast(U, x);
  const U sign = (u >> 16) & 0x8000U;
  const U a = u & 0x7fffffffU;
  const U normal = (a + 0xfffU + ((a >> 13) & 1U) - 0x38000000U) >> 13;
  // Adding 0.5 aligns the value's ulp with the f16 subnormal's, so the float unit does the rounding.
  const U subnormal = __builtin_bit_cast(U, __builtin_bit_cast(F, a) + 0.5F) - 0x3f000000U;
  const U nan = ((a >> 13) & 0x3ffU) | 0x7e00U;
  U r = a < 0x38800000U ? subnormal : normal;
  r = a >= 0x47800000U ? U{} + 0x7c00U : r;
  r = a > 0x7f800000U ? nan : r;
  return narrow(r | sign);
#endif
}

inline F load(const bf16* p) { return bf16_to_float(load_bits(p)); }
inline F load(const f16* p) { return f16_to_float(load_bits(p)); }
inline void store(bf16* p, F v) { store_bits(p, float_to_bf16(v)); }
inline void store(f16* p, F v) { store_bits(p, float_to_f16(v)); }

template <class T> inline F load(const T* p, std::size_t n) {
  T part[kLanes] = {};
  for (std::size_t i = 0; i < n; ++i) part[i] = p[i];
  return load(part);
}
template <class T> inline void store(T* p, F v, std::size_t n) {
  T part[kLanes];
  store(part, v);
  for (std::size_t i = 0; i < n; ++i) p[i] = part[i];
}

// How many lanes a load or store is for: all of them, or the first n.
struct Whole {};
struct Part {
  std::size_t n;
};
template <class T> inline F load(const T* p, Whole) { return load(p); }
template <class T> inline F load(const T* p, Part part) { return load(p, part.n); }
template <class T> inline void store(T* p, F v, Whole) { store(p, v); }
template <class T> inline void store(T* p, F v, Part part) { store(p, v, part.n); }

/// body(i, Whole{}) for i = 0, kLanes, … and, where elements are left, body(i, Part{left}).
template <class Body> inline void for_each_vector(std::size_t count, Body body) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, Whole{});
  if (i < count) body(i, Part{count - i});
}

// --- permutations ---------------------------------------------------------------------------------------------------

/// a and b hold pairs x0 y0 x1 y1 …: the xs and the ys.
struct Pair {
  F x, y;
};
inline Pair unzip(F a, F b) {
#if defined(__AVX512F__)
  return {__builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30),
          __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)};
#elif defined(__AVX2__)
  return {__builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14),
          __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)};
#else
  return {__builtin_shufflevector(a, b, 0, 2, 4, 6), __builtin_shufflevector(a, b, 1, 3, 5, 7)};
#endif
}
/// The inverse of unzip.
inline Pair zip(F x, F y) {
#if defined(__AVX512F__)
  return {__builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
          __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
#elif defined(__AVX2__)
  return {__builtin_shufflevector(x, y, 0, 8, 1, 9, 2, 10, 3, 11),
          __builtin_shufflevector(x, y, 4, 12, 5, 13, 6, 14, 7, 15)};
#else
  return {__builtin_shufflevector(x, y, 0, 4, 1, 5), __builtin_shufflevector(x, y, 2, 6, 3, 7)};
#endif
}

/// The four elements at p, p + step, p + 2·step, …, one group of four after the other.
inline F load_fours(const float* p, std::size_t step) {
#if defined(__AVX512F__)
  const __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(p));
  const __m512 w = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(p + step));
  const __m512 x = _mm512_mask_broadcast_f32x4(w, 0x0f00, _mm_loadu_ps(p + 2 * step));
  return _mm512_mask_broadcast_f32x4(x, 0xf000, _mm_loadu_ps(p + 3 * step));
#elif defined(__AVX2__)
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
#else
  (void)step;
  return load(p);
#endif
}

/// to[j·to_step + i] = from[i·from_step + j] for i < kLanes, j < 4.
[[gnu::always_inline]] inline void transpose_fours(const float* from, std::size_t from_step, float* to,
                                                   std::size_t to_step) {
  // Group g of r<i> is row 4·g + i; the 4 × 4 matrices of the groups are turned in place.
  const F r0 = load_fours(from, 4 * from_step), r1 = load_fours(from + from_step, 4 * from_step);
  const F r2 = load_fours(from + 2 * from_step, 4 * from_step), r3 = load_fours(from + 3 * from_step, 4 * from_step);
#if defined(__AVX512F__)
  const __m512 a = _mm512_maskz_unpacklo_ps(kAll, r0, r1), b = _mm512_maskz_unpackhi_ps(kAll, r0, r1);
  const __m512 c = _mm512_maskz_unpacklo_ps(kAll, r2, r3), d = _mm512_maskz_unpackhi_ps(kAll, r2, r3);
  store(to, _mm512_maskz_shuffle_ps(kAll, a, c, 0x44));
  store(to + to_step, _mm512_maskz_shuffle_ps(kAll, a, c, 0xee));
  store(to + 2 * to_step, _mm512_maskz_shuffle_ps(kAll, b, d, 0x44));
  store(to + 3 * to_step, _mm512_maskz_shuffle_ps(kAll, b, d, 0xee));
#elif defined(__AVX2__)
  const __m256 a = _mm256_unpacklo_ps(r0, r1), b = _mm256_unpackhi_ps(r0, r1);
  const __m256 c = _mm256_unpacklo_ps(r2, r3), d = _mm256_unpackhi_ps(r2, r3);
  store(to, _mm256_shuffle_ps(a, c, 0x44));
  store(to + to_step, _mm256_shuffle_ps(a, c, 0xee));
  store(to + 2 * to_step, _mm256_shuffle_ps(b, d, 0x44));
  store(to + 3 * to_step, _mm256_shuffle_ps(b, d, 0xee));
#else
  const F a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  const F c = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), d = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  store(to, __builtin_shufflevector(a, c, 0, 1, 4, 5));
  store(to + to_step, __builtin_shufflevector(a, c, 2, 3, 6, 7));
  store(to + 2 * to_step, __builtin_shufflevector(b, d, 0, 1, 4, 5));
  store(to + 3 * to_step, __builtin_shufflevector(b, d, 2, 3, 6, 7));
#endif
}

}  // namespace
}  // namespace halyard::ops::simd

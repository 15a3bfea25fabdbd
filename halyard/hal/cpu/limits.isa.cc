#include <bit>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // g++ 12 on the undefined registers inside its own intrinsics
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include "halyard/hal/cpu/limits_kernels.h"

namespace halyard {
namespace {

// Independent sums: more than latency times instructions a cycle, and with two operands they fit 16 registers.
constexpr int sums = 12;

// Keeps a value in a register without the compiler knowing what it is.
template <class V> [[gnu::always_inline]] inline void opaque(V& v) {
#if defined(__x86_64__)
  asm volatile("" : "+v"(v));
#elif defined(__aarch64__)
  asm volatile("" : "+w"(v));
#else
  asm volatile("" : "+m"(v));
#endif
}

// `rounds` times step(sum) on each of the sums; V holds a register in its member v.
template <class V, class Step> [[gnu::always_inline]] inline void repeat(std::size_t rounds, const Step& step) {
  V sum[sums] = {};
  for (std::size_t r = 0; r < rounds; ++r)
    [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) {
      ((step(sum[i]), opaque(sum[i].v)), ...);
    }
  (std::make_integer_sequence<int, sums>{});
}

double total(std::size_t rounds, double operations) { return operations * static_cast<double>(rounds) * sums; }

#if defined(__AVX512F__)
struct F32 {
  __m512 v;
};
struct I32 {
  __m512i v;
};
double f32(std::size_t rounds) {
  __m512 a = _mm512_set1_ps(0.5F);
  opaque(a);
  repeat<F32>(
      rounds, [a](F32 & s) __attribute__((always_inline)) { s.v = _mm512_fmadd_ps(a, a, s.v); });
  return total(rounds, 2 * 16);
}
double int8(std::size_t rounds) {
  __m512i a = _mm512_set1_epi8(3);
  opaque(a);
#if defined(__AVX512VNNI__)
  repeat<I32>(
      rounds, [a](I32 & s) __attribute__((always_inline)) { s.v = _mm512_dpbusd_epi32(s.v, a, a); });
#else
  __m512i one = _mm512_set1_epi16(1);
  opaque(one);
  repeat<I32>(
      rounds, [ a, one ](I32 & s) __attribute__((always_inline)) {
        __m512i b = a;
        opaque(b);
        s.v = _mm512_add_epi32(s.v, _mm512_madd_epi16(_mm512_maddubs_epi16(b, a), one));
      });
#endif
  return total(rounds, 2 * 64);
}
#elif defined(__AVX2__)
struct F32 {
  __m256 v;
};
struct I32 {
  __m256i v;
};
double f32(std::size_t rounds) {
  __m256 a = _mm256_set1_ps(0.5F);
  opaque(a);
  repeat<F32>(
      rounds, [a](F32 & s) __attribute__((always_inline)) { s.v = _mm256_fmadd_ps(a, a, s.v); });
  return total(rounds, 2 * 8);
}
double int8(std::size_t rounds) {
  __m256i a = _mm256_set1_epi8(3), one = _mm256_set1_epi16(1);
  opaque(a);
  opaque(one);
  repeat<I32>(
      rounds, [ a, one ](I32 & s) __attribute__((always_inline)) {
        __m256i b = a;
        opaque(b);
        s.v = _mm256_add_epi32(s.v, _mm256_madd_epi16(_mm256_maddubs_epi16(b, a), one));
      });
  return total(rounds, 2 * 32);
}
#else
struct F32 {
  using Lanes [[gnu::vector_size(16)]] = float;
  Lanes v;
};
double f32(std::size_t rounds) {
  F32::Lanes a = {0.5F, 0.5F, 0.5F, 0.5F};
  opaque(a);
  repeat<F32>(
      rounds, [a](F32 & s) __attribute__((always_inline)) {
        F32::Lanes b = a;
        opaque(b);
        s.v += b * a;
      });
  return total(rounds, 2 * 4);
}
double int8(std::size_t) { return 0; }
#endif

#if defined(__AVX512BF16__)
double bf16(std::size_t rounds) {
  __m512i a = _mm512_set1_epi16(0x3f00);  // 0.5
  opaque(a);
  repeat<F32>(
      rounds, [a](F32 & s) __attribute__((always_inline)) {
        s.v = _mm512_dpbf16_ps(s.v, std::bit_cast<__m512bh>(a), std::bit_cast<__m512bh>(a));
      });
  return total(rounds, 2 * 32);
}
#else
double bf16(std::size_t) { return 0; }
#endif

// A register of the memory's bytes.
#if defined(__AVX512F__)
constexpr std::size_t register_bytes = 64;
#elif defined(__AVX2__)
constexpr std::size_t register_bytes = 32;
#else
constexpr std::size_t register_bytes = 16;
#endif
using Lanes [[gnu::vector_size(register_bytes)]] = std::uint64_t;

// `streams` parts of the memory side by side.
template <std::size_t streams> std::uint64_t read(const void* data, std::size_t bytes) {
  constexpr std::size_t ahead = 4096;
  const auto* p = static_cast<const char*>(data);
  const std::size_t part = bytes / streams;
  std::uint64_t folded = 0;
  Lanes sum[streams] = {};
  for (std::size_t i = 0; i < part; i += 64)
    for (std::size_t s = 0; s < streams; ++s) {
      const char* line = p + s * part + i;
      if constexpr (streams == 1) __builtin_prefetch(line + ahead);
      for (std::size_t j = 0; j < 64; j += register_bytes) {
        Lanes lanes;
        std::memcpy(&lanes, line + j, sizeof lanes);
        sum[s] |= lanes;
      }
    }
  for (const Lanes& l : sum)
    for (std::size_t i = 0; i < register_bytes / 8; ++i) folded |= l[i];
  return folded;
}

}  // namespace

template <> LimitLoops limit_loops<kIsa>() { return {int8, bf16, f32, {read<1>, read<4>}}; }

}  // namespace halyard

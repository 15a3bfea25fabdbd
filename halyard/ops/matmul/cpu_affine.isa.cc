// out[t, i] = Σ_g s[i, g] · d[t, g] · Σ_j q[i, j] · x[t, j] + b[i, g] · X[t, g], with 8-bit activations x scaled by d for
// each 32 columns and unsigned 4- or 8-bit weights q; lanes along i, 16 rows at a time (see kernels.h for the layouts).
// Sums of 32 columns are integers and exact; they are scaled and added in f32, from the first columns to the last.
//
// One position is limited by the bytes of the weights; several by the multiplier: a block's weights are unpacked once and
// used for up to 12 positions, whose sums stay in registers.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "halyard/ops/elementwise/functions.h"
#include "halyard/ops/matmul/cpu.h"
#include "halyard/ops/matmul/pack.h"
#include "halyard/ops/matmul/simd.h"
#include "halyard/ops/rope/heads.h"

namespace halyard::ops {
namespace {

namespace wide = halyard::simd;  // of matmul/simd.h
using wide::load_as;
using wide::unrolled;

// Rows: an f32 for each row of a panel. Sums: the same of i32. Quads<bits>: 32 columns of weights.
#if defined(__AVX512F__)

constexpr int most_positions = 12;

struct Rows {
  __m512 v;
};
Rows all(float x) { return {_mm512_set1_ps(x)}; }
Rows operator*(Rows a, Rows b) { return {_mm512_mul_ps(a.v, b.v)}; }
Rows operator+(Rows a, Rows b) { return {_mm512_add_ps(a.v, b.v)}; }
Rows fma(Rows a, Rows b, Rows c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
Rows load_rows(const std::byte* p, DType type) {
  if (type == DType::bf16) return {wide::load(p, bf16{}).v};
  if (type == DType::f16) return {wide::load(p, f16{}).v};
  return {wide::load(p, 0.0F).v};
}
Rows load_some(const float* p, std::size_t rows) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << rows) - 1), p)};
}
void store_some(float* p, std::size_t rows, Rows a) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << rows) - 1), a.v);
}

struct Quads {
  __m512i v[8];  // bytes: 4 columns of each of 16 rows
};

Quads load_quads(const std::byte* p, std::integral_constant<int, 4>) {
  const __m512i mask = _mm512_set1_epi8(15);
  Quads w;
  unrolled<4>([&](auto i) {
    const __m512i both = _mm512_loadu_si512(p + 64 * i);
    w.v[2 * i] = _mm512_and_si512(both, mask);
    w.v[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), mask);
  });
  return w;
}
Quads load_quads(const std::byte* p, std::integral_constant<int, 8>) {
  Quads w;
  unrolled<8>([&](auto i) { w.v[i] = _mm512_loadu_si512(p + 64 * i); });
  return w;
}

__m512i four(const std::int8_t* x) { return _mm512_set1_epi32(load_as<int>(x)); }

#if defined(__AVX512VNNI__)
template <int bits> Rows dot(const Quads& w, const std::int8_t* x) {
  __m512i sum = _mm512_setzero_si512();
  unrolled<8>([&](auto i) { sum = _mm512_dpbusd_epi32(sum, w.v[i], four(x + 4 * i)); });
  return {_mm512_cvtepi32_ps(sum)};
}
#else
// Pairs of products of 4-bit weights are at most 2 · 15 · 127 in magnitude: eight of them fit 16 bits.
__m512i dot_nibbles(const __m512i* w, const std::int8_t* x) {
  __m512i pairs = _mm512_maddubs_epi16(w[0], four(x));
  unrolled<7>([&](auto i) { pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(w[i + 1], four(x + 4 * (i + 1)))); });
  return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
template <int bits> Rows dot(const Quads& w, const std::int8_t* x) {
  if constexpr (bits == 4) return {_mm512_cvtepi32_ps(dot_nibbles(w.v, x))};
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i low[8], high[8];
  unrolled<8>([&](auto i) {
    low[i] = _mm512_and_si512(w.v[i], mask);
    high[i] = _mm512_and_si512(_mm512_srli_epi16(w.v[i], 4), mask);
  });
  const __m512i sum = _mm512_add_epi32(dot_nibbles(low, x), _mm512_slli_epi32(dot_nibbles(high, x), 4));
  return {_mm512_cvtepi32_ps(sum)};
}
#endif

#elif defined(__AVX2__)

constexpr int most_positions = 4;

struct Rows {
  __m256 v[2];
};
Rows all(float x) { return {{_mm256_set1_ps(x), _mm256_set1_ps(x)}}; }
Rows operator*(Rows a, Rows b) { return {{_mm256_mul_ps(a.v[0], b.v[0]), _mm256_mul_ps(a.v[1], b.v[1])}}; }
Rows operator+(Rows a, Rows b) { return {{_mm256_add_ps(a.v[0], b.v[0]), _mm256_add_ps(a.v[1], b.v[1])}}; }
Rows fma(Rows a, Rows b, Rows c) {
  return {{_mm256_fmadd_ps(a.v[0], b.v[0], c.v[0]), _mm256_fmadd_ps(a.v[1], b.v[1], c.v[1])}};
}
Rows load_rows(const std::byte* p, DType type) {
  if (type == DType::bf16) return {{wide::load(p, bf16{}).v, wide::load(p + 16, bf16{}).v}};
  if (type == DType::f16) return {{wide::load(p, f16{}).v, wide::load(p + 16, f16{}).v}};
  return {{wide::load(p, 0.0F).v, wide::load(p + 32, 0.0F).v}};
}
Rows load_some(const float* p, std::size_t rows) {
  alignas(32) float a[16] = {};
  std::memcpy(a, p, rows * sizeof(float));
  return {{_mm256_load_ps(a), _mm256_load_ps(a + 8)}};
}
void store_some(float* p, std::size_t rows, Rows r) {
  alignas(32) float a[16];
  _mm256_store_ps(a, r.v[0]);
  _mm256_store_ps(a + 8, r.v[1]);
  std::memcpy(p, a, rows * sizeof(float));
}

struct Quads {
  const std::byte* p;
};
template <int bits> Quads load_quads(const std::byte* p, std::integral_constant<int, bits>) { return {p}; }

__m256i load_half(const std::byte* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
__m256i four(const std::int8_t* x) { return _mm256_set1_epi32(load_as<int>(x)); }

// 8 rows. Pairs of products of 4-bit weights are at most 2 · 15 · 127 in magnitude: eight of them fit 16 bits.
template <int bits> __m256 dot_half(const std::byte* p, const std::int8_t* x) {
  const __m256i mask = _mm256_set1_epi8(15);
  const __m256i one = _mm256_set1_epi16(1);
  __m256i low = _mm256_setzero_si256(), high = low;
  unrolled<bits>([&](auto i) {  // a register holds 32 / bits columns: 8 of 4 bits or 4 of 8
    const __m256i both = load_half(p + 64 * i);
    const std::int8_t* xs = x + 32 / bits * i;
    low = _mm256_add_epi16(low, _mm256_maddubs_epi16(_mm256_and_si256(both, mask), four(xs)));
    high = _mm256_add_epi16(
        high, _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(both, 4), mask), four(bits == 4 ? xs + 4 : xs)));
  });
  if constexpr (bits == 4) return _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_add_epi16(low, high), one));
  return _mm256_cvtepi32_ps(
      _mm256_add_epi32(_mm256_madd_epi16(low, one), _mm256_slli_epi32(_mm256_madd_epi16(high, one), 4)));
}
template <int bits> Rows dot(const Quads& w, const std::int8_t* x) {
  return {{dot_half<bits>(w.p, x), dot_half<bits>(w.p + 32, x)}};
}

#else

constexpr int most_positions = 2;

struct Rows {
  float v[16];
};
template <class F> Rows each(const F& f) {
  Rows r;
  for (std::size_t i = 0; i < 16; ++i) r.v[i] = f(i);
  return r;
}
Rows all(float x) {
  return each([&](std::size_t) { return x; });
}
Rows operator*(const Rows& a, const Rows& b) {
  return each([&](std::size_t i) { return a.v[i] * b.v[i]; });
}
Rows operator+(const Rows& a, const Rows& b) {
  return each([&](std::size_t i) { return a.v[i] + b.v[i]; });
}
Rows fma(const Rows& a, const Rows& b, const Rows& c) {
  return each([&](std::size_t i) { return a.v[i] * b.v[i] + c.v[i]; });
}
Rows load_rows(const std::byte* p, DType type) {
  if (type == DType::bf16) return each([&](std::size_t i) { return to_float(load_as<bf16>(p + 2 * i)); });
  if (type == DType::f16) return each([&](std::size_t i) { return to_float(load_as<f16>(p + 2 * i)); });
  return each([&](std::size_t i) { return load_as<float>(p + 4 * i); });
}
Rows load_some(const float* p, std::size_t rows) {
  return each([&](std::size_t i) { return i < rows ? p[i] : 0.0F; });
}
void store_some(float* p, std::size_t rows, const Rows& a) { std::memcpy(p, a.v, rows * sizeof(float)); }

struct Quads {
  const std::byte* p;
};
template <int bits> Quads load_quads(const std::byte* p, std::integral_constant<int, bits>) { return {p}; }

template <int bits> Rows dot(const Quads& w, const std::int8_t* x) {
  const auto* q = reinterpret_cast<const std::uint8_t*>(w.p);
  std::int32_t sums[16] = {};
  for (std::size_t c = 0; c < 32; c += 32 / bits, q += 64)
    for (std::size_t row = 0; row < 16; ++row)
      for (std::size_t i = 0; i < 4; ++i) {
        const int both = q[4 * row + i];
        if constexpr (bits == 8) sums[row] += both * x[c + i];
        else sums[row] += (both & 15) * x[c + i] + (both >> 4) * x[c + 4 + i];
      }
  return each([&](std::size_t i) { return static_cast<float>(sums[i]); });
}

#endif

// One panel times `positions` rows of activations from row y on: emit(position, sums) for each. Flattened: sums stay in
// registers only where nothing is called.
template <int bits, int positions, class Emit>
[[gnu::flatten]] void panel(const MatmulArgs& a, const PackedGroup* x, const std::byte* w, std::size_t y,
                            const Emit& emit) {
  const std::size_t row_groups = a.k / 32, subgroups = a.group / 32, groups = a.k / a.group;
  const std::size_t scale_bytes = panel_rows * size_of(a.dtype);
  x += y * row_groups;
  Rows sum[positions];
  unrolled<positions>([&](auto c) { sum[c] = all(0.0F); });

  for (std::size_t g = 0; g < groups; ++g) {
    const Rows scale = load_rows(w, a.dtype), bias = load_rows(w + scale_bytes, a.dtype);
    w += 2 * scale_bytes;
    for (std::size_t s = 0; s < subgroups; ++s, ++x) {
      const Quads q = load_quads(w, std::integral_constant<int, bits>{});
      unrolled<positions>([&](auto c) {
        const PackedGroup& xs = x[c * row_groups];
        sum[c] = fma(dot<bits>(q, xs.q), scale * all(xs.scale), sum[c]);
        sum[c] = fma(bias, all(xs.sum), sum[c]);
      });
      w += panel_rows * 32 * bits / 8;
    }
  }
  unrolled<positions>([&](auto c) { emit(y + c, sum[c]); });
}

// One panel times the rows [y, end) of activations.
template <int bits, class Emit>
void panel_rows_of(const MatmulArgs& a, const PackedGroup* x, const std::byte* w, std::size_t y, std::size_t end,
                   const Emit& emit) {
  for (; y + most_positions <= end; y += most_positions) panel<bits, most_positions>(a, x, w, y, emit);
  if constexpr (most_positions > 4)
    for (; y + 4 <= end; y += 4) panel<bits, 4>(a, x, w, y, emit);
  if constexpr (most_positions > 2)
    for (; y + 2 <= end; y += 2) panel<bits, 2>(a, x, w, y, emit);
  for (; y < end; ++y) panel<bits, 1>(a, x, w, y, emit);
}

template <int bits> std::size_t panel_stride(const MatmulArgs& a) {
  return a.k / a.group * block_bytes(bits, a.group, a.dtype);
}

template <int bits> void affine(const CpuTile& t) {
  const auto& a = t.constants_as<MatmulArgs>();
  const auto finish = [&](std::size_t i, std::size_t y, Rows sum) {
    const std::size_t row = i * panel_rows, rows = std::min<std::size_t>(panel_rows, a.n - row);
    float* out = t.as<float>(3) + y * a.n + row;
    if (a.has_bias) sum = sum + load_some(t.as<const float>(2) + row, rows);
    if (a.accumulate) sum = sum + load_some(out, rows);
    store_some(out, rows, sum);
  };
  const auto sums = [&](std::size_t i, const auto& emit) {
    panel_rows_of<bits>(a, t.as<const PackedGroup>(0), t.buffers[1] + i * panel_stride<bits>(a), t.y0, t.y1, emit);
  };
  if (t.y1 - t.y0 == 1) {
    Rows of_tile[tile_rows / panel_rows];
    for (std::size_t i = t.x0; i < t.x1; ++i) sums(i, [&](std::size_t, const Rows& sum) { of_tile[i - t.x0] = sum; });
    if (!t.may_write()) return;
    for (std::size_t i = t.x0; i < t.x1; ++i) finish(i, t.y0, of_tile[i - t.x0]);
  } else if (t.may_write()) {
    for (std::size_t i = t.x0; i < t.x1; ++i) sums(i, [&](std::size_t y, const Rows& sum) { finish(i, y, sum); });
  }
}

// sums[step (y - y0) + i] = row `row` + i of the product bound at `binding`, for i < rows: whole panels.
template <int bits>
void sum_rows(const CpuTile& t, const MatmulArgs& a, int binding, std::size_t row, std::size_t rows, float* sums,
              std::size_t step) {
  for (std::size_t i = 0; i < rows; i += panel_rows)
    panel_rows_of<bits>(a, t.as<const PackedGroup>(0),
                        t.buffers[binding] + (row + i) / panel_rows * panel_stride<bits>(a), t.y0, t.y1,
                        [&](std::size_t y, Rows sum) {
                          if (a.has_bias) sum = sum + load_some(t.as<const float>(binding + 1) + row + i, panel_rows);
                          store_some(sums + step * (y - t.y0) + i, panel_rows, sum);
                        });
}

template <int bits> void gated_pack(const CpuTile& t) {
  const auto& a = t.constants_as<GatedArgs>();
  const std::size_t row = 32 * t.x0, rows = 32 * (t.x1 - t.x0), positions = t.y1 - t.y0;
  auto* gate = reinterpret_cast<float*>(t.shared);  // [positions, rows]
  float* up = gate + positions * rows;
  sum_rows<bits>(t, a.gate, 1, row, rows, gate, rows);
  sum_rows<bits>(t, a.up, 3, row, rows, up, rows);
  if (!t.may_write()) return;
  with_gate(a.function, [&](auto f) {
    for (std::size_t y = 0; y < positions; ++y)
      for (std::size_t i = 0; i < rows; i += 32) {
        float product[32];
        combine_32(gate + y * rows + i, up + y * rows + i, product, f);
        pack(product, t.as<PackedGroup>(5)[(t.y0 + y) * t.grid.x + (row + i) / 32]);
      }
  });
}

template <int bits> void product_heads(const CpuTile& t) {
  const auto& a = t.constants_as<ProductHeadsArgs>();
  const std::size_t head_dim = a.heads.head_dim;
  auto* scratch = reinterpret_cast<float*>(t.shared);
  float* sums = scratch + head_dim;
  for (std::size_t h = t.x0; h < t.x1; ++h) {
    sum_rows<bits>(t, a.product, 1, h * head_dim, head_dim, sums, head_dim);
    if (!t.may_write()) return;
    for (std::size_t y = t.y0; y < t.y1; ++y)
      heads::send(t, a.heads, y * a.heads.heads + h, sums + head_dim * (y - t.y0), t.buffers[3], t.as<const float>(4),
                  t.as<const std::int32_t>(5), t.buffers[6], scratch);
  }
}

}  // namespace

template <> void matmul_affine4_fast_cpu<kIsa>(const CpuTile& t) { affine<4>(t); }
template <> void matmul_affine8_fast_cpu<kIsa>(const CpuTile& t) { affine<8>(t); }
template <> void matmul_affine4_gated_pack_cpu<kIsa>(const CpuTile& t) { gated_pack<4>(t); }
template <> void matmul_affine8_gated_pack_cpu<kIsa>(const CpuTile& t) { gated_pack<8>(t); }
template <> void matmul_affine4_heads_cpu<kIsa>(const CpuTile& t) { product_heads<4>(t); }
template <> void matmul_affine8_heads_cpu<kIsa>(const CpuTile& t) { product_heads<8>(t); }

template <> void pack_activations_cpu<kIsa>(const CpuTile& t) {
  const std::size_t groups = t.grid.x;
  for (std::size_t y = t.y0; y < t.y1; ++y)
    for (std::size_t g = t.x0; g < t.x1; ++g)
      pack(t.as<const float>(0) + (y * groups + g) * 32, t.as<PackedGroup>(1)[y * groups + g]);
}

}  // namespace halyard::ops

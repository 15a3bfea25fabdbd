// out[t, i] = Σ_j x[t, j] · w[i, j], lanes along j. Dense weights of f32, f16 or bf16 are taken to f32 as they are loaded;
// affine weights are taken to f32 (s·q + b) in scratch, a few rows at a time. bf16 weights also have a form with bf16 dot
// products, for which the activations are rounded to bf16.
//
// One position is limited by the bytes of the weights; several by the multiplier, with blocks of 4 rows × 6 positions in
// registers, so that ten loads feed 24 multiply-adds.
#include <algorithm>
#include <bit>

#include "halyard/ops/matmul/cpu.h"
#include "halyard/ops/matmul/simd.h"

namespace halyard::ops {
namespace {

using simd::Floats;
using simd::unrolled;

// Weights of type W times f32 activations.
template <class W> struct WidenedDot {
  using X = float;
  static constexpr std::size_t width = Floats::width;
  static constexpr std::size_t w_bytes = sizeof(W);
  using Vector = Floats;
  static Vector load_w(const void* p) { return simd::load(p, W{}); }
  static Vector load_x(const void* p) { return simd::load(p, 0.0F); }
  static Floats dot(Vector w, Vector x, Floats sum) { return simd::fma(w, x, sum); }
};

#if defined(__AVX512BF16__)
struct Bf16Dot {
  using X = bf16;
  static constexpr std::size_t width = 32;
  static constexpr std::size_t w_bytes = 2;
  struct Vector {
    __m512i v;
  };
  static Vector load_w(const void* p) { return {_mm512_loadu_si512(p)}; }
  static Vector load_x(const void* p) { return {_mm512_loadu_si512(p)}; }
  // rounded[i] = x[i] for `count` elements.
  static void round(const float* x, std::size_t count, bf16* rounded) {
    std::size_t i = 0;
    for (; i + 16 <= count; i += 16)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rounded + i),
                          std::bit_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i))));
    for (; i < count; ++i) rounded[i] = to_bf16(x[i]);
  }
  static Floats dot(Vector w, Vector x, Floats sum) {
    return {_mm512_dpbf16_ps(sum.v, std::bit_cast<__m512bh>(w.v), std::bit_cast<__m512bh>(x.v))};
  }
};
#endif

// The last few elements of a row, the register's other lanes zero.
template <class Vector, class Load> Vector load_part(const std::byte* p, std::size_t bytes, const Load& load) {
  alignas(64) std::byte whole[64] = {};
  std::memcpy(whole, p, bytes);
  return load(whole);
}

struct Matrix {
  const std::byte* data;
  std::size_t stride;  // bytes
  Matrix from(std::size_t row) const { return {data + row * stride, stride}; }
};

struct Output {
  float* data;
  std::size_t stride;  // elements
  Output from(std::size_t position, std::size_t row) const { return {data + position * stride + row, stride}; }
};

// out[c, r] += Σ_j x[c, j] · w[r, j] for `rows` rows and `positions` positions. rows is 1 or 4.
// Flattened: sums stay in registers only where nothing is called.
template <class Dot, int rows, int positions>
[[gnu::flatten]] void block(Matrix w, Matrix x, std::size_t k, Output out) {
  constexpr std::size_t x_bytes = sizeof(typename Dot::X);
  alignas(16) float sums[positions][4] = {};
  for (int c = 0; c < positions; ++c)
    for (int r = 0; r < rows; ++r) sums[c][r] = out.data[c * out.stride + r];

  for (std::size_t begin = 0; begin < k; begin += chunk) {
    const std::size_t end = std::min(k, begin + chunk);
    Floats acc[positions][4];
    unrolled<positions * 4>([&](auto i) { acc[i / 4][i % 4] = simd::zero(); });
    const auto step = [&](const auto& load_w, const auto& load_x) __attribute__((always_inline)) {
      typename Dot::Vector xs[positions];
      unrolled<positions>([&](auto c) { xs[c] = load_x(x.data + c * x.stride); });
      unrolled<rows>([&](auto r) {
        const auto ws = load_w(w.data + r * w.stride);
        unrolled<positions>([&](auto c) { acc[c][r] = Dot::dot(ws, xs[c], acc[c][r]); });
      });
    };
    std::size_t j = begin;
    for (; j + Dot::width <= end; j += Dot::width)
      step([j](const std::byte* p) { return Dot::load_w(p + j * Dot::w_bytes); },
           [j](const std::byte* p) { return Dot::load_x(p + j * x_bytes); });
    if (j < end)
      step(
          [&](const std::byte* p) {
            return load_part<typename Dot::Vector>(p + j * Dot::w_bytes, (end - j) * Dot::w_bytes, Dot::load_w);
          },
          [&](const std::byte* p) {
            return load_part<typename Dot::Vector>(p + j * x_bytes, (end - j) * x_bytes, Dot::load_x);
          });
    unrolled<positions>([&](auto c) { simd::add_sums(acc[c], sums[c]); });
  }
  for (int c = 0; c < positions; ++c)
    for (int r = 0; r < rows; ++r) out.data[c * out.stride + r] = sums[c][r];
}

// The same for any number of positions.
template <class Dot, int rows> void block_row(Matrix w, Matrix x, std::size_t t, std::size_t k, Output out) {
  constexpr int many = Floats::width == 16 ? 6 : 3;
  std::size_t c = 0;
  for (; c + many <= t; c += many) block<Dot, rows, many>(w, x.from(c), k, out.from(c, 0));
  for (; c + 2 <= t; c += 2) block<Dot, rows, 2>(w, x.from(c), k, out.from(c, 0));
  if (c < t) block<Dot, rows, 1>(w, x.from(c), k, out.from(c, 0));
}

// The same for any number of rows.
template <class Dot> void product(Matrix w, std::size_t n, Matrix x, std::size_t t, std::size_t k, Output out) {
  std::size_t r = 0;
  for (; r + 4 <= n; r += 4) block_row<Dot, 4>(w.from(r), x, t, k, out.from(0, r));
  for (; r < n; ++r) block_row<Dot, 1>(w.from(r), x, t, k, out.from(0, r));
}

// A tile's sums. Those of one position lie apart from `out` until they are finished, so that the tile can be restarted.
struct Sums {
  const CpuTile& t;
  Output out, at;
  float apart[tile_rows];

  Sums(const CpuTile& tile, const MatmulArgs& a, std::size_t binding)
      : t(tile), out{tile.as<float>(binding) + tile.y0 * a.n + tile.x0, a.n}, at(single() ? Output{apart, 0} : out) {}
  bool single() const { return t.y1 - t.y0 == 1; }

  // From the bias, what `out` held, both, or zero. False: another thread does the tile.
  bool start(const MatmulArgs& a, const float* bias) {
    if (!single() && !t.may_write()) return false;
    for (std::size_t y = 0; y < t.y1 - t.y0; ++y)
      for (std::size_t i = 0; i < t.x1 - t.x0; ++i)
        at.data[y * at.stride + i] =
            (a.accumulate ? out.data[y * out.stride + i] : 0.0F) + (a.has_bias ? bias[t.x0 + i] : 0.0F);
    return true;
  }
  void finish() const {
    if (single() && t.may_write()) std::memcpy(out.data, apart, (t.x1 - t.x0) * sizeof *apart);
  }
};

template <class Dot> void dense(const CpuTile& t) {
  const auto& a = t.constants_as<MatmulArgs>();
  const std::size_t k = a.k, positions = t.y1 - t.y0;
  Sums sums(t, a, 3);
  if (!sums.start(a, t.as<const float>(2))) return;
  const Matrix w{t.buffers[1] + t.x0 * k * Dot::w_bytes, k * Dot::w_bytes};
  const float* x = t.as<const float>(0) + t.y0 * k;
  const std::size_t span = positions == 1 ? span_single : span_several;
  for (std::size_t j = 0; j < k; j += span) {
    const std::size_t count = std::min(span, k - j);
    Matrix xs{reinterpret_cast<const std::byte*>(x + j), k * sizeof(float)};
    if constexpr (std::is_same_v<typename Dot::X, bf16>) {
      auto* rounded = reinterpret_cast<bf16*>(t.shared);
      for (std::size_t y = 0; y < positions; ++y) Dot::round(x + y * k + j, count, rounded + y * count);
      xs = {t.shared, count * sizeof(bf16)};
    }
    product<Dot>({w.data + j * Dot::w_bytes, w.stride}, t.x1 - t.x0, xs, positions, count, sums.at);
  }
  sums.finish();
}

float element(DType type, const std::byte* p, std::size_t i) {
  if (type == DType::f16) return to_float(simd::load_as<f16>(p + 2 * i));
  if (type == DType::bf16) return to_float(simd::load_as<bf16>(p + 2 * i));
  return simd::load_as<float>(p + 4 * i);
}

template <int bits> void dequantise_whole_bytes(const std::byte* q, std::size_t count, float s, float b, float* w) {
  for (std::size_t i = 0; i < count; i += Floats::width)
    simd::store_scaled(w + i, simd::load_integers(q + i * bits / 8, std::integral_constant<int, bits>{}), s, b);
}

// One group of a row, s·q + b in f32.
[[gnu::flatten]] void dequantise_group(const std::byte* row, int bits, std::size_t first, std::size_t group, float s,
                                       float b, float* w) {
  if (bits == 4) return dequantise_whole_bytes<4>(row + first / 2, group, s, b, w);
  if (bits == 8) return dequantise_whole_bytes<8>(row + first, group, s, b, w);
  const unsigned mask = (1U << bits) - 1;
  std::size_t bit = first * static_cast<std::size_t>(bits);
  for (std::size_t i = 0; i < group; ++i, bit += static_cast<std::size_t>(bits)) {
    unsigned word = static_cast<unsigned>(row[bit / 8]);
    if (bit % 8 + static_cast<std::size_t>(bits) > 8) word |= static_cast<unsigned>(row[bit / 8 + 1]) << 8;
    w[i] = static_cast<float>(static_cast<int>((word >> (bit % 8)) & mask)) * s + b;
  }
}

void affine(const CpuTile& t) {
  const auto& a = t.constants_as<MatmulArgs>();
  const std::size_t k = a.k, groups = k / a.group, row_bytes = k * a.bits / 8, positions = t.y1 - t.y0;
  Sums sums(t, a, 5);
  if (!sums.start(a, t.as<const float>(4))) return;
  auto* w = reinterpret_cast<float*>(t.shared);
  for (std::size_t i = t.x0; i < t.x1; i += dequantised_rows) {
    const std::size_t rows = std::min<std::size_t>(dequantised_rows, t.x1 - i);
    for (std::size_t j = 0; j < k; j += chunk) {
      const std::size_t count = std::min(chunk, k - j);
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < count; c += a.group) {
          const std::size_t g = (i + r) * groups + (j + c) / a.group;
          dequantise_group(t.buffers[1] + (i + r) * row_bytes, a.bits, j + c, a.group,
                           element(a.dtype, t.buffers[2], g), element(a.dtype, t.buffers[3], g), w + r * count + c);
        }
      const Matrix x{t.buffers[0] + (t.y0 * k + j) * sizeof(float), k * sizeof(float)};
      product<WidenedDot<float>>({t.shared, count * sizeof(float)}, rows, x, positions, count,
                                 sums.at.from(0, i - t.x0));
    }
  }
  sums.finish();
}

}  // namespace

template <> void matmul_f32_cpu<kIsa>(const CpuTile& t) { dense<WidenedDot<float>>(t); }
template <> void matmul_f16_cpu<kIsa>(const CpuTile& t) { dense<WidenedDot<f16>>(t); }
template <> void matmul_bf16_cpu<kIsa>(const CpuTile& t) { dense<WidenedDot<bf16>>(t); }
template <> void matmul_bf16_fast_cpu<kIsa>(const CpuTile& t) {
#if defined(__AVX512BF16__)
  dense<Bf16Dot>(t);
#else
  dense<WidenedDot<bf16>>(t);
#endif
}
template <> void matmul_affine_cpu<kIsa>(const CpuTile& t) { affine(t); }

}  // namespace halyard::ops

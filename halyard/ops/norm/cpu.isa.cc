// rms_norm:   out[r, i] = x[r, i] / sqrt(mean_i(x[r, i]²) + eps) · weight[i]
// layer_norm: out[r, i] = (x[r, i] - mean_i) / sqrt(var_i + eps) · weight[i] + bias[i]
// x, out [rows, width] f32. Rows fit the first cache, so the passes after the first cost little: limited by bytes.
// Sums run over blocks of 1024 elements in f32 lanes, the blocks' sums in f64: an order given by the width alone.
#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/norm/kernels.h"

namespace halyard::ops {
namespace {

using namespace simd;

/// Σ f(x[i]), f given a vector and how many of its lanes count.
template <class Term>
double sum_over(const float* x, std::size_t width, Term term) {
  constexpr std::size_t block = 1024;
  double total = 0;
  for (std::size_t begin = 0; begin < width; begin += block) {
    const float* p = x + begin;
    const std::size_t count = width - begin < block ? width - begin : block;
    F s[4] = {};
    std::size_t i = 0;
    for (; i + 4 * kLanes <= count; i += 4 * kLanes)
      for (int j = 0; j < 4; ++j) s[j] = term(load(p + i + j * kLanes), Whole{}, s[j]);
    for (; i + kLanes <= count; i += kLanes) s[0] = term(load(p + i), Whole{}, s[0]);
    if (i < count) s[1] = term(load(p + i, count - i), Part{count - i}, s[1]);
    total += static_cast<double>(sum((s[0] + s[1]) + (s[2] + s[3])));
  }
  return total;
}

double sum_of_squares(const float* x, std::size_t width) {
  return sum_over(x, width, [](F v, auto, F s) { return fma(v, v, s); });
}
double sum_of(const float* x, std::size_t width) {
  return sum_over(x, width, [](F v, auto, F s) { return s + v; });
}
F first_lanes(F v, Whole) { return v; }
F first_lanes(F v, Part part) { return select(iota() < static_cast<std::int32_t>(part.n), v, F{}); }
double sum_of_squared_deviations(const float* x, std::size_t width, float mean) {
  return sum_over(x, width, [mean](F v, auto n, F s) {
    const F d = first_lanes(v - mean, n);
    return fma(d, d, s);
  });
}

template <class W>
void rms_norm_row(const float* x, const W* weight, float* out, const NormConstants& c) {
  const double mean = sum_of_squares(x, c.width) / static_cast<double>(c.width);
  const auto scale = static_cast<float>(1 / __builtin_sqrt(mean + static_cast<double>(c.eps)));
  for_each_vector(c.width, [&](std::size_t i, auto n) {
    store(out + i, load(x + i, n) * scale * load(weight + i, n), n);
  });
}

template <class W, class B>
void layer_norm_row(const float* x, const W* weight, const B* bias, float* out, const NormConstants& c) {
  const auto width = static_cast<double>(c.width);
  const auto mean = static_cast<float>(sum_of(x, c.width) / width);
  const double variance = sum_of_squared_deviations(x, c.width, mean) / width;
  const auto scale = static_cast<float>(1 / __builtin_sqrt(variance + static_cast<double>(c.eps)));
  for_each_vector(c.width, [&](std::size_t i, auto n) {
    const F y = (load(x + i, n) - mean) * scale;
    store(out + i, c.has_bias ? fma(y, load(weight + i, n), load(bias + i, n)) : y * load(weight + i, n), n);
  });
}

/// f(row) for the tile's rows.
template <class Row>
void for_each_row(const CpuTile& t, const NormConstants& c, Row row) {
  const std::uint64_t begin = t.x0 * c.item_rows, limit = t.x1 * c.item_rows;
  const std::uint64_t end = limit < c.rows ? limit : c.rows;
  for (std::uint64_t r = begin; r < end; ++r) row(r);
}

/// f(p) with p of the element type that `dtype` names.
template <class Body>
void with_type(DType dtype, const std::byte* p, Body body) {
  if (dtype == DType::f32) body(reinterpret_cast<const float*>(p));
  if (dtype == DType::f16) body(reinterpret_cast<const f16*>(p));
  if (dtype == DType::bf16) body(reinterpret_cast<const bf16*>(p));
}

}  // namespace

template <> void rms_norm_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<NormConstants>();
  with_type(c.weight, t.buffers[1], [&](const auto* weight) {
    for_each_row(t, c, [&](std::uint64_t r) {
      rms_norm_row(t.as<float>(0) + r * c.width, weight, t.as<float>(2) + r * c.width, c);
    });
  });
}

template <> void layer_norm_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<NormConstants>();
  with_type(c.weight, t.buffers[1], [&](const auto* weight) {
    with_type(c.bias, t.buffers[2], [&](const auto* bias) {
      for_each_row(t, c, [&](std::uint64_t r) {
        layer_norm_row(t.as<float>(0) + r * c.width, weight, bias, t.as<float>(3) + r * c.width, c);
      });
    });
  });
}

}  // namespace halyard::ops

// One row's norm, for the kernels that need it. Only *.isa.cc files include this; everything has internal linkage, as in
// ops/cpu/simd.h. Sums run over blocks of 1024 elements in f32 lanes, the blocks' sums in f64: an order given by the width
// alone.
#pragma once

#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/norm/kernels.h"

namespace halyard::ops {
namespace {

/// Σ f(x[i]), f given a vector and how many of its lanes count.
template <class Term> double sum_over(const float* x, std::size_t width, Term term) {
  using namespace simd;
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

inline double sum_of_squares(const float* x, std::size_t width) {
  return sum_over(x, width, [](simd::F v, auto, simd::F s) { return simd::fma(v, v, s); });
}

template <class W> void rms_norm_row(const float* x, const W* weight, float* out, const NormConstants& c) {
  const double mean = sum_of_squares(x, c.width) / static_cast<double>(c.width);
  const auto scale = static_cast<float>(1 / __builtin_sqrt(mean + static_cast<double>(c.eps)));
  simd::for_each_vector(c.width, [&](std::size_t i, auto n) {
    simd::store(out + i, simd::load(x + i, n) * scale * simd::load(weight + i, n), n);
  });
}

/// f(p) with p of the element type that `dtype` names.
template <class Body> void with_type(DType dtype, const std::byte* p, Body body) {
  if (dtype == DType::f32) body(reinterpret_cast<const float*>(p));
  if (dtype == DType::f16) body(reinterpret_cast<const f16*>(p));
  if (dtype == DType::bf16) body(reinterpret_cast<const bf16*>(p));
}

}  // namespace
}  // namespace halyard::ops

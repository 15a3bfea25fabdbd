// rms_norm:   out[r, i] = x[r, i] / sqrt(mean_i(x[r, i]²) + eps) · weight[i]
// layer_norm: out[r, i] = (x[r, i] - mean_i) / sqrt(var_i + eps) · weight[i] + bias[i]
// x, out [rows, width] f32. Rows fit the first cache, so the passes after the first cost little: limited by bytes.
#include "halyard/ops/norm/cpu.h"
#include "halyard/ops/elementwise/functions.h"
#include "halyard/ops/matmul/pack.h"
#include "halyard/ops/norm/rows.h"

namespace halyard::ops {
namespace {

using namespace simd;

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

}  // namespace

template <> void rms_norm_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<NormConstants>();
  with_type(c.weight, t.buffers[1], [&](const auto* weight) {
    for (std::uint64_t r = t.x0; r < t.x1; ++r)
      rms_norm_row(t.as<float>(0) + r * c.width, weight, t.as<float>(2) + r * c.width, c);
  });
}

template <> void rms_norm_pack_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<NormConstants>();
  auto* row = reinterpret_cast<float*>(t.shared);
  with_type(c.weight, t.buffers[1], [&](const auto* weight) {
    for (std::uint64_t r = t.x0; r < t.x1; ++r) {
      rms_norm_row(t.as<float>(0) + r * c.width, weight, row, c);
      pack_row(row, t.as<PackedGroup>(2) + r * c.width / 32, c.width / 32);
    }
  });
}

template <> void add_rms_norm_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<NormConstants>();
  with_type(c.weight, t.buffers[2], [&](const auto* weight) {
    for (std::uint64_t r = t.x0; r < t.x1; ++r) {
      const float* a = t.as<float>(0) + r * c.width;
      const float* b = t.as<float>(1) + r * c.width;
      float* sum = t.as<float>(3) + r * c.width;
      for_each_vector(c.width,
                      [&](std::size_t i, auto n) { store(sum + i, Add{}(load(a + i, n), load(b + i, n)), n); });
      rms_norm_row(sum, weight, t.as<float>(4) + r * c.width, c);
    }
  });
}

template <> void layer_norm_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<NormConstants>();
  with_type(c.weight, t.buffers[1], [&](const auto* weight) {
    with_type(c.bias, t.buffers[2], [&](const auto* bias) {
      for (std::uint64_t r = t.x0; r < t.x1; ++r)
        layer_norm_row(t.as<float>(0) + r * c.width, weight, bias, t.as<float>(3) + r * c.width, c);
    });
  });
}

}  // namespace halyard::ops

// out[t, c] = silu(bias[c] + Σ_k weight[k, c] · x[t - K + 1 + k, c]), x before the first row the state's rows. Each tile
// takes some channels of one sequence through all its rows: limited by operations, those of silu above all.
#include "halyard/ops/causal_conv/cpu.h"
#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/cpu/slots.h"

namespace halyard::ops {

using namespace simd;

template <> void causal_conv_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<CausalConvConstants>();
  const std::size_t width = c.channels, past = c.taps - 1;
  const float *weight = t.as<float>(1), *bias = t.as<float>(2);
  const F zero = {};
  for (std::uint64_t s = t.y0; s < t.y1; ++s) {
    const SlotSpan span = slot_span(t, 3, s, c.rows, c.slots);
    if (span.rows == 0) continue;
    const float* x = t.as<float>(0) + span.first * width;
    float* out = t.as<float>(7) + span.first * width;
    const float* before = span.from < 0 ? nullptr : t.as<float>(6) + static_cast<std::size_t>(span.from) * past * width;
    float* after = t.as<float>(6) + static_cast<std::size_t>(span.to) * past * width;
    // Row i of the state's followed by the sequence's.
    const auto row = [&](std::size_t i, std::size_t at, auto n) {
      if (i >= past) return load(x + (i - past) * width + at, n);
      return before ? load(before + i * width + at, n) : zero;
    };
    for_each_vector(t.x1 - t.x0, [&](std::size_t i, auto n) {
      const std::size_t at = t.x0 + i;
      for (std::size_t r = 0; r < span.rows; ++r) {
        F sum = c.has_bias ? load(bias + at, n) : zero;
        for (std::size_t k = 0; k < c.taps; ++k) sum = fma(load(weight + k * width + at, n), row(r + k, at, n), sum);
        store(out + r * width + at, sum / (1.0F + exp(-sum)), n);
      }
      for (std::size_t k = 0; k < past; ++k) store(after + k * width + at, row(span.rows + k, at, n), n);
    });
  }
}

}  // namespace halyard::ops

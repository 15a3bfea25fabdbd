// For each head, in the rows' order: s = e^(δ·a) · s + δ · x ⊗ B, out = s · C + d · x, δ = clamp(softplus(dt + bias)); s is [P, N].
// A head's state (32 KiB at P = 64, N = 128) lies in the first cache: limited by operations, four for each element of it.
#include <math.h>

#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/cpu/slots.h"
#include "halyard/ops/ssd/cpu.h"

namespace halyard::ops {
namespace {

using namespace simd;

float softplus(float x) { return x > 20 ? x : ::log1pf(::expf(x)); }

struct Head {
  const float *xbc, *dt;  // of the sequence's first row
  float *state, *out;
  float a, d, bias;
};

void run_head(const SsdConstants& c, std::uint64_t h, std::size_t rows, const Head& head) {
  const std::size_t inner = std::size_t{c.heads} * c.head_dim, pairs = std::size_t{c.groups} * c.state,
                    group = h / (c.heads / c.groups) * c.state;
  for (std::size_t r = 0; r < rows; ++r) {
    const float* x = head.xbc + r * (inner + 2 * pairs);
    const float *b = x + inner + group, *to_out = b + pairs;
    x += h * c.head_dim;
    float step = softplus(head.dt[r * c.heads + h] + head.bias);
    step = step < c.dt_min ? c.dt_min : step > c.dt_max ? c.dt_max : step;
    const F decay = splat(::expf(step * head.a));
    for (std::size_t p = 0; p < c.head_dim; ++p) {
      float* state = head.state + p * c.state;
      const F in = splat(step * x[p]);
      F y = {};
      for_each_vector(c.state, [&](std::size_t i, auto n) {
        const F s = fma(load(state + i, n), decay, load(b + i, n) * in);
        store(state + i, s, n);
        y = fma(s, load(to_out + i, n), y);
      });
      head.out[r * inner + h * c.head_dim + p] = sum(y) + head.d * x[p];
    }
  }
}

}  // namespace

template <> void ssd_cpu<kIsa>(const CpuTile& t) {
  const auto& c = t.constants_as<SsdConstants>();
  const std::size_t inner = std::size_t{c.heads} * c.head_dim, all = inner + 2 * std::size_t{c.groups} * c.state,
                    of_head = std::size_t{c.head_dim} * c.state;
  for (std::uint64_t s = t.y0; s < t.y1; ++s) {
    const SlotSpan span = slot_span(t, 5, s, c.rows, c.slots);
    if (span.rows == 0) continue;
    for (std::uint64_t h = t.x0; h < t.x1; ++h) {
      float* state = t.as<float>(8) + (static_cast<std::size_t>(span.to) * c.heads + h) * of_head;
      if (span.from < 0) __builtin_memset(state, 0, of_head * sizeof(float));
      else
        __builtin_memcpy(state, t.as<float>(8) + (static_cast<std::size_t>(span.from) * c.heads + h) * of_head,
                         of_head * sizeof(float));
      run_head(c, h, span.rows,
               {t.as<float>(0) + span.first * all, t.as<float>(1) + span.first * c.heads, state,
                t.as<float>(9) + span.first * inner, t.as<float>(2)[h], t.as<float>(3)[h], t.as<float>(4)[h]});
    }
  }
}

}  // namespace halyard::ops

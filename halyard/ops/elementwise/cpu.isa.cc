// out[i] = f(x[i]) or f(a[i], b[i]), any shape. Limited by bytes; silu and gelu, where the data is in cache, by operations.
#include "halyard/ops/elementwise/kernels.h"
#include "halyard/ops/cpu/simd.h"

namespace halyard::ops {
namespace {

using namespace simd;

struct Range {
  std::size_t begin, count;
};
Range range_of(const CpuTile& t) {
  const auto& c = t.constants_as<ElementwiseConstants>();
  const std::size_t begin = t.x0 * c.item, end = t.x1 * c.item;
  return {begin, (end < c.elements ? end : c.elements) - begin};
}

template <class F2>
void binary(const CpuTile& t, F2 f) {
  const Range r = range_of(t);
  const float* a = t.as<float>(0) + r.begin;
  const float* b = t.as<float>(1) + r.begin;
  float* out = t.as<float>(2) + r.begin;
  for_each_vector(r.count, [&](std::size_t i, auto n) { store(out + i, f(load(a + i, n), load(b + i, n)), n); });
}

template <class F1>
void unary(const CpuTile& t, F1 f) {
  const Range r = range_of(t);
  const float* x = t.as<float>(0) + r.begin;
  float* out = t.as<float>(1) + r.begin;
  for_each_vector(r.count, [&](std::size_t i, auto n) { store(out + i, f(load(x + i, n)), n); });
}

// x · Φ(x), Φ the normal distribution. Φ(-|x|) = e^(-x²/2) · t · p(t) with t = 1 / (1 + 0.3 |x|) and p fitted for
// |x| ≤ 15 to 4e-9; Φ(|x|) = 1 - Φ(-|x|).
F gelu_exact(F x) {
  const F a = bits_to_float(float_to_bits(x) & 0x7fffffff);
  const F t = 1.0F / fma(splat(0.3F), a, splat(1.0F));
  constexpr float p[] = {-2.0628694567e-2F, 1.1246492360e-1F, -2.2828497057e-1F, 1.9188336308e-1F, -7.9509077832e-2F,
                         9.6204798576e-2F,  7.8372292595e-2F, 1.1023932623e-1F,  1.1957132068e-1F, 1.1968671648e-1F};
  F tail = splat(p[0]);
  for (int i = 1; i < 10; ++i) tail = fma(tail, t, splat(p[i]));
  // x² = square + error exactly, from the halves of x; e^-error ≈ 1 - error.
  const F high = bits_to_float(float_to_bits(a) & -0x1000), low = a - high;
  const F square = a * a;
  const F error = ((high * high - square) + 2.0F * high * low) + low * low;
  tail = tail * t * exp(square * -0.5F) * fma(error, splat(-0.5F), splat(1.0F));
  tail = a > splat(15.0F) ? F{} : tail;  // where the error above is no number
  return x * (x < F{} ? tail : 1.0F - tail);
}

}  // namespace

template <> void add_cpu<kIsa>(const CpuTile& t) {
  binary(t, [](F a, F b) { return a + b; });
}
template <> void mul_cpu<kIsa>(const CpuTile& t) {
  binary(t, [](F a, F b) { return a * b; });
}
template <> void silu_mul_cpu<kIsa>(const CpuTile& t) {
  binary(t, [](F gate, F up) { return gate / (1.0F + exp(-gate)) * up; });
}
template <> void gelu_exact_cpu<kIsa>(const CpuTile& t) {
  unary(t, [](F x) { return gelu_exact(x); });
}
// (1 + tanh u) / 2 = 1 / (1 + e^(-2u)), which does not cancel.
template <> void gelu_tanh_cpu<kIsa>(const CpuTile& t) {
  unary(t, [](F x) {
    constexpr float two_root = 1.5957691216057308F;  // 2 √(2/π)
    const F u2 = two_root * x * fma(x * x, splat(0.044715F), splat(1.0F));
    return x / (1.0F + exp(-u2));
  });
}

}  // namespace halyard::ops

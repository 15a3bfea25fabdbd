// The functions of elementwise kernels, for those that have them inside. Only *.isa.cc files include this; everything has
// internal linkage, as in ops/cpu/simd.h.
#pragma once

#include "halyard/ops/cpu/simd.h"
#include "halyard/ops/elementwise/kernels.h"

namespace halyard::ops {
namespace {

// x · Φ(x), Φ the normal distribution. Φ(-|x|) = e^(-x²/2) · t · p(t) with t = 1 / (1 + 0.3 |x|) and p fitted for
// |x| ≤ 15 to 4e-9; Φ(|x|) = 1 - Φ(-|x|).
struct GeluExact {
  simd::F operator()(simd::F x) const {
    using namespace simd;
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
};

// (1 + tanh u) / 2 = 1 / (1 + e^(-2u)), which does not cancel.
struct GeluTanh {
  simd::F operator()(simd::F x) const {
    using namespace simd;
    constexpr float two_root = 1.5957691216057308F;  // 2 √(2/π)
    const F u2 = two_root * x * fma(x * x, splat(0.044715F), splat(1.0F));
    return x / (1.0F + exp(-u2));
  }
};

struct Add {
  simd::F operator()(simd::F a, simd::F b) const { return a + b; }
};
struct Mul {
  simd::F operator()(simd::F a, simd::F b) const { return a * b; }
};
struct SiluMul {
  simd::F operator()(simd::F gate, simd::F up) const { return gate / (1.0F + simd::exp(-gate)) * up; }
};
template <class Gelu> struct GeluMul {
  simd::F operator()(simd::F gate, simd::F up) const { return Gelu{}(gate)*up; }
};

/// f(SiluMul{}), …: the function that `gate` names.
template <class Body> void with_gate(Gate gate, Body f) {
  if (gate == Gate::silu) f(SiluMul{});
  if (gate == Gate::gelu_exact) f(GeluMul<GeluExact>{});
  if (gate == Gate::gelu_tanh) f(GeluMul<GeluTanh>{});
}

/// out[i] = f(a[i], b[i]) for i < 32.
template <class F2> void combine_32(const float* a, const float* b, float* out, F2 f) {
  for (std::size_t i = 0; i < 32; i += simd::kLanes) simd::store(out + i, f(simd::load(a + i), simd::load(b + i)));
}

}  // namespace
}  // namespace halyard::ops

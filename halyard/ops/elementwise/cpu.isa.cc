// out[i] = f(x[i]) or f(a[i], b[i]), any shape. Limited by bytes; silu and gelu, where the data is in cache, by operations.
#include "halyard/ops/elementwise/cpu.h"
#include "halyard/ops/elementwise/functions.h"
#include "halyard/ops/matmul/pack.h"

namespace halyard::ops {
namespace {

using namespace simd;

template <class F2> void binary(const CpuTile& t, F2 f) {
  const float* a = t.as<float>(0) + t.x0;
  const float* b = t.as<float>(1) + t.x0;
  float* out = t.as<float>(2) + t.x0;
  for_each_vector(t.x1 - t.x0, [&](std::size_t i, auto n) { store(out + i, f(load(a + i, n), load(b + i, n)), n); });
}

template <class F1> void unary(const CpuTile& t, F1 f) {
  const float* x = t.as<float>(0) + t.x0;
  float* out = t.as<float>(1) + t.x0;
  for_each_vector(t.x1 - t.x0, [&](std::size_t i, auto n) { store(out + i, f(load(x + i, n)), n); });
}

}  // namespace

template <> void add_cpu<kIsa>(const CpuTile& t) { binary(t, Add{}); }
template <> void mul_cpu<kIsa>(const CpuTile& t) { binary(t, Mul{}); }
template <> void silu_mul_cpu<kIsa>(const CpuTile& t) { binary(t, SiluMul{}); }
template <> void gelu_exact_cpu<kIsa>(const CpuTile& t) { unary(t, GeluExact{}); }
template <> void gelu_tanh_cpu<kIsa>(const CpuTile& t) { unary(t, GeluTanh{}); }
template <> void gelu_exact_mul_cpu<kIsa>(const CpuTile& t) { binary(t, GeluMul<GeluExact>{}); }
template <> void gelu_tanh_mul_cpu<kIsa>(const CpuTile& t) { binary(t, GeluMul<GeluTanh>{}); }

template <> void gated_pack_cpu<kIsa>(const CpuTile& t) {
  with_gate(t.constants_as<GatedPackConstants>().gate, [&](auto f) {
    for (std::size_t g = t.x0; g < t.x1; ++g) {
      float product[32];
      combine_32(t.as<float>(0) + 32 * g, t.as<float>(1) + 32 * g, product, f);
      pack(product, t.as<PackedGroup>(2)[g]);
    }
  });
}

}  // namespace halyard::ops

// out[p, i] = Σ_j x[p, j] · w[e, i, j], e the expert whose rows p is among: the plain products, each over its own rows.
#include <algorithm>

#include "halyard/ops/matmul/cpu.h"

namespace halyard::ops {
namespace {

/// `of_one`: the product with one matrix, of whose weights there are `weights` bindings.
void by_expert(const CpuTile& t, std::size_t weights, CpuKernelFn of_one) {
  const auto& a = t.constants_as<ExpertArgs>();
  const auto* starts = t.as<const std::int32_t>(1 + weights);
  std::byte* buffers[6];
  std::copy_n(t.buffers, 3 + weights, buffers);
  CpuTile part = t;
  part.buffers = buffers;
  part.constants = &a.product;
  for (std::size_t e = 0; e < a.experts; ++e) {
    if (starts[e] < 0 || starts[e] > starts[e + 1] || static_cast<std::uint64_t>(starts[e + 1]) > a.product.positions)
      return t.fail("an expert's rows begin at %lld, the next one's at %lld", starts[e], starts[e + 1]);
    part.y0 = std::max(t.y0, static_cast<std::uint64_t>(starts[e]));
    part.y1 = std::min(t.y1, static_cast<std::uint64_t>(starts[e + 1]));
    if (part.y0 >= part.y1) continue;
    for (std::size_t w = 0; w < weights; ++w) buffers[1 + w] = t.buffers[1 + w] + e * a.strides[w];
    of_one(part);
  }
  (void)t.may_write();  // a restartable kernel asks, even where no expert has any of its rows
}

}  // namespace

template <> void experts_f32_cpu<kIsa>(const CpuTile& t) { by_expert(t, 1, matmul_f32_cpu<kIsa>); }
template <> void experts_f16_cpu<kIsa>(const CpuTile& t) { by_expert(t, 1, matmul_f16_cpu<kIsa>); }
template <> void experts_bf16_cpu<kIsa>(const CpuTile& t) { by_expert(t, 1, matmul_bf16_cpu<kIsa>); }
template <> void experts_bf16_fast_cpu<kIsa>(const CpuTile& t) { by_expert(t, 1, matmul_bf16_fast_cpu<kIsa>); }
template <> void experts_affine_cpu<kIsa>(const CpuTile& t) { by_expert(t, 3, matmul_affine_cpu<kIsa>); }
template <> void experts_affine4_fast_cpu<kIsa>(const CpuTile& t) { by_expert(t, 1, matmul_affine4_fast_cpu<kIsa>); }
template <> void experts_affine8_fast_cpu<kIsa>(const CpuTile& t) { by_expert(t, 1, matmul_affine8_fast_cpu<kIsa>); }

}  // namespace halyard::ops

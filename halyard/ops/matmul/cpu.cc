#include "halyard/ops/matmul/cpu.h"

#include <algorithm>

namespace halyard::ops::cpu {
namespace {

/// Of one matrix or of experts.
MatmulArgs product_of(const LaunchInputs& in) {
  return in.arguments.size() == sizeof(ExpertArgs) ? in.arguments.as<ExpertArgs>().product
                                                   : in.arguments.as<MatmulArgs>();
}

/// As many bytes of scratch as `scratch` says.
template <std::size_t (*scratch)(const MatmulArgs&)> Launch in_rows_and_positions(const LaunchInputs& in) {
  const MatmulArgs a = product_of(in);
  return {.grid = {a.n, a.positions}, .block = {tile_rows, tile_positions}, .shared_bytes = scratch(a)};
}
std::size_t no_scratch(const MatmulArgs&) { return 0; }
std::size_t rounded_activations(const MatmulArgs& a) {
  // A tile of one position can also be the last of many.
  const std::size_t several =
      std::min<std::size_t>(a.positions, tile_positions) * std::min<std::size_t>(a.k, span_several);
  return 2 * std::max(std::min<std::size_t>(a.k, span_single), several);
}
std::size_t dequantised(const MatmulArgs&) { return dequantised_rows * chunk * sizeof(float); }

Launch in_panels(const LaunchInputs& in) {
  const MatmulArgs a = product_of(in);
  return {.grid = {panels_of(a.n), a.positions}, .block = {tile_rows / panel_rows, tile_positions}};
}

// Tiles read as many rows of weights in a row as those of plain products do.
Launch in_gated_groups(const LaunchInputs& in) {
  const MatmulArgs a = in.arguments.as<GatedArgs>().gate;
  return {.grid = {a.n / 32, a.positions},
          .block = {tile_rows / 32, fused_positions},
          .shared_bytes = std::min<std::uint64_t>(a.positions, fused_positions) * 2 * tile_rows * sizeof(float)};
}

Launch in_heads(const LaunchInputs& in) {
  const auto a = in.arguments.as<ProductHeadsArgs>();
  const std::uint64_t positions = a.product.positions;
  return {.grid = {a.heads.heads, positions},
          .block = {1, fused_positions},
          .shared_bytes = (std::min<std::uint64_t>(positions, fused_positions) + 1) * a.heads.head_dim * sizeof(float)};
}

constexpr CpuForm restartable(CpuKernelSelect select, LaunchFn launch) {
  return {.select = select, .restartable = true, .launch = launch};
}

}  // namespace

const CpuForm matmul_f32 = restartable(HALYARD_CPU_KERNEL(matmul_f32_cpu), in_rows_and_positions<no_scratch>);
const CpuForm matmul_f16 = restartable(HALYARD_CPU_KERNEL(matmul_f16_cpu), in_rows_and_positions<no_scratch>);
const CpuForm matmul_bf16 = restartable(HALYARD_CPU_KERNEL(matmul_bf16_cpu), in_rows_and_positions<no_scratch>);
const CpuForm matmul_bf16_fast =
    restartable(HALYARD_CPU_KERNEL(matmul_bf16_fast_cpu), in_rows_and_positions<rounded_activations>);
const CpuForm matmul_affine = restartable(HALYARD_CPU_KERNEL(matmul_affine_cpu), in_rows_and_positions<dequantised>);
const CpuForm matmul_affine4_fast = restartable(HALYARD_CPU_KERNEL(matmul_affine4_fast_cpu), in_panels);
const CpuForm matmul_affine8_fast = restartable(HALYARD_CPU_KERNEL(matmul_affine8_fast_cpu), in_panels);
const CpuForm experts_f32 = restartable(HALYARD_CPU_KERNEL(experts_f32_cpu), in_rows_and_positions<no_scratch>);
const CpuForm experts_f16 = restartable(HALYARD_CPU_KERNEL(experts_f16_cpu), in_rows_and_positions<no_scratch>);
const CpuForm experts_bf16 = restartable(HALYARD_CPU_KERNEL(experts_bf16_cpu), in_rows_and_positions<no_scratch>);
const CpuForm experts_bf16_fast =
    restartable(HALYARD_CPU_KERNEL(experts_bf16_fast_cpu), in_rows_and_positions<rounded_activations>);
const CpuForm experts_affine = restartable(HALYARD_CPU_KERNEL(experts_affine_cpu), in_rows_and_positions<dequantised>);
const CpuForm experts_affine4_fast = restartable(HALYARD_CPU_KERNEL(experts_affine4_fast_cpu), in_panels);
const CpuForm experts_affine8_fast = restartable(HALYARD_CPU_KERNEL(experts_affine8_fast_cpu), in_panels);
const CpuForm pack_activations = {.select = HALYARD_CPU_KERNEL(pack_activations_cpu),
                                  .launch = [](const LaunchInputs& in) {
                                    const auto c = in.arguments.as<PackConstants>();
                                    return Launch{.grid = {c.groups, c.rows}, .block = {256, 8}};
                                  }};
const CpuForm matmul_affine4_gated_pack =
    restartable(HALYARD_CPU_KERNEL(matmul_affine4_gated_pack_cpu), in_gated_groups);
const CpuForm matmul_affine8_gated_pack =
    restartable(HALYARD_CPU_KERNEL(matmul_affine8_gated_pack_cpu), in_gated_groups);
const CpuForm matmul_affine4_heads = restartable(HALYARD_CPU_KERNEL(matmul_affine4_heads_cpu), in_heads);
const CpuForm matmul_affine8_heads = restartable(HALYARD_CPU_KERNEL(matmul_affine8_heads_cpu), in_heads);

}  // namespace halyard::ops::cpu

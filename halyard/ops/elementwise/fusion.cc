#include "halyard/ops/elementwise/kernels.h"
#include "halyard/ops/matmul/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {
namespace {

const KernelDef gelu_exact_mul_def = {"gelu_exact_mul_f32", "rrw", {.cpu = &cpu::gelu_exact_mul}};
const KernelDef gelu_tanh_mul_def = {"gelu_tanh_mul_f32", "rrw", {.cpu = &cpu::gelu_tanh_mul}};
const KernelDef gated_pack_def = {"gated_pack", "rrw", {.cpu = &cpu::gated_pack}};

Fused gelu_into_mul(Parts p) {
  const Record &gelu = p[0], &mul = p[1];
  const Binding& x = gelu.bindings[1];
  const bool left = mul.bindings[0] == x, right = mul.bindings[1] == x;
  if (left == right) return {};  // not all of it, or its square
  return Joined{.bindings = {{0, 0}, {1, left ? 1U : 0U}, {1, 2}},
                .constants = constants_of<ElementwiseConstants>(mul)};
}

template <Gate gate> Fused gated_into_pack(Parts p) {
  const Record &gated = p[0], &pack = p[1];
  const auto c = constants_of<PackConstants>(pack);
  if (gated.bindings[2] != pack.bindings[0]) return {};
  return Joined{.bindings = {{0, 0}, {0, 1}, {1, 1}}, .constants = GatedPackConstants{c.groups * c.rows, gate}};
}

}  // namespace

std::vector<FusionRule> elementwise_rules() {
  constexpr std::string_view pack = "pack_activations";
  return {{{"gelu_exact_f32"}, "mul_f32", &gelu_exact_mul_def, gelu_into_mul},
          {{"gelu_tanh_f32"}, "mul_f32", &gelu_tanh_mul_def, gelu_into_mul},
          {{"silu_mul_f32"}, pack, &gated_pack_def, gated_into_pack<Gate::silu>},
          {{"gelu_exact_mul_f32"}, pack, &gated_pack_def, gated_into_pack<Gate::gelu_exact>},
          {{"gelu_tanh_mul_f32"}, pack, &gated_pack_def, gated_into_pack<Gate::gelu_tanh>}};
}

}  // namespace halyard::ops

#include "halyard/ops/elementwise/cpu.h"

#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {
namespace {

constexpr CpuForm by_element(CpuKernelSelect select) {
  return {.select = select, .launch = in_elements_of<ElementwiseConstants>};
}

}  // namespace

const CpuForm add = by_element(HALYARD_CPU_KERNEL(add_cpu));
const CpuForm mul = by_element(HALYARD_CPU_KERNEL(mul_cpu));
const CpuForm silu_mul = by_element(HALYARD_CPU_KERNEL(silu_mul_cpu));
const CpuForm gelu_exact = by_element(HALYARD_CPU_KERNEL(gelu_exact_cpu));
const CpuForm gelu_tanh = by_element(HALYARD_CPU_KERNEL(gelu_tanh_cpu));
const CpuForm gelu_exact_mul = by_element(HALYARD_CPU_KERNEL(gelu_exact_mul_cpu));
const CpuForm gelu_tanh_mul = by_element(HALYARD_CPU_KERNEL(gelu_tanh_mul_cpu));
const CpuForm gated_pack = {.select = HALYARD_CPU_KERNEL(gated_pack_cpu), .launch = [](const LaunchInputs& in) {
                              return in_elements(in.arguments.as<GatedPackConstants>().groups, kTileElements / 32);
                            }};

}  // namespace halyard::ops::cpu

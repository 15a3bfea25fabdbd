#include "halyard/ops/gated_norm/cpu.h"

namespace halyard::ops::cpu {

const CpuForm gated_norm = {.select = HALYARD_CPU_KERNEL(gated_norm_cpu), .launch = [](const LaunchInputs& in) {
                              const auto c = in.arguments.as<GatedNormConstants>();
                              return Launch{.grid = {c.groups, c.rows}};
                            }};

}  // namespace halyard::ops::cpu

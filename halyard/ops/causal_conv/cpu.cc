#include "halyard/ops/causal_conv/cpu.h"

namespace halyard::ops::cpu {

// Sequences: the rows of the fourth binding, their spans.
const CpuForm causal_conv = {
    .select = HALYARD_CPU_KERNEL(causal_conv_cpu), .launch = [](const LaunchInputs& in) {
      const std::size_t sequences = in.sizes[3] / (4 * sizeof(std::int32_t));
      return Launch{.grid = {in.arguments.as<CausalConvConstants>().channels, sequences}, .block = {64}};
    }};

}  // namespace halyard::ops::cpu

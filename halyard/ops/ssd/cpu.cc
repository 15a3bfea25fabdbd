#include "halyard/ops/ssd/cpu.h"

namespace halyard::ops::cpu {

// Sequences: the rows of the sixth binding, their spans.
const CpuForm ssd = {.select = HALYARD_CPU_KERNEL(ssd_cpu), .launch = [](const LaunchInputs& in) {
                       const std::size_t sequences = in.sizes[5] / (4 * sizeof(std::int32_t));
                       return Launch{.grid = {in.arguments.as<SsdConstants>().heads, sequences}};
                     }};

}  // namespace halyard::ops::cpu

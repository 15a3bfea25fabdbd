#include "halyard/ops/scale/cpu.h"

#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {

const CpuForm scale = {.select = HALYARD_CPU_KERNEL(scale_cpu), .launch = in_elements_of<ScaleConstants>};

}  // namespace halyard::ops::cpu

#include "halyard/ops/argmax/cpu.h"

#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {

const CpuForm argmax = {.select = HALYARD_CPU_KERNEL(argmax_cpu), .launch = in_rows_of<ArgmaxConstants>};

}  // namespace halyard::ops::cpu

#include "halyard/ops/softmax/cpu.h"

#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {

const CpuForm softmax = {.select = HALYARD_CPU_KERNEL(softmax_cpu), .launch = in_rows_of<SoftmaxConstants>};

}  // namespace halyard::ops::cpu

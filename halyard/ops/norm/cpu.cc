#include "halyard/ops/norm/cpu.h"

#include "halyard/ops/cpu/launch.h"

namespace halyard::ops::cpu {

const CpuForm rms_norm = {.select = HALYARD_CPU_KERNEL(rms_norm_cpu), .launch = in_rows_of<NormConstants>};
const CpuForm layer_norm = {.select = HALYARD_CPU_KERNEL(layer_norm_cpu), .launch = in_rows_of<NormConstants>};
const CpuForm add_rms_norm = {.select = HALYARD_CPU_KERNEL(add_rms_norm_cpu), .launch = in_rows_of<NormConstants>};
const CpuForm rms_norm_pack = {.select = HALYARD_CPU_KERNEL(rms_norm_pack_cpu), .launch = [](const LaunchInputs& in) {
                                 const auto c = in.arguments.as<NormConstants>();
                                 return in_rows(c.rows, c.width, c.width * sizeof(float));
                               }};

}  // namespace halyard::ops::cpu

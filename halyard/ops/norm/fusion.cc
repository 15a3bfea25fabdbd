#include "halyard/ops/norm/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {
namespace {

const KernelDef rms_norm_pack_def = {"rms_norm_pack", "rrw", {}, HALYARD_CPU_KERNEL(rms_norm_pack_cpu)};
const KernelDef add_rms_norm_def = {"add_rms_norm", "rrrww", {}, HALYARD_CPU_KERNEL(add_rms_norm_cpu)};

Fused norm_into_pack(Parts p) {
  const Record &norm = p[0], &pack = p[1];
  const auto c = constants_of<NormConstants>(norm);
  if (norm.bindings[2] != pack.bindings[0] || pack.grid.x * 32ULL != c.width || pack.grid.y != c.rows) return {};
  return FusedDispatch{.kernel = &rms_norm_pack_def,
                       .grid = norm.grid,
                       .bindings = {{0, 0}, {0, 1}, {1, 1}},
                       .constants = c,
                       .shared_bytes = c.width * sizeof(float)};
}

Fused add_into_norm(Parts p) {
  const Record &add = p[0], &norm = p[1];
  if (add.bindings[2] != norm.bindings[0]) return {};
  return FusedDispatch{.kernel = &add_rms_norm_def,
                       .grid = norm.grid,
                       .bindings = {{0, 0}, {0, 1}, {1, 1}, {0, 2}, {1, 2}},
                       .constants = constants_of<NormConstants>(norm),
                       .in_place = true};
}

}  // namespace

std::vector<FusionRule> norm_rules() {
  return {{{"rms_norm"}, "pack_activations", norm_into_pack}, {{"add_f32"}, "rms_norm", add_into_norm}};
}

}  // namespace halyard::ops

#include "halyard/ops/matmul/kernels.h"
#include "halyard/ops/norm/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {
namespace {

const KernelDef rms_norm_pack_def = {"rms_norm_pack", "rrw", {.cpu = &cpu::rms_norm_pack}};
const KernelDef add_rms_norm_def = {"add_rms_norm", "rrrww", {.cpu = &cpu::add_rms_norm}};

Fused norm_into_pack(Parts p) {
  const Record &norm = p[0], &pack = p[1];
  const auto c = constants_of<NormConstants>(norm);
  const auto packed = constants_of<PackConstants>(pack);
  if (norm.bindings[2] != pack.bindings[0] || packed.groups * 32 != c.width || packed.rows != c.rows) return {};
  return Joined{.bindings = {{0, 0}, {0, 1}, {1, 1}}, .constants = c};
}

Fused add_into_norm(Parts p) {
  const Record &add = p[0], &norm = p[1];
  if (add.bindings[2] != norm.bindings[0]) return {};
  return Joined{.bindings = {{0, 0}, {0, 1}, {1, 1}, {0, 2}, {1, 2}},
                .constants = constants_of<NormConstants>(norm),
                .in_place = true};
}

}  // namespace

std::vector<FusionRule> norm_rules() {
  return {{{"rms_norm"}, "pack_activations", &rms_norm_pack_def, norm_into_pack},
          {{"add_f32"}, "rms_norm", &add_rms_norm_def, add_into_norm}};
}

}  // namespace halyard::ops

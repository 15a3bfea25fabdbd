#include "halyard/ops/attention/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {
namespace {

const KernelDef attention_pack_def = {"attention_pack", "rrrrrw", {.cpu = &cpu::attention_pack}};

Fused attention_into_pack(Parts p) {
  const Record &attention = p[0], &pack = p[1];
  const auto c = constants_of<AttentionConstants>(attention);
  if (attention.bindings[5] != pack.bindings[0] || c.pages.head_dim % 32 != 0) return {};
  return Joined{.bindings = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 1}}, .constants = c};
}

}  // namespace

std::vector<FusionRule> attention_rules() {
  return {{{"attention"}, "pack_activations", &attention_pack_def, attention_into_pack}};
}

}  // namespace halyard::ops

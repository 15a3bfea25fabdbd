#include "halyard/ops/fusion.h"

#include "halyard/ops/rules.h"

namespace halyard::ops {

std::span<const FusionRule> fusion_rules() {
  return if_memory([]() -> std::span<const FusionRule> {
    static const std::vector<FusionRule> all = [] {
      std::vector<FusionRule> rules;
      for (const auto& of_op : {norm_rules(), elementwise_rules(), rope_rules(), attention_rules(), matmul_rules()})
        rules.insert(rules.end(), of_op.begin(), of_op.end());
      return rules;
    }();
    return all;
  });
}

}  // namespace halyard::ops

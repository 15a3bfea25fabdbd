// The rules of each op, and what they are written with.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "halyard/hal/passes.h"
#include "halyard/ops/rope/kernels.h"

namespace halyard::ops {

using Parts = std::span<const Record>;
using Fused = std::optional<Joined>;

/// A record's constants, which are a T.
template <class T> T constants_of(const Record& r) {
  T value;
  std::memcpy(&value, r.constants, sizeof value);
  return value;
}

/// What `rope` does, as steps of heads.
HeadConstants turned_heads(const Record& rope, bool interleaved);
/// Adds the step of a kv_append. Whether both mean the same heads.
bool append_heads(HeadConstants&, const Record& append);

std::vector<FusionRule> norm_rules();         ///< rms_norm → pack, add → rms_norm
std::vector<FusionRule> elementwise_rules();  ///< gelu → mul, silu_mul or gelu·mul → pack
std::vector<FusionRule> rope_rules();         ///< rms_norm → rope, rope → kv_append
std::vector<FusionRule> attention_rules();    ///< attention → pack
std::vector<FusionRule> matmul_rules();       ///< product → add; gate, up → silu_mul → pack; product → heads

}  // namespace halyard::ops

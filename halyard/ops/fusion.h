// What ops become when they are fused. Every fused kernel does the arithmetic of its parts in their order: the same bytes.
#pragma once

#include <span>

#include "halyard/hal/passes.h"

namespace halyard::ops {

/// All rules, for halyard::fuse and halyard::optimize. Each stands beside its op, in a fusion.cc. None where there is no
/// memory for them.
std::span<const FusionRule> fusion_rules();

}  // namespace halyard::ops

// A step's work recorded once, to be replayed for other values of its inputs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "halyard/models/model.h"

namespace halyard::engine {

struct StepPlan {
  Plan plan;
  std::size_t scratch_bytes = 0;  ///< of its own
};
/// Captures the chunk's recording and makes a plan of it: as halyard::optimize leaves it, or as it is. Where there is no memory
/// for values of their own, as it is.
Result<StepPlan> plan_step(CommandEncoder&, const models::Model&, models::Workspace&, const models::Chunk&, bool optimized);

/// An error where a token is outside the embedding.
Result<void> check_tokens(const models::Model&, std::span<const std::int32_t>);

/// Records that entries are copied, slot by slot, in every layer. from, to: see ops::kv_move.
Result<void> copy_slots(CommandEncoder&, std::span<const models::LayerKv>, std::span<const std::int32_t> from,
                        std::span<const std::int32_t> to);

}  // namespace halyard::engine

// What all that run a model's steps share: what a step's kernels are told, plans of it, what it leaves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halyard/models/model.h"

namespace halyard::engine {

/// What a step's kernels are told: see models::Chunk. It lies in one buffer, i32, and is written at once.
class StepInputs {
 public:
  /// Numbers that a step takes at most.
  static std::size_t size(std::size_t rows, std::size_t wanted, std::size_t sequences, std::size_t table_pages) {
    return 3 * rows + wanted + sequences * (kSpan + table_pages);
  }
  explicit StepInputs(std::size_t table_pages) : table_pages_(table_pages) {}

  void clear();
  /// A sequence's rows. `position`: in its text, of the first; `held`, `window`: see ops::KvBatch.
  void add(std::span<const std::int32_t> tokens, std::size_t position, std::span<const std::int32_t> slots,
           std::size_t held, std::size_t window, std::span<const std::int32_t> pages);
  /// The logits of the last row added are wanted.
  void want_last() { wanted_.push_back(static_cast<std::int32_t>(tokens_.size() - 1)); }
  /// Writes it, and says where each part lies. Cache and logits are the caller's to fill in.
  Result<models::Chunk> write(const Buffer& to);

 private:
  static constexpr std::size_t kSpan = 4;
  std::size_t table_pages_;  // of each sequence
  std::vector<std::int32_t> tokens_, positions_, slots_, wanted_, spans_, table_, all_;
};

/// The values of a buffer where the host sees them: its own memory, or `copy`.
Result<std::span<float>> host_values(const Device&, Buffer, std::vector<float>& copy);

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

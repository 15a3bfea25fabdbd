// A model's steps: each shape of step is recorded once, planned, and replayed ever after.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "halyard/models/model.h"

namespace halyard::engine {

/// One sequence's part of a step.
struct StepPart {
  std::span<const std::int32_t> tokens;
  std::size_t position = 0;                   ///< in its text, of the first token
  std::span<const std::int32_t> slots;        ///< where their keys and values go
  std::size_t held = 0;                       ///< entries before them
  std::size_t window = 0;                     ///< the most entries that each sees, itself included; 0: all
  std::span<const std::int32_t> pages;        ///< of the entries held and new
  std::int32_t slot_from = -1, slot_to = -1;  ///< where its state lies and where it goes: see ops::SlotBatch
  enum class Want : std::uint8_t { none, last, all } want = Want::last;  ///< whose logits
};

/// Runs a model over one cache. Shapes are rounded up, so that few of them serve all steps: rows that make up the difference
/// belong to no sequence. Not thread-safe.
class Steps {
 public:
  /// table_pages: the most that one part has. `fused`: plans are made of the recording as halyard::optimize leaves it, with
  /// the same bytes; else of the recording as it is.
  Steps(models::Model, std::vector<models::LayerState>, std::size_t table_pages, bool fused = true);

  /// Records a step of these parts, each of another sequence. The logits wanted follow each other in the order of the parts:
  /// f32 [wanted, V], null where none are. They are good until the next step. Waits for the step before, whose inputs it
  /// overwrites. Errors: no memory; what recording reports.
  Result<Buffer> record(CommandEncoder&, std::span<const StepPart>);

  std::span<const models::LayerState> cache() const { return cache_; }
  const models::Model& model() const { return model_; }
  /// Bytes of device memory that steps use beside weights and cache.
  std::size_t bytes() const;

 private:
  /// What one recording serves.
  struct Shape {
    std::size_t rows = 0, sequences = 0, wanted = 0;
    bool all = false;  // the wanted rows are all rows
    auto operator<=>(const Shape&) const = default;
  };
  struct Planned {
    Plan plan;
    std::uint64_t last_used = 0;
  };
  Shape shape_of(std::span<const StepPart>) const;
  std::size_t input_count(const Shape&) const;
  void fill_in(std::span<const StepPart>, const Shape&);
  Result<models::StepTensors> tensors(const Shape&) const;
  Result<void> make_room(const Shape&);
  Result<const Plan*> plan(CommandEncoder&, const Shape&);
  Result<Plan> make_plan(CommandEncoder&, const Shape&);

  models::Model model_;
  std::vector<models::LayerState> cache_;
  std::size_t table_pages_;
  bool fused_;
  Buffer inputs_;   // i32: all that kernels are told
  Buffer logits_;   // f32 [wanted, V]
  Buffer scratch_;  // the values of whichever step runs
  std::vector<std::int32_t> told_;
  std::map<Shape, Planned> plans_;
  std::uint64_t steps_ = 0;
};

/// The values of a buffer where the host sees them: its own memory, or `copy`.
Result<std::span<float>> host_values(const Device&, Buffer, std::vector<float>& copy);

/// An error where a token is outside the embedding.
Result<void> check_tokens(const models::Model&, std::span<const std::int32_t>);

/// Records that entries are copied, slot by slot, in every layer. from, to: see ops::kv_move.
Result<void> copy_slots(CommandEncoder&, std::span<const models::LayerState>, std::span<const std::int32_t> from,
                        std::span<const std::int32_t> to);

}  // namespace halyard::engine

#include "halyard/engine/plan_step.h"

#include <fmt/format.h>

#include "halyard/ops/attention/attention.h"
#include "halyard/ops/fusion.h"

namespace halyard::engine {

Result<StepPlan> plan_step(CommandEncoder& e, const models::Model& model, models::Workspace& workspace,
                           const models::Chunk& chunk, bool optimized) {
  e.start_capture();
  const models::NextEncoder same = [&](std::size_t) -> Result<CommandEncoder*> { return &e; };
  HALYARD_TRY(model.record(same, workspace, chunk));
  PlannedGraph planned{HALYARD_TRY(e.take_capture()), workspace.scratch()};
  if (optimized) {
    auto better = optimize(planned.graph, {planned.scratch, ops::fusion_rules()});
    if (!better && better.error().code != Errc::out_of_memory) return tl::unexpected(std::move(better.error()));
    if (better) planned = std::move(*better);
  }
  return StepPlan{HALYARD_TRY(planned.graph.compile()), planned.bytes_after};
}

Result<void> check_tokens(const models::Model& model, std::span<const std::int32_t> tokens) {
  const std::size_t vocab = model.info().vocab_size;
  for (const std::int32_t id : tokens) {
    if (id < 0 || static_cast<std::size_t>(id) >= vocab) {
      return fail(Errc::invalid_argument,
                  fmt::format("token id {} is outside the vocabulary: model.embed_tokens has {} rows", id, vocab));
    }
  }
  return {};
}

Result<void> copy_slots(CommandEncoder& e, std::span<const models::LayerKv> layers, std::span<const std::int32_t> from,
                        std::span<const std::int32_t> to) {
  if (from.empty()) return {};
  Device device = e.device();
  Buffer f = HALYARD_TRY(device.alloc(DType::i32, {from.size()})), t = HALYARD_TRY(device.alloc(DType::i32, {to.size()}));
  HALYARD_TRY(f.write(from));
  HALYARD_TRY(t.write(to));
  for (const models::LayerKv& l : layers) {
    HALYARD_TRY(ops::kv_move(e, l.k, f, t));
    HALYARD_TRY(ops::kv_move(e, l.v, f, t));
  }
  return {};
}

}  // namespace halyard::engine

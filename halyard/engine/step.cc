#include "halyard/engine/step.h"

#include <fmt/format.h>

#include "halyard/ops/attention/attention.h"
#include "halyard/ops/fusion.h"

namespace halyard::engine {

void StepInputs::clear() {
  for (auto* part : {&tokens_, &positions_, &slots_, &wanted_, &spans_, &table_}) part->clear();
}

void StepInputs::add(std::span<const std::int32_t> tokens, std::size_t position, std::span<const std::int32_t> slots,
                     std::size_t held, std::size_t window, std::span<const std::int32_t> pages) {
  table_.resize(spans_.size() / kSpan * table_pages_, -1);
  for (const std::size_t x : {tokens_.size(), tokens.size(), held, window}) spans_.push_back(static_cast<std::int32_t>(x));
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  for (std::size_t i = 0; i < tokens.size(); ++i) positions_.push_back(static_cast<std::int32_t>(position + i));
  slots_.insert(slots_.end(), slots.begin(), slots.end());
  table_.insert(table_.end(), pages.begin(), pages.end());
}

Result<models::Chunk> StepInputs::write(const Buffer& to) {
  all_.clear();
  for (const auto* part : {&tokens_, &positions_, &slots_, &wanted_, &spans_, &table_})
    all_.insert(all_.end(), part->begin(), part->end());
  Buffer told = HALYARD_TRY(to.view(0, DType::i32, {all_.size()}));
  HALYARD_TRY(told.write(std::span<const std::int32_t>(all_)));
  std::size_t at = 0;
  const auto next = [&](Shape shape) {
    auto view = to.view(at * sizeof(std::int32_t), DType::i32, shape);
    at += shape.elements();
    return view;
  };
  const std::size_t rows = tokens_.size(), sequences = spans_.size() / kSpan;
  models::Chunk c;
  c.tokens = HALYARD_TRY(next({rows}));
  c.positions = HALYARD_TRY(next({rows}));
  c.slots = HALYARD_TRY(next({rows}));
  if (!wanted_.empty()) c.wanted = HALYARD_TRY(next({wanted_.size()}));
  c.batch.spans = HALYARD_TRY(next({sequences, kSpan}));
  c.batch.table = HALYARD_TRY(next({sequences, table_pages_}));
  return c;
}

Result<std::span<float>> host_values(const Device& device, Buffer b, std::vector<float>& copy) {
  if (device.capabilities().host_visible) return b.map<float>();
  copy = HALYARD_TRY(b.read<float>());
  return std::span<float>(copy);
}

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

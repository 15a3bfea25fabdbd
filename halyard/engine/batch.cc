#include "halyard/engine/batch.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/base/guarded.h"
#include "halyard/engine/step.h"
#include "halyard/ops/attention/attention.h"

namespace halyard::engine {
namespace {

constexpr std::size_t kPage = ops::kPageUnit;

}  // namespace

Batch::Batch(models::Model model, BatchOptions options, std::size_t pages)
    : model_(std::move(model)), options_(options), book_(pages, kPage), told_(pages_for(options.context)) {}

Result<Batch> Batch::make(models::Model model, BatchOptions options) {
  const models::ModelInfo& info = model.info();
  if (options.context == 0) options.context = info.max_positions;
  if (options.positions == 0 || options.max_rows == 0)
    return fail(Errc::invalid_argument, "a batch needs room for positions and for rows of a step");
  Device device = model.device();
  const std::size_t pages = pages_for(options.positions);
  auto layers = allocate_pages(device, info.layers, kv_dtype(model), pages);
  if (!layers) return fail(std::move(layers).error(), fmt::format("a KV cache of {} positions", pages * kPage));
  auto workspace = HALYARD_TRY(model.workspace(options.max_rows));
  Batch b(std::move(model), options, pages);
  b.layers_ = std::move(*layers);
  b.workspace_ = std::move(workspace);
  HALYARD_TRY(b.grow(1));
  return b;
}

/// Room for a step of so many sequences.
Result<void> Batch::grow(std::size_t sequences) {
  if (sequences <= sequences_) return {};
  const std::size_t room = std::max(sequences, 2 * sequences_), most = pages_for(options_.context);
  Device device = model_.device();
  Buffer inputs = HALYARD_TRY(device.alloc(DType::i32, {StepInputs::size(options_.max_rows, room, room, most)}));
  logits_ = HALYARD_TRY(device.alloc(DType::f32, {room, model_.info().vocab_size}));
  inputs_ = std::move(inputs);
  sequences_ = room;
  plans_.clear();
  return {};
}

Result<std::span<const float>> Batch::step(std::span<const Part> parts) {
  const Sizes sizes = HALYARD_TRY(check(parts));
  HALYARD_TRY(grow(parts.size()));
  if (auto done = guarded([&] { return run(parts, sizes); }); !done) {
    for (const Part& p : parts) book_.drop(p.sequence);
    return tl::unexpected(std::move(done).error());
  }
  for (const Part& p : parts) book_.commit(p.sequence);
  Buffer view = HALYARD_TRY(logits_.view(0, DType::f32, {parts.size(), model_.info().vocab_size}));
  return HALYARD_TRY(host_values(model_.device(), std::move(view), host_logits_));
}

Result<Batch::Sizes> Batch::check(std::span<const Part> parts) const {
  std::vector<Id> seen;
  std::size_t rows = 0;
  for (const Part& p : parts) {
    if (p.tokens.empty()) return fail(Errc::invalid_argument, "a part of a step has no tokens to read");
    if (std::find(seen.begin(), seen.end(), p.sequence) != seen.end())
      return fail(Errc::invalid_argument, fmt::format("sequence {} has two parts in one step", p.sequence));
    seen.push_back(p.sequence);
    HALYARD_TRY(check_tokens(model_, p.tokens));
    if (const std::size_t n = book_.size(p.sequence) + p.tokens.size(); n > options_.context)
      return fail(Errc::limit_exceeded, fmt::format("the text is {} tokens long, the context {}", n, options_.context));
    rows += p.tokens.size();
  }
  if (rows == 0 || rows > options_.max_rows)
    return fail(Errc::invalid_argument, fmt::format("a step has 1 to {} tokens, this one {}", options_.max_rows, rows));
  return Sizes{rows, parts.size()};
}

Result<void> Batch::run(std::span<const Part> parts, Sizes n) {
  std::vector<std::int32_t> from, to;
  told_.clear();
  for (const Part& p : parts) {
    const std::size_t held = book_.size(p.sequence);
    const PageBook::Reserved r = HALYARD_TRY(book_.reserve(p.sequence, p.tokens.size()));
    for (const auto& [a, b] : r.copies) from.push_back(a), to.push_back(b);
    told_.add(p.tokens, held, r.slots, held, 0, book_.pages(p.sequence));
    told_.want_last();
  }
  models::Chunk c = HALYARD_TRY(told_.write(inputs_));
  c.cache = layers_;
  c.logits = HALYARD_TRY(logits_.view(0, DType::f32, {n.sequences, model_.info().vocab_size}));

  Device device = model_.device();
  CommandEncoder e = HALYARD_TRY(device.command_encoder());
  HALYARD_TRY(copy_slots(e, layers_, from, to));
  if (n.rows == n.sequences) {
    const Plan* known = HALYARD_TRY(plan(e, c, n));
    HALYARD_TRY(e.replay(*known));
  } else {
    const models::NextEncoder same = [&](std::size_t) -> Result<CommandEncoder*> { return &e; };
    HALYARD_TRY(model_.record(same, *workspace_, c));
  }
  return e.commit_and_wait(fmt::format("{} tokens of {} sequences", n.rows, n.sequences));
}

Result<const Plan*> Batch::plan(CommandEncoder& e, const models::Chunk& c, Sizes n) {
  if (const auto known = plans_.find(n); known != plans_.end()) return &known->second;
  StepPlan made = HALYARD_TRY(plan_step(e, model_, *workspace_, c, /*optimized=*/true));
  return &plans_.emplace(n, std::move(made.plan)).first->second;
}

}  // namespace halyard::engine

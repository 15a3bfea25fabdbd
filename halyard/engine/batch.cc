#include "halyard/engine/batch.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/base/guarded.h"
#include "halyard/engine/sequence.h"
#include "halyard/ops/attention/attention.h"

namespace halyard::engine {
namespace {

constexpr std::size_t kPage = ops::kPageUnit;

std::size_t rows_wanted(const Batch::Part& p) {
  return p.want == Batch::Want::all ? p.tokens.size() : p.want == Batch::Want::last ? 1 : 0;
}

}  // namespace

Batch::Batch(BatchOptions options, PageBook book, Steps steps)
    : options_(options),
      book_(std::move(book)),
      steps_(std::move(steps)),
      paged_(has_pages(model().info().layers)),
      slotted_(engine::has_slots(model().info().layers)) {}

Result<Batch> Batch::make(models::Model model, BatchOptions options) {
  return guarded([&]() -> Result<Batch> {
    const models::ModelInfo& info = model.info();
    if (options.context == 0) options.context = info.max_positions;
    if (options.positions == 0 || options.max_rows == 0 || options.sequences == 0)
      return fail(Errc::invalid_argument, "a batch needs room for positions, for sequences and for rows of a step");
    Device device = model.device();
    const std::size_t pages = pages_for(options.positions);
    const std::size_t slots = engine::has_slots(info.layers) ? 3 * options.sequences : 0;
    auto layers = allocate_state(device, info.layers, kv_dtype(model), pages, slots);
    if (!layers) {
      return fail(std::move(layers).error(),
                  slots == 0 ? fmt::format("a KV cache of {} positions", pages * kPage)
                             : fmt::format("a cache of {} positions and of {} slots", pages * kPage, slots));
    }
    const std::size_t table = has_pages(info.layers) ? pages_for(options.context) : 0;
    return Batch(options, PageBook(pages, kPage, &PageContents::mix, slots),
                 Steps(std::move(model), std::move(*layers), table));
  });
}

Result<Batch::Id> Batch::open() {
  return guarded([&]() -> Result<Id> { return book_.open(); });
}

Result<Batch::Id> Batch::fork(Id from) {
  return guarded([&]() -> Result<Id> { return book_.fork(from); });
}

std::size_t Batch::adopt(Id id, std::span<const std::int32_t> text) {
  return if_memory([&] { return book_.adopt(id, text); });
}

std::size_t Batch::context() const { return std::min(options_.context, pages() * kPage); }

Result<std::vector<Batch::Logits>> Batch::step(std::span<const Part> parts) {
  auto done = guarded([&]() -> Result<std::vector<Logits>> {
    HALYARD_TRY(check(parts));
    return finish(parts, HALYARD_TRY(run(parts)));
  });
  for (const Part& p : parts)
    if (book_.is_open(p.sequence)) book_.drop(p.sequence);  // what was not committed
  return done;
}

/// Commits the parts whose logits are finite.
Result<std::vector<Batch::Logits>> Batch::finish(std::span<const Part> parts, Buffer values) {
  std::span<float> all;
  if (values) all = HALYARD_TRY(host_values(model().device(), std::move(values), host_logits_));
  std::vector<Logits> logits;
  logits.reserve(parts.size());
  for (const Part& p : parts) {
    const std::span<float> mine = all.first(rows_wanted(p) * model().info().vocab_size);
    all = all.subspan(mine.size());
    if (all_finite(mine)) logits.emplace_back(mine);
    else
      logits.emplace_back(
          fail(Errc::kernel_failed, fmt::format("logits are not finite (NaN or infinite) after token {}",
                                                book_.size(p.sequence) + p.tokens.size())));
  }
  for (std::size_t i = 0; i < parts.size(); ++i)  // nothing fails from here on
    if (logits[i]) book_.commit(parts[i].sequence);
  return logits;
}

Result<void> Batch::check(std::span<const Part> parts) const {
  std::vector<Id> seen;
  std::size_t rows = 0;
  for (const Part& p : parts) {
    if (!book_.is_open(p.sequence))
      return fail(Errc::invalid_argument, fmt::format("sequence {} is not open", p.sequence));
    if (p.tokens.empty()) return fail(Errc::invalid_argument, "a part of a step has no tokens to read");
    if (std::find(seen.begin(), seen.end(), p.sequence) != seen.end())
      return fail(Errc::invalid_argument, fmt::format("sequence {} has two parts in one step", p.sequence));
    seen.push_back(p.sequence);
    HALYARD_TRY(check_tokens(model(), p.tokens));
    if (const std::size_t n = book_.size(p.sequence) + p.tokens.size(); n > options_.context)
      return fail(Errc::limit_exceeded, fmt::format("the text is {} tokens long, the context {}", n, options_.context));
    rows += p.tokens.size();
  }
  if (rows == 0 || rows > options_.max_rows)
    return fail(Errc::invalid_argument, fmt::format("a step has 1 to {} tokens, this one {}", options_.max_rows, rows));
  return {};
}

Result<Buffer> Batch::run(std::span<const Part> parts) {
  std::vector<std::int32_t> from, to;
  std::vector<PageBook::Reserved> reserved;
  std::vector<StepPart> step;
  std::size_t rows = 0;
  for (const Part& p : parts) {
    const std::size_t held = book_.size(p.sequence);
    reserved.push_back(HALYARD_TRY(book_.reserve(p.sequence, p.tokens)));
    if (paged_)
      for (const auto& [a, b] : reserved.back().copies) from.push_back(a), to.push_back(b);
    step.push_back({.tokens = p.tokens,
                    .position = held,
                    .slots = reserved.back().slots,
                    .held = held,
                    .pages = paged_ ? book_.pages(p.sequence) : std::span<const std::int32_t>(),
                    .slot_from = reserved.back().state_from,
                    .slot_to = reserved.back().state_to,
                    .want = p.want});
    rows += p.tokens.size();
  }
  Device device = model().device();
  CommandEncoder e = HALYARD_TRY(device.command_encoder());
  HALYARD_TRY(copy_slots(e, steps_.cache(), from, to));
  Buffer logits = HALYARD_TRY(steps_.record(e, step));
  HALYARD_TRY(e.commit_and_wait(fmt::format("{} tokens of {} sequences", rows, parts.size())));
  return logits;
}

}  // namespace halyard::engine

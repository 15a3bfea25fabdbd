#include "halyard/engine/steps.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include <fmt/format.h>

#include "halyard/hal/passes.h"
#include "halyard/ops/attention/attention.h"
#include "halyard/ops/fusion.h"

namespace halyard::engine {

namespace {

constexpr std::size_t kSpan = 4;       // numbers of a span: see ops::KvBatch
constexpr std::size_t kMaxPlans = 96;  // each takes some tens of kilobytes, and a millisecond to make

/// n rounded up to four significant bits: an eighth more at most, a thirtieth on the average.
std::size_t round_up(std::size_t n) {
  const std::size_t step = n < 16 ? 1 : std::bit_floor(n) / 8;
  return (n + step - 1) / step * step;
}

std::size_t wanted_of(const StepPart& p) {
  return p.want == StepPart::Want::all ? p.tokens.size() : p.want == StepPart::Want::last ? 1 : 0;
}

}  // namespace

Steps::Steps(models::Model model, std::vector<models::LayerState> cache, std::size_t table_pages, bool fused)
    : model_(std::move(model)), cache_(std::move(cache)), table_pages_(table_pages), fused_(fused) {}

Result<Buffer> Steps::record(CommandEncoder& e, std::span<const StepPart> parts) {
  const Shape shape = shape_of(parts);
  HALYARD_TRY(make_room(shape));
  const Plan* known = HALYARD_TRY(plan(e, shape));
  fill_in(parts, shape);
  HALYARD_TRY(inputs_.write(std::span<const std::int32_t>(told_)));
  HALYARD_TRY(e.replay(*known));
  std::size_t wanted = 0;
  for (const StepPart& p : parts) wanted += wanted_of(p);
  if (wanted == 0) return Buffer();
  return logits_.view(0, DType::f32, {wanted, model_.info().vocab_size});
}

Steps::Shape Steps::shape_of(std::span<const StepPart> parts) const {
  Shape s;
  for (const StepPart& p : parts) {
    s.rows += p.tokens.size();
    s.wanted += wanted_of(p);
  }
  s.all = s.wanted == s.rows;
  return {round_up(s.rows), round_up(parts.size()), round_up(s.wanted), s.all};
}

std::size_t Steps::input_count(const Shape& s) const {
  const std::size_t some = s.all ? 0 : s.wanted;  // of them positions, spans and tables are told
  return 3 * s.rows + 2 * some + (s.sequences + some) * (kSpan + table_pages_) + 2 * s.sequences;
}

/// Room for a step's inputs and logits. Plans go where these must move.
Result<void> Steps::make_room(const Shape& s) {
  Device device = model_.device();
  const std::size_t inputs = input_count(s), vocab = model_.info().vocab_size;
  if (!inputs_ || inputs_.shape()[0] < inputs) {
    inputs_ = HALYARD_TRY(device.alloc(DType::i32, {inputs_ ? std::max(inputs, 2 * inputs_.shape()[0]) : inputs}));
    plans_.clear();
  }
  if (s.wanted && (!logits_ || logits_.shape()[0] < s.wanted)) {
    logits_ = HALYARD_TRY(device.alloc(DType::f32, {s.wanted, vocab}));
    plans_.clear();
  }
  return {};
}

/// In the order of tensors().
void Steps::fill_in(std::span<const StepPart> parts, const Shape& s) {
  const std::size_t some = s.all ? 0 : s.wanted;
  told_.assign(input_count(s), 0);
  std::int32_t *tokens = told_.data(), *positions = tokens + s.rows, *slots = positions + s.rows,
               *wanted = slots + s.rows, *wanted_positions = wanted + some, *spans = wanted_positions + some,
               *table = spans + s.sequences * kSpan, *wanted_spans = table + s.sequences * table_pages_,
               *wanted_table = wanted_spans + some * kSpan, *slot_from = wanted_table + some * table_pages_,
               *slot_to = slot_from + s.sequences;
  std::fill_n(slots, s.rows, -1);
  std::fill_n(slot_from, 2 * s.sequences, -1);
  const auto span = [](std::int32_t*& at, std::size_t first, std::size_t rows, std::size_t held, std::size_t window) {
    for (const std::size_t n : {first, rows, held, window}) *at++ = static_cast<std::int32_t>(n);
  };
  const auto pages = [&](std::int32_t*& at, const StepPart& p) {
    std::fill(std::copy(p.pages.begin(), p.pages.end(), at), at + table_pages_, -1);
    at += table_pages_;
  };
  std::size_t row = 0, asked = 0;
  for (const StepPart& p : parts) {
    const std::size_t n = p.tokens.size();
    std::copy(p.tokens.begin(), p.tokens.end(), tokens + row);
    std::iota(positions + row, positions + row + n, static_cast<std::int32_t>(p.position));
    std::copy(p.slots.begin(), p.slots.end(), slots + row);
    span(spans, row, n, p.held, p.window);
    pages(table, p);
    *slot_from++ = p.slot_from;
    *slot_to++ = p.slot_to;
    for (std::size_t i = n - wanted_of(p); !s.all && i < n; ++i) {
      *wanted++ = static_cast<std::int32_t>(row + i);
      *wanted_positions++ = static_cast<std::int32_t>(p.position + i);
      span(wanted_spans, asked++, 1, p.held + i, p.window);
      pages(wanted_table, p);
    }
    row += n;
  }
}

Result<models::StepTensors> Steps::tensors(const Shape& s) const {
  std::size_t at = 0;
  const auto next = [&](halyard::Shape shape) {
    auto view = inputs_.view(at * sizeof(std::int32_t), DType::i32, shape);
    at += shape.elements();
    return view;
  };
  const bool some = s.wanted && !s.all;
  models::StepTensors t;
  t.cache = cache_;
  t.tokens = HALYARD_TRY(next({s.rows}));
  t.positions = HALYARD_TRY(next({s.rows}));
  t.slots = HALYARD_TRY(next({s.rows}));
  if (some) t.wanted = HALYARD_TRY(next({s.wanted}));
  if (some) t.wanted_positions = HALYARD_TRY(next({s.wanted}));
  t.batch.spans = HALYARD_TRY(next({s.sequences, kSpan}));
  t.batch.table = HALYARD_TRY(next({s.sequences, table_pages_}));
  if (some) t.wanted_batch.spans = HALYARD_TRY(next({s.wanted, kSpan}));
  if (some) t.wanted_batch.table = HALYARD_TRY(next({s.wanted, table_pages_}));
  t.slot_from = HALYARD_TRY(next({s.sequences}));
  t.slot_to = HALYARD_TRY(next({s.sequences}));
  if (s.wanted) t.logits = HALYARD_TRY(logits_.view(0, DType::f32, {s.wanted, model_.info().vocab_size}));
  return t;
}

Result<const Plan*> Steps::plan(CommandEncoder& e, const Shape& s) {
  ++steps_;
  if (const auto known = plans_.find(s); known != plans_.end()) {
    known->second.last_used = steps_;
    return &known->second.plan;
  }
  Plan made = HALYARD_TRY(make_plan(e, s));
  if (plans_.size() == kMaxPlans)
    plans_.erase(std::min_element(plans_.begin(), plans_.end(), [](const auto& a, const auto& b) {
      return a.second.last_used < b.second.last_used;
    }));
  return &plans_.emplace(s, Planned{std::move(made), steps_}).first->second.plan;
}

Result<Plan> Steps::make_plan(CommandEncoder& e, const Shape& s) {
  const models::StepTensors t = HALYARD_TRY(tensors(s));
  e.start_capture();
  const Result<void> recorded = model_.record(e, t);
  const ComputeGraph graph = HALYARD_TRY(e.take_capture());
  HALYARD_TRY(recorded);
  // Steps run one after another: their values share memory. Plans made in less keep what they have.
  const PlaceMemory memory = [&](std::size_t bytes) -> Result<Buffer> {
    if (!scratch_ || scratch_.size_bytes() < bytes)
      scratch_ = HALYARD_TRY(Device(model_.device()).alloc(DType::u8, {bytes}));
    return scratch_;
  };
  const PlannedGraph planned = fused_ ? HALYARD_TRY(optimize(graph, {{}, ops::fusion_rules(), memory}))
                                      : HALYARD_TRY(plan_memory(remove_dead(graph), {}, {Sharing::phases, memory}));
  return planned.graph.compile();
}

std::size_t Steps::bytes() const { return inputs_.size_bytes() + logits_.size_bytes() + scratch_.size_bytes(); }

Result<std::span<float>> host_values(const Device& device, Buffer b, std::vector<float>& copy) {
  if (device.capabilities().host_visible) return b.map<float>();
  copy = HALYARD_TRY(b.read<float>());
  return std::span<float>(copy);
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

Result<void> copy_slots(CommandEncoder& e, std::span<const models::LayerState> layers,
                        std::span<const std::int32_t> from, std::span<const std::int32_t> to) {
  if (from.empty()) return {};
  Device device = e.device();
  Buffer f = HALYARD_TRY(device.alloc(DType::i32, {from.size()})),
         t = HALYARD_TRY(device.alloc(DType::i32, {to.size()}));
  HALYARD_TRY(f.write(from));
  HALYARD_TRY(t.write(to));
  for (const models::LayerState& l : layers) {
    if (!l.k) continue;
    HALYARD_TRY(ops::kv_move(e, l.k, f, t));
    HALYARD_TRY(ops::kv_move(e, l.v, f, t));
  }
  return {};
}

}  // namespace halyard::engine

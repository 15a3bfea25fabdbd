#include "halyard/hal/plan.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/encoder_state.h"
#include "halyard/hal/plan_state.h"

namespace halyard {

std::size_t Plan::size() const { return state_ ? state_->recording->records.size() : 0; }
std::size_t Plan::barriers() const { return state_ ? state_->barriers : 0; }

namespace {

/// Where the constants of `record` stand in the plan's block of those that parameters change; copied there on first use.
std::uint32_t patched_at(PlanState& plan, std::uint32_t record) {
  const auto it =
      std::find_if(plan.patched.begin(), plan.patched.end(), [&](const auto& p) { return p.record == record; });
  if (it != plan.patched.end()) return it->at;
  const Record& r = plan.recording->records[record];
  const auto at = static_cast<std::uint32_t>(plan.constants.size());
  plan.constants.resize(at + (r.constants_bytes + 7U) / 8 * 8);
  std::memcpy(plan.constants.data() + at, r.constants, r.constants_bytes);
  plan.patched.push_back({record, at});
  return at;
}

std::uint64_t load(const std::byte* from, std::uint32_t bytes) {
  if (bytes == 8) {
    std::uint64_t v;
    std::memcpy(&v, from, 8);
    return v;
  }
  std::uint32_t v;
  std::memcpy(&v, from, 4);
  return v;
}

void store(std::byte* to, std::uint32_t bytes, std::uint64_t value) {
  const auto narrow = static_cast<std::uint32_t>(value);
  if (bytes == 8) std::memcpy(to, &value, 8);
  else std::memcpy(to, &narrow, 4);
}

Result<void> bind(PlanState& plan, std::string_view name) {
  PlanState::Parameter parameter{std::string(name), UINT64_MAX, {}};
  std::uint64_t recorded = 0;
  for (const RecordedPlace& p : plan.recording->places) {
    if (p.name != name) continue;
    const Record& r = plan.recording->records[p.record];
    if ((p.bytes != 4 && p.bytes != 8) || p.at > r.constants_bytes || p.bytes > r.constants_bytes - p.at)
      return fail(
          Errc::invalid_argument,
          fmt::format("parameter {} of kernel {}: {} bytes at {}, expected 4 or 8 within its {} bytes of constants",
                      name, r.kernel->def->name, p.bytes, p.at, r.constants_bytes));
    const std::uint64_t value = load(r.constants + p.at, p.bytes);
    if (!parameter.places.empty() && value != recorded)
      return fail(
          Errc::invalid_argument,
          fmt::format("parameter {} was recorded with the values {} and {}: expected one", name, recorded, value));
    recorded = value;
    parameter.most = std::min({parameter.most, p.most, p.bytes == 4 ? std::uint64_t{UINT32_MAX} : UINT64_MAX});
    parameter.places.push_back({patched_at(plan, p.record) + p.at, p.bytes});
  }
  bool known = !parameter.places.empty();
  for (const RecordedPlace& p : plan.recording->unused) {
    if (p.name != name) continue;
    parameter.most = std::min(parameter.most, p.most);
    known = true;
  }
  if (!known) return fail(Errc::not_found, fmt::format("no dispatch of the graph has a parameter {}", name));
  plan.parameters.push_back(std::move(parameter));
  return {};
}

std::size_t bindings_bytes(const Record& r) { return r.kernel->def->access.size() * sizeof(Binding); }
std::size_t bytes_behind(const Record& r) {
  return sizeof(Grid) + bindings_bytes(r) + (r.constants_bytes + std::size_t{7}) / 8 * 8;
}

/// Copies what the record points to into bytes_behind() it at `block`: the plan may be gone before the record runs.
void take_over(Record& r, std::byte* block) {
  r.block = new (block) Grid(*r.block);
  block += sizeof(Grid);
  const std::size_t bindings = bindings_bytes(r);
  if (bindings) std::memcpy(block, r.bindings, bindings);
  std::memcpy(block + bindings, r.constants, r.constants_bytes);
  r.bindings = reinterpret_cast<const Binding*>(block);
  r.constants = block + bindings;
}

const PlanParameter* find(std::span<const PlanParameter> values, std::string_view name) {
  const auto it = std::find_if(values.begin(), values.end(), [&](const PlanParameter& v) { return v.name == name; });
  return it == values.end() ? nullptr : &*it;
}

Result<void> check(const PlanState& plan, std::span<const PlanParameter> values) {
  if (values.size() != plan.parameters.size())
    return fail(Errc::invalid_argument,
                fmt::format("replay of a plan of {} parameters with {} values", plan.parameters.size(), values.size()));
  for (const PlanState::Parameter& p : plan.parameters) {
    const PlanParameter* v = find(values, p.name);
    if (!v) return fail(Errc::invalid_argument, fmt::format("replay without a value of parameter {}", p.name));
    if (v->value > p.most)
      return fail(Errc::invalid_argument,
                  fmt::format("parameter {}: expected at most {}, got {}", p.name, p.most, v->value));
  }
  return {};
}

}  // namespace

Result<Plan> ComputeGraph::compile(std::span<const std::string_view> parameters) const {
  return guarded([&] { return make_plan(parameters); });
}

Result<Plan> ComputeGraph::make_plan(std::span<const std::string_view> parameters) const {
  if (!device_) return fail(Errc::invalid_state, "a graph that no encoder captured has no device to compile it for");
  if (device_->is_of_parent()) return fail(device_->check_lost().error());
  for (const AllocationRef& a : recording_->retained)
    if (a->placeholder)
      return fail(
          Errc::invalid_state,
          fmt::format("the graph has placeholders, one of {} bytes: plan_memory gives them memory", a->memory.bytes));
  auto plan = std::make_shared<PlanState>();
  plan->recording = recording_;
  plan->device = device_;
  plan->barriers = barriers();
  for (const std::string_view name : parameters) {
    const auto same = [&](const PlanState::Parameter& p) { return p.name == name; };
    if (std::any_of(plan->parameters.begin(), plan->parameters.end(), same))
      return fail(Errc::invalid_argument, fmt::format("parameter {} is named twice", name));
    HALYARD_TRY(bind(*plan, name));
  }
  plan->prepared = HALYARD_TRY(device_->driver->prepare(*plan));
  for (const auto& a : recording_->retained) a->add_plan(*plan);
  return Plan(std::move(plan));
}

Result<void> CommandEncoder::replay(const Plan& plan, std::span<const PlanParameter> values) {
  return guarded([&] { return record_replay(plan, values); });
}

Result<void> CommandEncoder::record_replay(const Plan& plan, std::span<const PlanParameter> values) {
  HALYARD_TRY(check_state());
  if (!plan.shared()) return fail(Errc::invalid_state, "replay of a plan that was moved from");
  State& s = *state_;
  const PlanState& p = plan.state();
  if (p.device != s.device)
    return fail(Errc::invalid_argument, "replay of a plan that was compiled for another device");
  if (s.capture) return fail(Errc::invalid_state, "replay while capturing: take_capture() first");
  if (const auto now = s.submission->status.load(std::memory_order_relaxed); now != CommandBufferStatus::open)
    return fail(Errc::invalid_state, fmt::format("replay in a command buffer that is already {}", to_string(now)));
  HALYARD_TRY(check(p, values));
  const auto& records = p.recording->records;
  if (records.empty()) return {};

  Recording& to = s.submission->recording;
  std::byte* constants = to.arena.take(p.constants.size());
  if (!p.constants.empty()) std::memcpy(constants, p.constants.data(), p.constants.size());
  for (const PlanState::Parameter& parameter : p.parameters) {
    const std::uint64_t value = find(values, parameter.name)->value;
    for (const PlanState::Place& at : parameter.places) store(constants + at.at, at.bytes, value);
  }
  if (p.prepared) {
    to.calls.push_back({plan.shared(), to.records.size(), constants});
  } else {
    std::size_t behind = 0;
    for (const Record& r : records) behind += bytes_behind(r);
    std::byte* block = to.arena.take(behind);
    to.retained.insert(to.retained.end(), p.recording->retained.begin(), p.recording->retained.end());
    const std::size_t first = to.records.size();
    to.records.insert(to.records.end(), records.begin(), records.end());  // the last that may find no memory
    to.records[first].barrier_before = true;
    for (std::size_t i = first; i < to.records.size(); ++i) {
      take_over(to.records[i], block);
      block += bytes_behind(to.records[i]);
    }
    for (const auto& patched : p.patched) to.records[first + patched.record].constants = constants + patched.at;
  }
  to.ranges.reset();
  s.barrier_pending = true;
  RecordCounter::add(s.counts.dispatches, records.size());
  if (s.options.hazards == Hazards::manual) return {};
  RecordCounter::add(s.counts.auto_barriers, p.barriers);
  RecordCounter::add(s.counts.concurrent_dispatches, records.size() - p.barriers);
  return {};
}

}  // namespace halyard

#include "halyard/hal/encoder.h"

#include <array>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/encoder_state.h"
#include "halyard/hal/launch.h"
#include "halyard/hal/plan_state.h"
#include "halyard/hal/submission.h"

namespace halyard {

std::string_view to_string(CommandBufferStatus s) {
  switch (s) {
    case CommandBufferStatus::open: return "open";
    case CommandBufferStatus::committed: return "committed";
    case CommandBufferStatus::running: return "running";
    case CommandBufferStatus::completed: return "completed";
    case CommandBufferStatus::failed: return "failed";
    case CommandBufferStatus::discarded: return "discarded";
  }
  return "unknown";
}

// ---------------------------------------------------------------------------------------------------- CommandBuffer

Result<void> CommandBuffer::wait_until_completed() {
  return guarded([&] { return wait(); });
}

Result<void> CommandBuffer::wait() {
  if (!submission_) return fail(Errc::invalid_state, "a null command buffer");
  switch (submission_->status.load(std::memory_order_acquire)) {
    case CommandBufferStatus::open:
      return fail(Errc::invalid_state, "waiting for a command buffer that was not committed");
    case CommandBufferStatus::discarded:
      return fail(Errc::invalid_state, "waiting for a command buffer that was discarded");
    default: break;
  }
  HALYARD_TRY(submission_->device->wait(submission_->sequence));
  return submission_->outcome();
}

CommandBufferStatus CommandBuffer::status() const {
  return submission_ ? submission_->status.load(std::memory_order_acquire) : CommandBufferStatus::discarded;
}

std::string_view CommandBuffer::label() const { return submission_ ? submission_->label : std::string_view(); }

std::chrono::nanoseconds CommandBuffer::gpu_time() const {
  const auto s = status();
  if (s != CommandBufferStatus::completed && s != CommandBufferStatus::failed) return {};
  if (submission_->abandoned.load()) return {};
  return submission_->ended - submission_->started;
}

// --------------------------------------------------------------------------------------------------- CommandEncoder

CommandEncoder::CommandEncoder(std::unique_ptr<State> s) : state_(std::move(s)) {}
CommandEncoder::CommandEncoder(CommandEncoder&&) noexcept = default;
CommandEncoder& CommandEncoder::operator=(CommandEncoder&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
CommandEncoder::~CommandEncoder() {
  if (state_) state_->discard();
}

CommandEncoder::State::State(std::shared_ptr<DeviceState> d, EncoderOptions o) : device(std::move(d)), options(o) {
  open();
  device->stats.recorded.join(counts);
}

CommandEncoder::State::~State() {
  if (!device->is_of_parent()) device->stats.recorded.leave(counts);
}

void CommandEncoder::State::open() {
  submission = std::make_shared<Submission>(device);
  id = device->next_encoder_id.fetch_add(1, std::memory_order_relaxed);
  device->stats.command_buffers.fetch_add(1, std::memory_order_relaxed);
  (capture ? barrier_before_capture : barrier_pending) = false;  // a capture goes on, with the barrier it is owed
}

void CommandEncoder::State::discard() {
  if (submission->status.load(std::memory_order_relaxed) != CommandBufferStatus::open) return;
  device->spare.give(*submission);
  submission->status.store(CommandBufferStatus::discarded, std::memory_order_release);
}

// Inlined, as those below, where dispatches are recorded.
[[gnu::always_inline]] inline Result<void> CommandEncoder::State::check(const CompiledKernel* k,
                                                                        Buffers buffers) const {
  if (!k) return fail(Errc::invalid_argument, "dispatch without a kernel");
  if (k->device != device.get())
    return fail(Errc::invalid_argument, fmt::format("kernel {} was compiled for another device", k->def->name));
  if (!capture && submission->status.load(std::memory_order_relaxed) != CommandBufferStatus::open)
    return fail(Errc::invalid_state, fmt::format("dispatch of {} to a command buffer that is already {}", k->def->name,
                                                 to_string(submission->status.load())));
  const AccessList& access = k->def->access;
  if (buffers.size() != access.size())
    return fail(Errc::invalid_argument,
                fmt::format("kernel {} has {} bindings, got {}", k->def->name, access.size(), buffers.size()));
  for (std::size_t i = 0; i < access.size(); ++i) {
    const Allocation* a = buffers[i].allocation().get();
    if (!a || a->device != device || a->restricted) [[unlikely]]
      HALYARD_TRY(check_binding(*k, i, a));
  }
  return {};
}

Result<void> CommandEncoder::State::check_binding(const CompiledKernel& k, std::size_t i, const Allocation* a) const {
  const auto refuse = [&](Errc code, std::string_view why) {
    return fail(code, fmt::format("kernel {}: binding {} is {}", k.def->name, i, why));
  };
  if (!a) return refuse(Errc::invalid_argument, "a null buffer");
  if (a->device != device) return refuse(Errc::invalid_argument, "memory of another device");
  if (a->placeholder && !capture) return refuse(Errc::invalid_state, "a placeholder, which only captures may bind");
  if (k.def->access[i] != Access::read && a->read_only)
    return fail(Errc::invalid_argument,
                fmt::format("kernel {} writes binding {}, which is imported, read-only memory", k.def->name, i));
  return {};
}

// Whether a barrier must stand before a dispatch with these bindings, and books them as running.
[[gnu::always_inline]] inline bool CommandEncoder::State::order(Recording& to, const CompiledKernel& k,
                                                                Buffers buffers) {
  const AccessList& access = k.def->access;
  return !to.ranges.place_dispatch(access.size(), [&](std::size_t i) {
    return BufferRange::from_buffer(buffers[i], access[i] == Access::read ? MemRangeRole::src : MemRangeRole::dst);
  });
}

// With what follows all of a dispatch that may fail. Then nothing is recorded, though memory may be retained in vain.
[[gnu::always_inline]] inline void CommandEncoder::State::append(Recording& to, const CompiledKernel& k,
                                                                 Buffers buffers, const Constants& arguments,
                                                                 const Cut& cut) {
  const std::size_t n = buffers.size();
  std::byte* memory = to.arena.take(n * sizeof(Binding) + arguments.size() + (cut.fleeting ? sizeof(Grid) + 7 : 0));
  auto* bindings = reinterpret_cast<Binding*>(memory);
  for (std::size_t i = 0; i < n; ++i) {
    const Buffer& b = buffers[i];
    Allocation* a = b.allocation().get();
    bindings[i] = {a, b.offset_bytes(), b.size_bytes()};
    // The mark is only a hint that saves retaining twice: another encoder may take it over, and then we retain again.
    if (a->retained_by.load(std::memory_order_relaxed) != id) {
      to.retained.push_back(AllocationRef(*a));  // not emplace_back, which is not inlined
      a->retained_by.store(id, std::memory_order_relaxed);
    }
  }
  std::byte* constants = memory + n * sizeof(Binding);
  std::memcpy(constants, arguments.data(), arguments.size());
  const Grid* block = &cut.block;
  if (cut.fleeting) block = new (constants + (arguments.size() + 7) / 8 * 8) Grid(cut.block);
  Record& r = to.records.emplace_back();  // filled in place: a copy would wait for the stores before it
  r.kernel = &k;
  r.bindings = bindings;
  r.constants = constants;
  r.block = block;
  r.grid = cut.grid;
  r.shared_bytes = static_cast<std::uint32_t>(cut.shared_bytes);
  r.constants_bytes = static_cast<std::uint16_t>(arguments.size());
}

// Those of the last record, which goes where they cannot be kept.
void CommandEncoder::State::record_places(Recording& to, std::span<const ParameterPlace> places) {
  const std::size_t record = to.records.size() - 1, known = to.places.size();
  try {
    for (const ParameterPlace& p : places)
      to.places.push_back({std::string(p.name), static_cast<std::uint32_t>(record), p.at, p.bytes, p.most});
  } catch (...) {
    to.places.resize(known);
    to.records.resize(record);
    throw;
  }
}

Result<void> CommandEncoder::moved_from() { return fail(Errc::invalid_state, "an encoder that was moved from"); }

[[gnu::always_inline]] inline Result<void> CommandEncoder::State::record(const CompiledKernel& k, Buffers buffers,
                                                                         const Constants& arguments, const Cut& cut,
                                                                         std::span<const ParameterPlace> parameters) {
  HALYARD_TRY(check_launch(k, cut.grid, cut.block, cut.shared_bytes, *device->driver));
  Recording& to = capture ? *capture : submission->recording;
  append(to, k, buffers, arguments, cut);
  if (capture && !parameters.empty()) record_places(to, parameters);
  const bool automatic = options.hazards == Hazards::automatic;
  const bool conflict = automatic && order(to, k, buffers);
  if (!capture) {
    if (automatic) RecordCounter::add(conflict ? counts.auto_barriers : counts.concurrent_dispatches, 1);
    RecordCounter::add(counts.dispatches, 1);
  }
  to.records.back().barrier_before = std::exchange(barrier_pending, false) || conflict;
  return {};
}

Result<void> CommandEncoder::dispatch(const Dispatch& d) {
  return guarded([&]() __attribute__((always_inline))->Result<void> {
    if (!state_) [[unlikely]]
      return moved_from();
    const CompiledKernel* k = d.kernel.get();
    HALYARD_TRY(state_->check(k, d.buffers));
    return state_->record(*k, d.buffers, d.constants, {d.grid, k->block, d.shared_bytes, false}, d.parameters);
  });
}

Result<void> CommandEncoder::dispatch(const KernelDef& def, std::span<const Buffer> buffers,
                                      const Constants& arguments) {
  return guarded([&]() -> Result<void> {
    const KernelRef kernel = HALYARD_TRY(this->kernel(def));
    const CompiledKernel& k = *kernel.get();
    HALYARD_TRY(state_->check(&k, buffers));
    std::array<std::size_t, AccessList::max_bindings> sizes;
    for (std::size_t i = 0; i < buffers.size(); ++i) sizes[i] = buffers[i].size_bytes();
    const Launch launch = HALYARD_TRY(
        launch_of(k, {arguments, std::span(sizes).first(buffers.size()), state_->device->driver->capabilities()}));
    return state_->record(k, buffers, arguments, {launch.grid, launch.block, launch.shared_bytes, true}, {});
  });
}

void CommandEncoder::memory_barrier() {
  if (!state_) return;
  State& s = *state_;
  s.barrier_pending = true;
  (s.capture ? *s.capture : s.submission->recording).ranges.reset();
  if (!s.capture) RecordCounter::add(s.counts.explicit_barriers, 1);
}

void CommandEncoder::start_capture() {
  if (!state_) return;
  State& s = *state_;
  if (s.capture) {
    s.capture_spoilt = true;
    return;
  }
  s.capture.emplace();
  s.id = s.device->next_encoder_id.fetch_add(1, std::memory_order_relaxed);  // the graph retains for itself
  s.barrier_before_capture = std::exchange(s.barrier_pending, false);
}

Result<ComputeGraph> CommandEncoder::take_capture() {
  return guarded([&]() -> Result<ComputeGraph> {
    HALYARD_TRY(check_state());
    State& s = *state_;
    if (!s.capture) return fail(Errc::invalid_state, "take_capture without start_capture");
    auto graph =
        std::make_shared<Recording>();  // before anything is changed: where there is no memory the capture goes on
    std::optional<Recording> captured = std::exchange(s.capture, std::nullopt);
    s.id = s.device->next_encoder_id.fetch_add(1, std::memory_order_relaxed);
    s.barrier_pending = s.barrier_before_capture;
    if (std::exchange(s.capture_spoilt, false))
      return fail(Errc::invalid_state, "start_capture while capturing: what was captured is dropped");
    captured->ranges = {};
    *graph = std::move(*captured);
    return ComputeGraph(std::move(graph), s.device);
  });
}

bool CommandEncoder::is_capturing() const { return state_ && state_->capture.has_value(); }

Result<void> CommandEncoder::State::may_submit() const {
  if (capture) return fail(Errc::invalid_state, "commit while capturing: take_capture() first");
  if (submission->status.load(std::memory_order_relaxed) != CommandBufferStatus::open)
    return fail(Errc::invalid_state,
                fmt::format("commit of a command buffer that is already {}", to_string(submission->status.load())));
  return device->check_lost();
}

Result<void> CommandEncoder::State::submit(std::string_view label, bool will_wait) {
  HALYARD_TRY(may_submit());
  const auto begin = std::chrono::steady_clock::now();
  std::string text(label);
  HALYARD_TRY(device->driver->make_ready(*submission));
  // From here on nothing fails: once there is a number, others wait for it.
  if (!text.empty()) submission->label = std::move(text);
  {
    const std::lock_guard lock(device->submit_mutex);
    submission->sequence = ++device->last_sequence;
    for (const auto& a : submission->recording.retained)
      a->last_sequence.store(submission->sequence, std::memory_order_relaxed);
    for (const PlanCall& c : submission->recording.calls)
      c.plan->last_sequence->store(submission->sequence, std::memory_order_relaxed);
    device->residency.commit(device->completed.load(std::memory_order_acquire));
    submission->status.store(CommandBufferStatus::committed, std::memory_order_release);
    device->driver->submit(submission, will_wait && !InKernelsOf::any(*device));
  }
  device->stats.submit_ns.fetch_add(static_cast<std::uint64_t>((std::chrono::steady_clock::now() - begin).count()),
                                    std::memory_order_relaxed);
  return {};
}

Result<CommandBuffer> CommandEncoder::commit(std::string_view label) {
  return guarded([&]() -> Result<CommandBuffer> {
    HALYARD_TRY(check_state());
    HALYARD_TRY(state_->submit(label, false));
    return CommandBuffer(state_->submission);
  });
}

Result<void> CommandEncoder::commit_and_wait(std::string_view label) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_state());
    HALYARD_TRY(state_->submit(label, true));
    state_->device->stats.syncs.fetch_add(1, std::memory_order_relaxed);
    return CommandBuffer(state_->submission).wait();
  });
}

CommandBuffer CommandEncoder::command_buffer() const {
  return state_ ? CommandBuffer(state_->submission) : CommandBuffer();
}
Device CommandEncoder::device() const { return Device(state_ ? state_->device : nullptr); }
Result<KernelRef> CommandEncoder::kernel(const KernelDef& def, const Constants& specialisation) {
  if (!state_) return guarded([]() -> Result<KernelRef> { return fail(moved_from().error()); });
  return Device(state_->device).kernel(def, specialisation);
}

}  // namespace halyard

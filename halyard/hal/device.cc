#include "halyard/hal/device.h"

#include <utility>

#include <fmt/format.h>

#include "halyard/base/environment.h"
#include "halyard/base/file.h"
#include "halyard/hal/cpu/available_memory.h"
#include "halyard/hal/encoder_state.h"
#include "halyard/hal/state.h"

namespace halyard {

Result<Device> Device::open(std::string_view spec, DeviceOptions options) {
  return guarded([&] { return open_device(spec, options); });
}

Result<Device> Device::open_device(std::string_view spec, DeviceOptions options) {
  auto state = std::make_shared<DeviceState>();
  options.validate = environment_switch("HALYARD_VALIDATE", options.validate);
  options.cpu.pin = environment_switch("HALYARD_PIN", options.cpu.pin);
  if (options.timeout.count() < 0)
    return fail(Errc::invalid_argument, fmt::format("timeout: expected 0 ms or more, got {}", options.timeout.count()));
  state->memory_budget = options.memory_budget ? options.memory_budget : available_memory() / 10 * 9;
  state->timeout = options.timeout;
  state->validate = options.validate;
  if (options.profile) state->profiler = std::make_unique<Profiler>();
  if (spec == "cpu") {
    state->driver = HALYARD_TRY(open_cpu_driver(options));
    return Device(std::move(state));
  }
  for (const std::string_view later : {"cuda", "vulkan"})
    if (spec == later || spec.starts_with(fmt::format("{}:", later)))
      return fail(Errc::unsupported,
                  fmt::format("device \"{}\": this build has no {} driver; use \"cpu\"", spec, later));
  return fail(Errc::not_found, fmt::format("device \"{}\": expected \"cpu\", \"cuda:N\" or \"vulkan:N\"", spec));
}

std::vector<DeviceInfo> Device::list() {
  return if_memory([] { return std::vector<DeviceInfo>{cpu_device_info()}; });
}

Result<void> Device::check_state() const {
  if (!state_) return fail(Errc::invalid_state, "a device that was moved from");
  return state_->is_of_parent() ? state_->check_lost() : Result<void>();
}

Result<CommandEncoder> Device::command_encoder(EncoderOptions options) {
  return guarded([&]() -> Result<CommandEncoder> {
    HALYARD_TRY(check_state());
    return CommandEncoder(std::make_unique<CommandEncoder::State>(state_, options));
  });
}

Result<EncoderSession> Device::encoder_session(EncoderOptions options) {
  return EncoderSession(HALYARD_TRY(command_encoder(options)));
}

Result<KernelRef> Device::kernel(const KernelDef& def, const Constants& specialisation) {
  return guarded([&]() -> Result<KernelRef> {
    HALYARD_TRY(check_state());
    return KernelRef(HALYARD_TRY(state_->kernels.find_or_compile(def, specialisation)));
  });
}

Result<KernelRef> Device::kernel(std::string_view name, const Constants& specialisation) {
  return guarded([&]() -> Result<KernelRef> {
    HALYARD_TRY(check_state());
    const KernelDef* const def = state_->kernels.named(name);
    if (!def) return fail(Errc::not_found, fmt::format("no kernel named {} on this device", name));
    return KernelRef(HALYARD_TRY(state_->kernels.find_or_compile(*def, specialisation)));
  });
}

Result<void> Device::register_kernels(std::span<const KernelDef* const> defs) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_state());
    return state_->kernels.add(defs);
  });
}

namespace {
bool is_here(const std::shared_ptr<DeviceState>& s) { return s && !s->is_of_parent(); }
}  // namespace

Stats Device::stats() const {
  if (!is_here(state_)) return {};
  state_->settle();
  const AtomicStats& s = state_->stats;
  const RecordCounts r = s.recorded.sum();
  return {.command_buffers = s.command_buffers,
          .syncs = s.syncs,
          .dispatches = r.dispatches,
          .auto_barriers = r.auto_barriers,
          .concurrent_dispatches = r.concurrent_dispatches,
          .explicit_barriers = r.explicit_barriers,
          .kernels_compiled = s.kernels_compiled,
          .bytes_allocated = s.bytes_allocated,
          .peak_bytes = s.peak_bytes,
          .submit_ns = s.submit_ns};
}

void Device::reset_stats() {
  if (!is_here(state_)) return;
  AtomicStats& s = state_->stats;
  for (auto* counter : {&s.command_buffers, &s.syncs, &s.kernels_compiled, &s.submit_ns}) counter->store(0);
  s.recorded.reset();
  s.peak_bytes.store(s.bytes_allocated.load());
}

Profile Device::profile() const {
  return if_memory([&] { return is_here(state_) && state_->profiler ? state_->profiler->profile() : Profile(); });
}
void Device::reset_profile() {
  if (is_here(state_) && state_->profiler) state_->profiler->reset();
}

Result<std::string> Device::trace() const {
  HALYARD_TRY(check_state());
  if (!state_->profiler) return fail(Errc::invalid_state, "a trace of a device that was opened without profile");
  return state_->profiler->trace();
}
Result<void> Device::write_trace(const std::string& path) const {
  return guarded([&]() -> Result<void> { return write_file(path, HALYARD_TRY(trace())); });
}
Result<void> Device::write_trace(FileWriter& file) const {
  return guarded([&]() -> Result<void> {
    const std::string text = HALYARD_TRY(trace());
    HALYARD_TRY(file.write(text));
    return file.commit();
  });
}

const Capabilities& Device::capabilities() const {
  static const Capabilities none;
  return state_ ? state_->driver->capabilities() : none;
}
std::size_t Device::memory_budget() const { return state_ ? state_->memory_budget : 0; }
bool Device::is_lost() const {
  return state_ && (state_->is_of_parent() || state_->lost.load(std::memory_order_acquire));
}
bool Device::residency_enabled() const { return state_ != nullptr; }
std::size_t Device::residency_count() const {
  if (!is_here(state_)) return 0;
  state_->settle();
  return state_->residency.count();
}
Residency Device::residency() const {
  if (!is_here(state_)) return {};
  state_->settle();
  const PinnedMemory pinned = state_->driver->pinned_memory();
  return {state_->residency.count(), state_->residency.bytes(), pinned.bytes, pinned.limit,
          if_memory([&] { return state_->residency.refusal(); })};
}

Result<void> Device::wait_idle() {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_state());
    std::uint64_t last = 0;
    {
      const std::lock_guard lock(state_->submit_mutex);
      last = state_->last_sequence;
    }
    HALYARD_TRY(state_->wait(last));
    if (auto failure = state_->failures.tell_first()) return fail(std::move(*failure));
    return {};
  });
}

}  // namespace halyard

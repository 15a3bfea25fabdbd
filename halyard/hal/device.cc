#include "halyard/hal/device.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "halyard/base/environment.h"
#include "halyard/base/file.h"
#include "halyard/hal/cpu/available_memory.h"
#include "halyard/hal/encoder_state.h"
#include "halyard/hal/state.h"
#include "halyard/hal/validate.h"

namespace halyard {

// ------------------------------------------------------------------------------------------ residency, allocations

bool ResidencySet::add(Allocation& a) {
  if (a.placeholder) return false;
  const std::lock_guard lock(mutex_);
  if (std::exchange(a.residency.member, true)) return false;
  ++count_;
  bytes_ += a.memory.bytes;
  wait_for_commit(a);
  return true;
}

bool ResidencySet::remove(Allocation& a) {
  if (a.device->is_of_parent()) return false;
  const std::lock_guard lock(mutex_);
  if (!std::exchange(a.residency.member, false)) return false;
  --count_;
  bytes_ -= a.memory.bytes;
  wait_for_commit(a);
  return true;
}

void ResidencySet::dropped(Allocation& a) {
  if (a.device->is_of_parent()) return;
  const std::lock_guard lock(mutex_);
  Place& p = a.residency;
  if (p.waiting) {
    (p.before ? p.before->residency.after : waiting_) = p.after;
    if (p.after) p.after->residency.before = p.before;
  }
  if (p.pinned) a.device->driver->unpin(a.memory);
}

void ResidencySet::wait_for_commit(Allocation& a) {
  changed_.store(true, std::memory_order_release);
  Place& p = a.residency;
  if (std::exchange(p.waiting, true)) return;
  p.before = nullptr;
  p.after = std::exchange(waiting_, &a);
  if (p.after) p.after->residency.before = &a;
}

void ResidencySet::apply(std::uint64_t completed) {
  const std::lock_guard lock(mutex_);
  changed_.store(false, std::memory_order_relaxed);
  Allocation* next = std::exchange(waiting_, nullptr);
  while (Allocation* a = next) {
    Place& p = a->residency;
    next = p.after;
    p.waiting = false;
    if (p.member == p.pinned) continue;
    if (p.member) {
      auto pinned = guarded([&] { return a->device->driver->pin(a->memory); });
      p.pinned = pinned.has_value();
      if (!pinned) refusal_ = std::move(pinned.error().message);
      if (!pinned && refusal_.empty()) refusal_ = "out of memory";  // so short that it needs none
    } else if (a->last_use() > completed) {
      wait_for_commit(*a);
    } else {
      a->device->driver->unpin(a->memory);
      p.pinned = false;
    }
  }
}

std::size_t ResidencySet::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}
std::size_t ResidencySet::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}
std::string ResidencySet::refusal() const {
  const std::lock_guard lock(mutex_);
  return refusal_;
}

AllocationRef::AllocationRef(const AllocationRef& other) : allocation_(other.allocation_) {
  if (allocation_) allocation_->kept.fetch_add(1, std::memory_order_relaxed);
}
void AllocationRef::let_go(Allocation* a) {
  if (a->kept.fetch_sub(1, std::memory_order_acq_rel) == 1) delete a;
}

std::shared_ptr<Allocation> Allocation::handles_of(std::unique_ptr<Allocation> made) {
  AllocationRef kept(*made);
  Allocation* const a = made.release();
  a->kept.fetch_sub(1, std::memory_order_relaxed);  // the one it was made with
  return {a, [kept = std::move(kept)](Allocation* last) { last->device->residency.remove(*last); }};
}

namespace {
/// Memory that the host sees, and `edge` bytes before and after it.
Memory with_edges(const Memory& m, std::size_t edge) {
  return {m.address - edge, static_cast<std::byte*>(m.host) - edge, m.bytes + 2 * edge};
}
Memory without_edges(const Memory& m, std::size_t edge) {
  return {m.address + edge, static_cast<std::byte*>(m.host) + edge, m.bytes - 2 * edge};
}
}  // namespace

Allocation::~Allocation() {
  device->residency.dropped(*this);
  if (placeholder) return;
  if (imported) {
    device->driver->end_import(memory);
    return;
  }
  if (guard) std::memset(memory.host, poison, memory.bytes);
  device->driver->free(guard ? with_edges(memory, guard) : memory);
  device->stats.bytes_allocated.fetch_sub(memory.bytes);
}

void Allocation::add_plan(const PlanState& plan) {
  const std::lock_guard lock(plans_mutex_);
  // A plan that is gone has no replay in flight: that would hold it.
  std::erase_if(replayed_, [](const auto& sequence) { return sequence.use_count() == 1; });
  replayed_.push_back(plan.last_sequence);
}

std::uint64_t Allocation::last_use() const {
  std::uint64_t last = last_sequence.load();
  if (device->is_of_parent()) return last;
  const std::lock_guard lock(plans_mutex_);
  for (const auto& sequence : replayed_) last = std::max(last, sequence->load());
  return last;
}

// -------------------------------------------------------------------------------------------------------- devices

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
      return fail(Errc::unsupported, fmt::format("device \"{}\": this build has no {} driver; use \"cpu\"", spec, later));
  return fail(Errc::not_found, fmt::format("device \"{}\": expected \"cpu\", \"cuda:N\" or \"vulkan:N\"", spec));
}

std::vector<DeviceInfo> Device::list() {
  return if_memory([] { return std::vector<DeviceInfo>{cpu_device_info()}; });
}

namespace {
Result<std::size_t> bytes_of(DType dtype, const Shape& shape) {
  std::size_t bytes = 0;
  if (!shape.elements(bytes) || __builtin_mul_overflow(bytes, size_of(dtype), &bytes))
    return fail(Errc::invalid_argument, fmt::format("a buffer of {} {}: too large", to_string(dtype), to_string(shape)));
  return bytes;
}

/// Memory on its way to an Allocation: given back where it does not get there.
struct Fresh {
  DeviceState& device;
  std::size_t counted;
  std::optional<Memory> memory = {};
  bool owned = true;
  ~Fresh() {
    if (!owned) return;
    if (memory) device.driver->free(*memory);
    device.stats.bytes_allocated.fetch_sub(counted);
  }
};
}  // namespace

Result<void> Device::check_state() const {
  if (!state_) return fail(Errc::invalid_state, "a device that was moved from");
  return state_->is_of_parent() ? state_->check_lost() : Result<void>();
}

Result<Buffer> Device::alloc(DType dtype, Shape shape) {
  return guarded([&] { return allocate(dtype, shape); });
}

Result<Buffer> Device::allocate(DType dtype, const Shape& shape) {
  HALYARD_TRY(check_state());
  const std::size_t bytes = HALYARD_TRY(bytes_of(dtype, shape));
  AtomicStats& stats = state_->stats;
  const auto fits = [&] { return stats.add_bytes(bytes, state_->memory_budget); };
  if (!fits() && (state_->settle(), !fits()))
    return fail(Errc::out_of_memory,
                fmt::format("a buffer of {} {} asks for {} bytes: {} are in use, the memory budget is {}", to_string(dtype),
                            to_string(shape), bytes, stats.bytes_allocated.load(), state_->memory_budget));
  Fresh fresh{*state_, bytes};
  const std::size_t guard = state_->validate && capabilities().host_visible ? guard_bytes : 0;
  auto got = state_->driver->allocate(bytes + 2 * guard);
  if (!got) return fail(std::move(got).error(), fmt::format("a buffer of {} {}", to_string(dtype), to_string(shape)));
  fresh.memory = *got;
  Memory memory = *got;
  if (guard) {
    auto* begin = static_cast<std::byte*>(memory.host);
    std::memset(begin, poison, guard);
    std::memset(begin + guard + bytes, poison, guard);
    memory = without_edges(*got, guard);
  }
  auto made = std::make_unique<Allocation>(state_, memory, guard, nullptr);
  fresh.owned = false;  // its destructor gives the memory back
  auto allocation = Allocation::handles_of(std::move(made));
  state_->residency.add(*allocation);
  return Buffer(std::move(allocation), 0, dtype, shape);
}

Result<Buffer> Device::placeholder(DType dtype, Shape shape) {
  return guarded([&]() -> Result<Buffer> {
    HALYARD_TRY(check_state());
    const std::size_t bytes = HALYARD_TRY(bytes_of(dtype, shape));
    return Buffer(Allocation::handles_of(std::make_unique<Allocation>(state_, bytes)), 0, dtype, shape);
  });
}

Result<Buffer> Device::import_host(std::shared_ptr<const void> owner, const void* data, DType dtype, Shape shape) {
  return guarded([&] { return import_memory(std::move(owner), data, dtype, shape); });
}

Result<Buffer> Device::import_memory(std::shared_ptr<const void> owner, const void* data, DType dtype,
                                     const Shape& shape) {
  HALYARD_TRY(check_state());
  if (!owner || !data) return fail(Errc::invalid_argument, "import_host without memory or its owner");
  const std::size_t bytes = HALYARD_TRY(bytes_of(dtype, shape));
  const Memory memory = HALYARD_TRY(state_->driver->import(data, bytes));
  struct Import {
    Driver& driver;
    const Memory& memory;
    bool owned = true;
    ~Import() {
      if (owned) driver.end_import(memory);
    }
  } import{*state_->driver, memory};
  // Kernels get it for reading only; encoders refuse to bind it for writing.
  auto made = std::make_unique<Allocation>(state_, memory, 0, std::move(owner));
  import.owned = false;  // its destructor ends it
  auto allocation = Allocation::handles_of(std::move(made));
  state_->residency.add(*allocation);
  return Buffer(std::move(allocation), 0, dtype, shape);
}

Result<Buffer> Device::import_or_copy(std::shared_ptr<const void> owner, const void* data, DType dtype, Shape shape) {
  return guarded([&]() -> Result<Buffer> {
    auto imported = import_memory(owner, data, dtype, shape);
    if (imported || imported.error().code != Errc::unsupported) return imported;
    Buffer copy = HALYARD_TRY(allocate(dtype, shape));
    const std::span bytes(static_cast<const std::byte*>(data), copy.size_bytes());
    if (!bytes.empty()) HALYARD_TRY(state_->driver->write(copy.allocation()->memory, 0, bytes));
    return copy;
  });
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

// -------------------------------------------------------------------------------------------------------- kernels

Result<KernelRef> Device::kernel(const KernelDef& def, const Constants& specialisation) {
  return guarded([&] { return find_or_compile(def, specialisation); });
}

Result<KernelRef> Device::find_or_compile(const KernelDef& def, const Constants& specialisation) {
  HALYARD_TRY(check_state());
  DeviceState& s = *state_;
  const auto find = [&]() -> const CompiledKernel* {
    const auto it = s.kernels.find(&def);
    if (it == s.kernels.end()) return nullptr;
    for (const auto& e : it->second)
      if (e.specialisation == specialisation) return e.compiled.get();
    return nullptr;
  };
  const auto find_locked = [&] {
    const std::shared_lock lock(s.kernels_mutex);
    return find();
  };
  if (const auto* k = find_locked()) return KernelRef(k);
  const std::lock_guard one_at_a_time(s.compile_mutex);
  if (const auto* k = find_locked()) return KernelRef(k);
  if (!def.access.valid())
    return fail(Errc::invalid_argument, fmt::format("kernel {}: bindings are declared with up to {} of the letters r, w, x",
                                                    def.name, AccessList::max_bindings));
  const auto has_a_namesake = [&] {
    const auto named = s.kernels_by_name.find(def.name);
    return named != s.kernels_by_name.end() && named->second != &def;
  };
  const auto refuse_namesake = [&] {
    return fail(Errc::invalid_argument, fmt::format("two kernels are named {}", def.name));
  };
  {
    const std::shared_lock lock(s.kernels_mutex);
    if (has_a_namesake()) return refuse_namesake();
  }
  if (!def.forms.has(s.driver->backend()))
    return fail(Errc::unsupported, fmt::format("kernel {} has no form for {}", def.name, capabilities().backend));
  auto compiled = HALYARD_TRY(s.driver->compile(def, specialisation));  // nobody who records waits for this
  compiled->def = &def;
  compiled->device = &s;
  const std::unique_lock lock(s.kernels_mutex);
  if (has_a_namesake()) return refuse_namesake();  // it was registered meanwhile
  auto& entries = s.kernels[&def];
  if (entries.size() == entries.capacity()) entries.reserve(2 * entries.size() + 1);
  s.kernels_by_name.try_emplace(def.name, &def);  // only now: a kernel that was refused may go away
  s.stats.kernels_compiled.fetch_add(1, std::memory_order_relaxed);
  const CompiledKernel* k = compiled.get();
  entries.push_back({&def, specialisation, std::move(compiled)});
  return KernelRef(k);
}

Result<KernelRef> Device::kernel(std::string_view name, const Constants& specialisation) {
  return guarded([&]() -> Result<KernelRef> {
    HALYARD_TRY(check_state());
    const KernelDef* def = nullptr;
    {
      const std::shared_lock lock(state_->kernels_mutex);
      const auto it = state_->kernels_by_name.find(name);
      if (it == state_->kernels_by_name.end())
        return fail(Errc::not_found, fmt::format("no kernel named {} on this device", name));
      def = it->second;
    }
    return find_or_compile(*def, specialisation);
  });
}

Result<void> Device::register_kernels(std::span<const KernelDef* const> defs) {
  return guarded([&]() -> Result<void> {
    HALYARD_TRY(check_state());
    for (std::size_t i = 0; i < defs.size(); ++i)
      if (!defs[i])
        return fail(Errc::invalid_argument, fmt::format("register_kernels: kernel {} of {} is null", i, defs.size()));
    const std::unique_lock lock(state_->kernels_mutex);
    for (const KernelDef* def : defs)
      if (state_->kernels_by_name.try_emplace(def->name, def).first->second != def)
        return fail(Errc::invalid_argument, fmt::format("two kernels are named {}", def->name));
    return {};
  });
}

// ---------------------------------------------------------------------------------------------- counters, waiting

namespace {
void add(RecordCounts& to, const RecordCounter& c) {
  to.dispatches += c.dispatches.load(std::memory_order_relaxed);
  to.auto_barriers += c.auto_barriers.load(std::memory_order_relaxed);
  to.concurrent_dispatches += c.concurrent_dispatches.load(std::memory_order_relaxed);
  to.explicit_barriers += c.explicit_barriers.load(std::memory_order_relaxed);
}
}  // namespace

void RecordCounters::join(RecordCounter& c) {
  const std::lock_guard lock(mutex_);
  c.after_ = std::exchange(first_, &c);
  if (c.after_) c.after_->before_ = &c;
}

void RecordCounters::leave(RecordCounter& c) {
  const std::lock_guard lock(mutex_);
  add(gone_, c);
  (c.before_ ? c.before_->after_ : first_) = c.after_;
  if (c.after_) c.after_->before_ = c.before_;
}

RecordCounts RecordCounters::total() const {
  RecordCounts all = gone_;
  for (const RecordCounter* c = first_; c; c = c->after_) add(all, *c);
  return all;
}

RecordCounts RecordCounters::sum() const {
  const std::lock_guard lock(mutex_);
  const RecordCounts all = total();
  return {all.dispatches - base_.dispatches, all.auto_barriers - base_.auto_barriers,
          all.concurrent_dispatches - base_.concurrent_dispatches, all.explicit_barriers - base_.explicit_barriers};
}

void RecordCounters::reset() {
  const std::lock_guard lock(mutex_);
  base_ = total();
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

#include "halyard/hal/allocation.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "halyard/hal/device.h"
#include "halyard/hal/plan_state.h"
#include "halyard/hal/state.h"
#include "halyard/hal/validate.h"

namespace halyard {

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

namespace {
Result<std::size_t> bytes_of(DType dtype, const Shape& shape) {
  std::size_t bytes = 0;
  if (!shape.elements(bytes) || __builtin_mul_overflow(bytes, size_of(dtype), &bytes))
    return fail(Errc::invalid_argument,
                fmt::format("a buffer of {} {}: too large", to_string(dtype), to_string(shape)));
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

Result<Buffer> Device::alloc(DType dtype, Shape shape) {
  return guarded([&] { return allocate(dtype, shape); });
}

Result<Buffer> Device::allocate(DType dtype, const Shape& shape) {
  HALYARD_TRY(check_state());
  const std::size_t bytes = HALYARD_TRY(bytes_of(dtype, shape));
  AtomicStats& stats = state_->stats;
  const auto fits = [&] { return stats.add_bytes(bytes, state_->memory_budget); };
  if (!fits() && (state_->settle(), !fits()))
    return fail(
        Errc::out_of_memory,
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

}  // namespace halyard

// The memory behind buffers. Internal to hal.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "halyard/hal/driver.h"
#include "halyard/hal/residency.h"

namespace halyard {

struct DeviceState;
struct PlanState;

/// The memory that buffers are windows of. What recording a dispatch touches comes first: one
/// cache line.
class alignas(64) Allocation {
 public:
  /// Who keeps it: all its handles together count one, and each AllocationRef one.
  std::atomic<std::uint32_t> kept{1};
  /// The handles' shared pointer. With the last of them it leaves the residency set; it is freed when no work keeps it either.
  static std::shared_ptr<Allocation> handles_of(std::unique_ptr<Allocation>);
  /// The driver's memory, of which `guard` bytes before and after are nobody's; or with an owner its memory, for reading.
  Allocation(std::shared_ptr<DeviceState> d, Memory m, std::size_t g, std::shared_ptr<const void> owner)
      : device(std::move(d)), memory(m), read_only(owner != nullptr), guard(g), imported(std::move(owner)) {}
  /// A placeholder: see Device::placeholder.
  Allocation(std::shared_ptr<DeviceState> d, std::size_t bytes)
      : device(std::move(d)), memory{.bytes = bytes}, read_only(false), placeholder(true), guard(0) {}
  ~Allocation();
  Allocation(const Allocation&) = delete;
  Allocation& operator=(const Allocation&) = delete;

  const std::shared_ptr<DeviceState> device;
  const Memory memory;
  std::atomic<std::uint64_t> retained_by{0};  ///< the last encoder that retained it: spares it doing so again
  const bool read_only;
  const bool placeholder = false;                    ///< no memory
  const bool restricted = read_only || placeholder;  ///< some may not bind it
  const std::size_t guard;                           ///< bytes before and after `memory` that nobody may touch
  const std::shared_ptr<const void> imported;        ///< keeps imported memory; null for our own
  std::atomic<std::uint64_t> last_sequence{0};       ///< the last submission that uses it, replays left out
  ResidencySet::Place residency;

  /// Remembers a plan that uses it: so a replay has nothing to do for each allocation.
  void add_plan(const PlanState&);
  /// The last submission that uses it; takes part in nothing's lifetime.
  std::uint64_t last_use() const;

 private:
  mutable std::mutex plans_mutex_;
  std::vector<std::shared_ptr<const std::atomic<std::uint64_t>>> replayed_;  // PlanState::last_sequence of each
};

inline AllocationRef::AllocationRef(Allocation& a) : allocation_(&a) { a.kept.fetch_add(1, std::memory_order_relaxed); }

}  // namespace halyard

#include "halyard/hal/residency.h"

#include <utility>

#include "halyard/hal/allocation.h"
#include "halyard/hal/state.h"

namespace halyard {

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

}  // namespace halyard

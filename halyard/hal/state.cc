#include "halyard/hal/state.h"

#include <pthread.h>

#include <utility>

#include <fmt/format.h>

#include "halyard/hal/submission.h"

namespace halyard {

DeviceState::DeviceState() {
  // Once a process, by its first device; a child inherits it.
  static const int watched = ::pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1); });
  static_cast<void>(watched);
}

// A kernel does not wait: the thread that is held back may be its own.
void DeviceState::settle() const {
  if (!is_of_parent() && !InKernelsOf::any(*this)) held_back.settle();
}

Result<void> DeviceState::wait(std::uint64_t sequence) {
  if (is_of_parent()) return check_lost();
  if (const Submission* own = InKernelsOf::any(*this); own && sequence >= own->sequence)
    return fail(own->named({Errc::invalid_state,
                            fmt::format("its kernel waits for {}, which cannot complete before the kernel returns",
                                        sequence == own->sequence ? "it" : "a command buffer behind it"),
                            {}}));
  if (timeout.count() == 0) {
    driver->wait(sequence);
    return {};
  }
  if (driver->wait_for(sequence, timeout)) return {};
  {
    const std::lock_guard lock(loss_mutex);
    if (sequence == stuck_sequence) return fail(loss);
  }
  return check_lost();
}

void DeviceState::lose(Submission& stuck, const std::string& running) {
  stuck.abandoned.store(true);
  const auto words = [&] {
    return fmt::format("not finished after {} ms{}", timeout.count(),
                       running.empty() ? "" : fmt::format(", in kernel {}", running));
  };
  stuck.fail_with(Errc::timeout, words);
  {
    const std::lock_guard lock(loss_mutex);
    if (lost) return;
    stuck_sequence = stuck.sequence;
    loss = if_memory([&] { return stuck.named({Errc::timeout, words(), {}}); });
    loss.code = Errc::timeout;
    lost.store(true, std::memory_order_release);
  }
  stuck.status.store(CommandBufferStatus::failed, std::memory_order_release);
}

std::string DeviceState::why_lost() const {
  const std::lock_guard lock(loss_mutex);
  return fmt::format("the device is lost: {}", loss.str());
}

Result<void> DeviceState::check_lost() const {
  if (is_of_parent())
    return fail(Errc::device_lost,
                "the device was opened before fork(), and its threads are the parent's: open one in the child");
  if (!lost.load(std::memory_order_acquire)) return {};
  return fail(Errc::device_lost, why_lost());
}

}  // namespace halyard

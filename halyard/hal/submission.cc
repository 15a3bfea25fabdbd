// What happens to a command buffer between commit and completion, for every driver.
#include <fmt/format.h>

#include "halyard/hal/state.h"

namespace halyard {

void Timeline::signal_failure(std::uint64_t value, Error error) {
  const std::lock_guard lock(mutex_);
  failures_.emplace(value, std::move(error));
}

std::optional<Error> Timeline::failure(std::uint64_t value) const {
  const std::lock_guard lock(mutex_);
  const auto it = failures_.find(value);
  if (it == failures_.end()) return {};
  return it->second;
}

std::optional<Error> Submission::dependency_failure() const {
  if (!wait_on) return {};
  const auto cause = wait_on->failure(wait_value);
  if (!cause) return {};
  return Error{Errc::dependency_failed, fmt::format("the fence it waits on ({}) failed: {}", wait_value, cause->str()), {}};
}

void Submission::fail_with(Error e) {
  const std::lock_guard lock(failure_mutex);
  if (failure) return;
  failure = std::make_shared<Failure>();
  failure->error = std::move(e).in(label.empty() ? "command buffer" : fmt::format("command buffer \"{}\"", label));
  failed.store(true, std::memory_order_release);
}

void Submission::complete() {
  if (failed.load(std::memory_order_acquire)) {
    if (signal) signal->signal_failure(signal_value, failure->error);
    const std::lock_guard lock(device->failures_mutex);
    auto& kept = device->failures;
    std::erase_if(kept, [](const auto& f) { return f->returned.load(); });
    kept.push_back(failure);
  }
  wait_on.reset();
  signal.reset();
  recording = {};
  status.store(failed ? CommandBufferStatus::failed : CommandBufferStatus::completed, std::memory_order_release);
}

Result<void> Submission::outcome() {
  if (!failed.load(std::memory_order_acquire)) return {};
  failure->returned.store(true);
  return fail(failure->error);
}

}  // namespace halyard

#include "halyard/hal/submission.h"

#include <utility>

#include <fmt/format.h>

namespace halyard {

namespace {
thread_local const InKernelsOf* innermost = nullptr;
}

InKernelsOf::InKernelsOf(const Submission& s) : submission_(s), outer_(std::exchange(innermost, this)) {}
InKernelsOf::~InKernelsOf() { innermost = outer_; }
const Submission* InKernelsOf::any(const DeviceState& d) {
  for (const InKernelsOf* in = innermost; in; in = in->outer_)
    if (in->submission_.device.get() == &d) return &in->submission_;
  return nullptr;
}

void SpareRecordings::take(Submission& s) {
  if (!s.device->is_of_parent()) {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      s.recording = std::move(spare_.back().recording);
      s.spare_failure = std::move(spare_.back().failure);
      spare_.pop_back();
    }
  }
  if (!s.spare_failure) s.spare_failure = std::make_shared<Failure>();
}

void SpareRecordings::give(Submission& s) noexcept {
  if (s.device->is_of_parent()) return;
  Recording r = std::exchange(s.recording, {});
  r.clear();
  const std::lock_guard lock(mutex_);
  if (spare_.size() < most) spare_.push_back({std::move(r), std::move(s.spare_failure)});
}

void Submission::fail_with_dependency() noexcept {
  if (!wait_on) return;
  const auto cause = wait_on->failure(wait_value);
  if (!cause) return;
  fail_with(Errc::dependency_failed, [&] {
    const std::string passed =
        cause->passed_on ? fmt::format(" (passed on by {} command buffers)", cause->passed_on) : "";
    return fmt::format("the fence it waits on ({}) failed: {}{}", wait_value, cause->first->error.str(), passed);
  });
}

// What its own fence says: the first failure, not each one's words about the one before.
FenceFailure Submission::to_signal() const {
  if (failure->error.code == Errc::dependency_failed && wait_on)
    if (auto cause = wait_on->failure(wait_value)) return {std::move(cause->first), cause->passed_on + 1};
  return {failure, 0};
}

Error Submission::named(Error e) const {
  return std::move(e).in(label.empty() ? "command buffer" : fmt::format("command buffer \"{}\"", label));
}

void Submission::fail_with(Error e) noexcept {
  const std::lock_guard lock(failure_mutex);
  if (failure) return;
  failure = std::move(spare_failure);
  const Errc code = e.code;
  failure->error = if_memory([&] {
    e.message = printable(std::move(e.message));  // kernels' and drivers' own words
    return named(std::move(e));
  });
  failure->error.code = code;
  failed.store(true, std::memory_order_release);
}

void Submission::abandon() {
  fail_with(Errc::device_lost, [&] { return device->why_lost(); });
  complete();
}

void Submission::let_go() {
  device->spare.give(*this);
  device->held_back.let_go();
}

void Submission::complete(bool still_read) {
  if (failed.load(std::memory_order_acquire)) {
    if (signal) signal->signal_failure(signal_value, to_signal());
    device->failures.add(failure);
  }
  wait_on.reset();
  signal.reset();
  if (!still_read) device->spare.give(*this);
  if (!device->lost.load(std::memory_order_acquire)) device->completed.store(sequence, std::memory_order_release);
  status.store(failed ? CommandBufferStatus::failed : CommandBufferStatus::completed, std::memory_order_release);
}

Result<void> Submission::outcome() {
  if (!failed.load(std::memory_order_acquire)) return {};
  Error told = failure->error;  // where there is no memory for that, nobody has been told
  failure->returned.store(true);
  return fail(std::move(told));
}

}  // namespace halyard

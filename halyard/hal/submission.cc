// What happens to a command buffer between commit and completion, for every driver.
#include <pthread.h>

#include <algorithm>

#include <fmt/format.h>

#include "halyard/hal/state.h"

namespace halyard {

void Timeline::signal_failure(std::uint64_t value, FenceFailure failure) {
  const std::lock_guard lock(mutex_);
  value_ = value;
  failure_ = std::move(failure);
}

std::optional<FenceFailure> Timeline::failure(std::uint64_t value) const {
  const std::lock_guard lock(mutex_);
  if (value == 0 || value != value_) return {};
  return failure_;
}

DeviceState::DeviceState() {
  // Once a process, by its first device; a child inherits it.
  static const int watched = ::pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1); });
  static_cast<void>(watched);
}

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

void kernel_threw(const CpuTile& t, const char* what) {
  if (!t.may_write()) return;  // another thread does the tile
  t.job->submission->fail_with(
      {Errc::kernel_failed, fmt::format("kernel {} threw: {}", t.job->record->kernel->def->name, what), {}});
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
  const Error error{Errc::timeout, fmt::format("not finished after {} ms{}", timeout.count(),
                                               running.empty() ? "" : fmt::format(", in kernel {}", running)), {}};
  stuck.fail_with(error);
  {
    const std::lock_guard lock(loss_mutex);
    if (lost) return;
    stuck_sequence = stuck.sequence;
    loss = stuck.named(error);
    lost.store(true, std::memory_order_release);
  }
  stuck.status.store(CommandBufferStatus::failed, std::memory_order_release);
}

Result<void> DeviceState::check_lost() const {
  if (is_of_parent())
    return fail(Errc::device_lost,
                "the device was opened before fork(), and its threads are the parent's: open one in the child");
  if (!lost.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock(loss_mutex);
  return fail(Errc::device_lost, fmt::format("the device is lost: {}", loss.str()));
}

Recording SpareRecordings::take() {
  const std::lock_guard lock(mutex_);
  if (spare_.empty()) return {};
  Recording r = std::move(spare_.back());
  spare_.pop_back();
  return r;
}

void SpareRecordings::give(Recording&& used) {
  Recording r = std::exchange(used, {});
  r.clear();
  const std::lock_guard lock(mutex_);
  if (spare_.size() < most) spare_.push_back(std::move(r));
}

std::optional<Error> Submission::dependency_failure() const {
  if (!wait_on) return {};
  const auto cause = wait_on->failure(wait_value);
  if (!cause) return {};
  const std::string passed =
      cause->passed_on ? fmt::format(" (passed on by {} command buffers)", cause->passed_on) : "";
  return Error{Errc::dependency_failed,
               fmt::format("the fence it waits on ({}) failed: {}{}", wait_value, *cause->first, passed),
               {}};
}

// What its own fence says: the first failure, not each one's words about the one before.
FenceFailure Submission::to_signal() const {
  if (failure->error.code == Errc::dependency_failed && wait_on)
    if (auto cause = wait_on->failure(wait_value)) return {std::move(cause->first), cause->passed_on + 1};
  return {std::make_shared<const std::string>(failure->error.str()), 0};
}

Error Submission::named(Error e) const {
  return std::move(e).in(label.empty() ? "command buffer" : fmt::format("command buffer \"{}\"", label));
}

void Submission::fail_with(Error e) {
  const std::lock_guard lock(failure_mutex);
  if (failure) return;
  failure = std::make_shared<Failure>();
  e.message = printable(std::move(e.message));  // kernels' and drivers' own words
  failure->error = named(std::move(e));
  failed.store(true, std::memory_order_release);
}

void Submission::abandon() {
  fail_with(device->check_lost().error());
  complete();
}

void Submission::let_go() {
  device->spare.give(std::move(recording));
  device->held_back.let_go();
}

void Submission::complete(bool still_read) {
  if (failed.load(std::memory_order_acquire)) {
    if (signal) signal->signal_failure(signal_value, to_signal());
    const std::lock_guard lock(device->failures_mutex);
    auto& kept = device->failures;
    if (kept.size() >= device->clear_failures_at) {
      std::erase_if(kept, [](const auto& f) { return f->returned.load(); });
      device->clear_failures_at = std::max<std::size_t>(64, 2 * kept.size());
    }
    kept.push_back(failure);
  }
  wait_on.reset();
  signal.reset();
  if (!still_read) device->spare.give(std::move(recording));
  if (!device->lost.load(std::memory_order_acquire)) device->completed.store(sequence, std::memory_order_release);
  status.store(failed ? CommandBufferStatus::failed : CommandBufferStatus::completed, std::memory_order_release);
}

Result<void> Submission::outcome() {
  if (!failed.load(std::memory_order_acquire)) return {};
  failure->returned.store(true);
  return fail(failure->error);
}

}  // namespace halyard

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

void FailureList::add(std::shared_ptr<Failure> f) {
  const std::lock_guard lock(mutex_);
  if (size_ >= drop_at_) drop_returned();
  Failure* const added = f.get();
  (last_ ? last_->next : first_) = std::move(f);
  last_ = added;
  ++size_;
}

void FailureList::drop_returned() {
  last_ = nullptr;
  size_ = 0;
  for (std::shared_ptr<Failure>* at = &first_; *at;) {
    if ((*at)->returned.load()) {
      *at = std::shared_ptr<Failure>(std::move((*at)->next));
    } else {
      last_ = at->get();
      ++size_;
      at = &last_->next;
    }
  }
  drop_at_ = std::max<std::size_t>(64, 2 * size_);
}

// One by one: a long list would take as deep a recursion.
void FailureList::clear() {
  while (first_) first_ = std::shared_ptr<Failure>(std::move(first_->next));
  last_ = nullptr;
  size_ = 0;
}

std::optional<Error> FailureList::tell_first() {
  const std::lock_guard lock(mutex_);
  std::optional<Error> told;
  for (Failure* f = first_.get(); f; f = f->next.get()) {
    if (f->returned.load()) continue;
    told = f->error;  // where there is no memory for that, nobody has been told
    if (!f->returned.exchange(true)) break;
    told.reset();
  }
  clear();
  return told;
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

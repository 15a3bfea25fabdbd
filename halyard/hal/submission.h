// A command buffer from its first dispatch to its completion. Internal to hal.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "halyard/base/guarded.h"
#include "halyard/hal/failure.h"
#include "halyard/hal/state.h"

namespace halyard {

/// One command buffer: open while an encoder records into it, then owned by the driver until it has completed.
struct Submission {
  explicit Submission(std::shared_ptr<DeviceState> d) : device(std::move(d)) { device->spare.take(*this); }

  std::shared_ptr<DeviceState> device;
  Recording recording;  ///< emptied on completion
  std::string label;
  std::shared_ptr<PreparedSubmission> prepared;  ///< the driver's, from make_ready() to submit()
  std::shared_ptr<Timeline> wait_on, signal;
  std::uint64_t wait_value = 0, signal_value = 0;
  std::uint64_t sequence = 0;
  std::atomic<CommandBufferStatus> status{CommandBufferStatus::open};
  std::chrono::steady_clock::time_point started{}, ended{};

  std::mutex failure_mutex;
  std::shared_ptr<Failure> failure, spare_failure;  ///< it is made with the submission: failing asks for no memory
  std::atomic<bool> failed{false};
  std::atomic<bool> abandoned{false};  ///< the device was lost while it ran

  /// Fails with the failure of the fence it waits on, if that has one. Asked when it is next to run.
  void fail_with_dependency() noexcept;
  FenceFailure to_signal() const;
  /// The error with the label in front.
  Error named(Error) const;
  /// The first failure wins. It is told without words where there is no memory for them.
  void fail_with(Error) noexcept;
  /// The same with words() as the message.
  template <class Words> void fail_with(Errc code, const Words& words) noexcept {
    fail_with({code, if_memory(words), {}});
  }
  /// Fails with the loss of its device and completes without having run.
  void abandon();
  /// Signals the fence, lets go of everything it held, and sets the final status. Called by the driver, once. `still_read`:
  /// a thread still reads what it recorded; the driver has counted it in `held_back`, and calls let_go(), at any time, when
  /// that thread is done.
  void complete(bool still_read = false);
  void let_go();
  Result<void> outcome();
};

/// While it lives, its thread runs kernels of a submission.
class InKernelsOf {
 public:
  explicit InKernelsOf(const Submission&);
  ~InKernelsOf();
  InKernelsOf(const InKernelsOf&) = delete;
  /// The device's submission whose kernel makes this call; null: it comes from outside.
  static const Submission* any(const DeviceState&);

 private:
  const Submission& submission_;
  const InKernelsOf* const outer_;  // a kernel may wait for another device's
};

}  // namespace halyard

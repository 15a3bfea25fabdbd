// A driver that fails on purpose, so that tests see every failure a device can have.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <unordered_map>

#include "halyard/hal/cpu/job.h"
#include "halyard/testing/forwarding_driver.h"

namespace halyard::testing {

/// How often each thing happens, in thousandths.
struct FaultOdds {
  unsigned allocate = 0, compile = 0, kernel = 0, submission = 0;  ///< calls that fail
  unsigned copy = 0, prepare = 0;                                  ///< these too: reads and writes; forms of plans
  unsigned plan = 0;                                               ///< prepare() returns no form of its own: no failure
  unsigned hold =
      0;  ///< a submission is held back, and with it those behind, until somebody waits or more is submitted
  unsigned loss = 0;  ///< a wait with a timeout for work held back: the first of it never finishes
};

/// Stands before a driver of CPU forms and makes some calls fail: allocate(), read(), … return an error, one tile of one
/// dispatch (of a replayed plan, too) reports failure, a submission completes with failure and without running, or never
/// completes, and the device is lost. What fails depends on the seed and the order of calls alone. Errors say "injected".
class FaultDriver final : public ForwardingDriver {
 public:
  /// What was done to a submission.
  struct Fault {
    std::string kernel;  ///< whose tile fails; empty: the submission as a whole
    bool in_plan = false;
  };

  FaultDriver(std::unique_ptr<Driver> inner, std::uint64_t seed, FaultOdds);
  ~FaultDriver() override { drop_inner(); }  // it may still run what the members describe

  void set_odds(FaultOdds);
  /// What was done to the submission of this number.
  std::optional<Fault> fault(std::uint64_t sequence) const;
  /// Calls made to fail so far.
  std::uint64_t count() const;
  /// The submission that never finished, or 0.
  std::uint64_t stuck() const;
  /// Lets it finish after all, as when a stuck kernel returns.
  void release();

  Result<Memory> allocate(std::size_t bytes) override;
  Result<void> write(const Memory& to, std::size_t offset, std::span<const std::byte> from) override;
  Result<void> read(const Memory& from, std::size_t offset, std::span<std::byte> to) override;
  Result<std::unique_ptr<CompiledKernel>> compile(const KernelDef&, const Constants& specialisation) override;
  Result<std::unique_ptr<const PreparedPlan>> prepare(const PlanState&) override;
  Result<void> make_ready(Submission&) override;
  void submit(std::shared_ptr<Submission>, bool will_wait) noexcept override;
  void wait(std::uint64_t sequence) override;
  bool wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout) override;

 private:
  using Held = std::deque<std::shared_ptr<Submission>>;
  bool chance(unsigned thousandths) { return random_() % 1000 < thousandths; }
  bool hit(unsigned thousandths);
  Result<std::optional<Fault>> fail_one_dispatch(Submission&);
  const CompiledKernel* failing(const CompiledKernel&);
  void hand_on(bool will_wait);
  void lose(Held);

  mutable std::mutex mutex_;  // guards what stands between here and inner_
  std::mt19937_64 random_;
  FaultOdds odds_;
  std::uint64_t count_ = 0;
  std::unordered_map<std::uint64_t, Fault> faults_;
  std::deque<CpuKernel> failing_;  // twins of real kernels, at a stable address
  Held held_;
  std::uint64_t lost_at_ = 0;          // the submission that never finished; 0: none
  std::shared_ptr<Submission> stuck_;  // it
};

/// A device behind a FaultDriver, which lives as long as the device.
struct FaultyDevice {
  Device device;
  FaultDriver* driver;
};
FaultyDevice open_faulty(std::unique_ptr<Driver> inner, const DeviceOptions&, std::uint64_t seed, FaultOdds);

}  // namespace halyard::testing

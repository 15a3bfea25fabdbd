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

#include "halyard/hal/driver.h"

namespace halyard::testing {

/// How often each call fails, in thousandths.
struct FaultOdds {
  unsigned allocate = 0, compile = 0, kernel = 0, submission = 0;
};

/// Stands before another driver and makes some calls fail: allocate() and compile() return an error, one tile of one
/// dispatch reports failure, or a submission completes with failure and without running. What fails depends on the seed
/// and the order of calls alone. Every error says "injected".
class FaultDriver final : public Driver {
 public:
  /// What was done to a submission.
  struct Fault {
    std::string kernel;  ///< whose tile fails; empty: the submission as a whole
  };

  FaultDriver(std::unique_ptr<Driver> inner, std::uint64_t seed, FaultOdds);

  void set_odds(FaultOdds);
  /// What was done to the submission of this number.
  std::optional<Fault> fault(std::uint64_t sequence) const;
  /// Calls made to fail so far.
  std::uint64_t count() const;

  const Capabilities& capabilities() const override { return inner_->capabilities(); }
  Result<Memory> allocate(std::size_t bytes) override;
  void free(const Memory& m) override { inner_->free(m); }
  Result<void> compile(const KernelDef&, const Constants& specialisation, CompiledKernel& out) override;
  void submit(std::shared_ptr<Submission>, bool will_wait) override;
  void wait(std::uint64_t sequence) override { inner_->wait(sequence); }
  bool wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout) override {
    return inner_->wait_for(sequence, timeout);
  }

 private:
  bool hit(unsigned thousandths);

  mutable std::mutex mutex_;  // guards what stands between here and inner_
  std::mt19937_64 random_;
  FaultOdds odds_;
  std::uint64_t count_ = 0;
  std::unordered_map<std::uint64_t, Fault> faults_;
  std::deque<CompiledKernel> failing_;  // twins of real kernels, at a stable address
  std::unique_ptr<Driver> inner_;       // goes first: it may still run what the others describe
};

/// A CPU device behind a FaultDriver, which lives as long as the device.
struct FaultyDevice {
  Device device;
  FaultDriver* driver;
};
FaultyDevice open_faulty_cpu(const DeviceOptions&, std::uint64_t seed, FaultOdds);

}  // namespace halyard::testing

#include "halyard/testing/fault_driver.h"

#include <fmt/format.h>

#include "halyard/hal/state.h"

namespace halyard::testing {
namespace {

void fail_first_tile(const CpuTile& t) {
  if (t.x0 == 0 && t.y0 == 0 && t.z0 == 0) t.fail("injected failure of the first tile");
}
void fail_last_tile(const CpuTile& t) {
  if (t.x1 == t.grid.x && t.y1 == t.grid.y && t.z1 == t.grid.z) t.fail("injected failure of the last tile");
}

}  // namespace

FaultDriver::FaultDriver(std::unique_ptr<Driver> inner, std::uint64_t seed, FaultOdds odds)
    : random_(seed), odds_(odds), inner_(std::move(inner)) {}

void FaultDriver::set_odds(FaultOdds odds) {
  const std::lock_guard lock(mutex_);
  odds_ = odds;
}

std::optional<FaultDriver::Fault> FaultDriver::fault(std::uint64_t sequence) const {
  const std::lock_guard lock(mutex_);
  const auto it = faults_.find(sequence);
  return it == faults_.end() ? std::nullopt : std::optional(it->second);
}

std::uint64_t FaultDriver::count() const {
  const std::lock_guard lock(mutex_);
  return count_;
}

bool FaultDriver::hit(unsigned thousandths) {
  const bool now = random_() % 1000 < thousandths;
  count_ += now;
  return now;
}

Result<Memory> FaultDriver::allocate(std::size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (hit(odds_.allocate)) return fail(Errc::out_of_memory, fmt::format("injected: no memory for {} bytes", bytes));
  }
  return inner_->allocate(bytes);
}

Result<void> FaultDriver::compile(const KernelDef& def, const Constants& specialisation, CompiledKernel& out) {
  {
    const std::lock_guard lock(mutex_);
    if (hit(odds_.compile)) return fail(Errc::unsupported, fmt::format("injected: kernel {} does not compile", def.name));
  }
  return inner_->compile(def, specialisation, out);
}

void FaultDriver::submit(std::shared_ptr<Submission> s, bool will_wait) {
  {
    const std::lock_guard lock(mutex_);
    std::vector<Record>& records = s->recording.records;
    if (hit(odds_.submission)) {
      faults_[s->sequence] = {};
      s->fail_with({Errc::io, "injected failure of the submission", {}});
    } else if (!records.empty() && hit(odds_.kernel)) {
      Record& r = records[random_() % records.size()];
      failing_.push_back(*r.kernel);
      failing_.back().cpu = random_() % 2 ? fail_first_tile : fail_last_tile;
      r.kernel = &failing_.back();
      faults_[s->sequence] = {std::string(r.kernel->def->name)};
    }
  }
  inner_->submit(std::move(s), will_wait);
}

FaultyDevice open_faulty_cpu(const DeviceOptions& options, std::uint64_t seed, FaultOdds odds) {
  auto state = std::make_shared<DeviceState>();
  auto driver = std::make_unique<FaultDriver>(std::move(*open_cpu_driver(options)), seed, odds);
  FaultDriver* faults = driver.get();
  state->driver = std::move(driver);
  state->timeout = options.timeout;
  state->validate = options.validate;
  if (options.profile) state->profiler = std::make_unique<Profiler>();
  return {Device(std::move(state)), faults};
}

}  // namespace halyard::testing

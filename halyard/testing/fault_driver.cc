#include "halyard/testing/fault_driver.h"

#include <fmt/format.h>

#include "halyard/hal/plan_state.h"
#include "halyard/hal/submission.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/open_device.h"

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
    : ForwardingDriver(std::move(inner)), random_(seed), odds_(odds) {}

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
  return inner().allocate(bytes);
}

Result<void> FaultDriver::write(const Memory& to, std::size_t offset, std::span<const std::byte> from) {
  {
    const std::lock_guard lock(mutex_);
    if (hit(odds_.copy)) return fail(Errc::io, fmt::format("injected: {} bytes are not written", from.size()));
  }
  return inner().write(to, offset, from);
}

Result<void> FaultDriver::read(const Memory& from, std::size_t offset, std::span<std::byte> to) {
  {
    const std::lock_guard lock(mutex_);
    if (hit(odds_.copy)) return fail(Errc::io, fmt::format("injected: {} bytes are not read", to.size()));
  }
  return inner().read(from, offset, to);
}

Result<std::unique_ptr<CompiledKernel>> FaultDriver::compile(const KernelDef& def, const Constants& specialisation) {
  {
    const std::lock_guard lock(mutex_);
    if (hit(odds_.compile))
      return fail(Errc::unsupported, fmt::format("injected: kernel {} does not compile", def.name));
  }
  return inner().compile(def, specialisation);
}

Result<std::unique_ptr<const PreparedPlan>> FaultDriver::prepare(const PlanState& p) {
  {
    const std::lock_guard lock(mutex_);
    if (hit(odds_.prepare)) return fail(Errc::unsupported, "injected: the plan cannot be made ready");
    if (chance(odds_.plan)) return nullptr;
  }
  return inner().prepare(p);
}

// The kernel, but one of its tiles fails.
const CompiledKernel* FaultDriver::failing(const CompiledKernel& kernel) {
  failing_.push_back(static_cast<const CpuKernel&>(kernel));
  failing_.back().run = random_() % 2 ? fail_first_tile : fail_last_tile;
  return &failing_.back();
}

namespace {

// A plan with one kernel exchanged. It holds the original, whose memory and constants it uses.
struct Twin {
  std::shared_ptr<const PlanState> original;
  PlanState plan;
};

Result<std::shared_ptr<const PlanState>> twin_of(const std::shared_ptr<const PlanState>& original, std::size_t record,
                                                 const CompiledKernel* kernel, Driver& driver) {
  auto twin = std::make_shared<Twin>();
  twin->original = original;
  auto recording = std::make_shared<Recording>();
  recording->records = original->recording->records;
  recording->records[record].kernel = kernel;
  PlanState& p = twin->plan;
  p.recording = std::move(recording);
  p.device = original->device;
  p.barriers = original->barriers;
  p.parameters = original->parameters;
  p.patched = original->patched;
  p.constants = original->constants;
  p.last_sequence = original->last_sequence;  // it is replayed in its place
  p.prepared = HALYARD_TRY(driver.prepare(p));
  return std::shared_ptr<const PlanState>(twin, &p);
}

}  // namespace

Result<std::optional<FaultDriver::Fault>> FaultDriver::fail_one_dispatch(Submission& s) {
  std::vector<Record>& records = s.recording.records;
  std::size_t dispatches = records.size();
  for (const PlanCall& c : s.recording.calls) dispatches += c.plan->recording->records.size();
  if (dispatches == 0 || !hit(odds_.kernel)) return std::nullopt;
  std::size_t at = random_() % dispatches;
  if (at < records.size()) {
    records[at].kernel = failing(*records[at].kernel);
    return Fault{std::string(records[at].kernel->def->name), false};
  }
  at -= records.size();
  for (PlanCall& c : s.recording.calls) {
    const std::vector<Record>& of_plan = c.plan->recording->records;
    if (at < of_plan.size()) {
      const CompiledKernel* kernel = failing(*of_plan[at].kernel);
      c.plan = HALYARD_TRY(twin_of(c.plan, at, kernel, inner()));
      return Fault{std::string(kernel->def->name), true};
    }
    at -= of_plan.size();
  }
  return std::nullopt;
}

namespace {

// What is to go wrong, and what the driver behind has prepared.
struct Faulty final : PreparedSubmission {
  std::optional<FaultDriver::Fault> fault;
  std::shared_ptr<PreparedSubmission> inner;
};

}  // namespace

// The driver behind says first whether there is memory: what comes after that is sure to be submitted.
Result<void> FaultDriver::make_ready(Submission& s) {
  HALYARD_TRY(inner().make_ready(s));
  const SpareNew faults;
  const std::lock_guard lock(mutex_);
  if (lost_at_) return {};
  auto faulty = std::make_shared<Faulty>();
  if (hit(odds_.submission)) {
    faulty->fault = Fault{};
  } else {
    faulty->fault = HALYARD_TRY(fail_one_dispatch(s));
    if (faulty->fault) HALYARD_TRY(inner().make_ready(s));
  }
  faulty->inner = std::exchange(s.prepared, faulty);
  return {};
}

void FaultDriver::submit(std::shared_ptr<Submission> s, bool will_wait) noexcept {
  std::unique_lock lock(mutex_);
  if (lost_at_) {
    lock.unlock();
    return s->abandon();
  }
  {
    const SpareNew faults;
    const auto faulty = std::static_pointer_cast<Faulty>(std::move(s->prepared));
    s->prepared = std::move(faulty->inner);
    if (faulty->fault && faulty->fault->kernel.empty())
      s->fail_with({Errc::io, "injected failure of the submission", {}});
    if (faulty->fault) faults_[s->sequence] = std::move(*faulty->fault);
    held_.push_back(std::move(s));
  }
  if (!chance(odds_.hold)) hand_on(will_wait);
}

void FaultDriver::hand_on(bool will_wait) {
  for (; !held_.empty(); held_.pop_front()) inner().submit(std::move(held_.front()), will_wait);
}

void FaultDriver::wait(std::uint64_t sequence) {
  {
    const std::lock_guard lock(mutex_);
    hand_on(true);
  }
  inner().wait(sequence);
}

bool FaultDriver::wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  if (lost_at_ == 0 && !held_.empty() && held_.front()->sequence <= sequence && hit(odds_.loss)) {
    lost_at_ = held_.front()->sequence;
    const SpareNew faults;
    Held lost;
    lost.swap(held_);
    lock.unlock();
    lose(std::move(lost));
    lock.lock();
  }
  if (lost_at_ && sequence >= lost_at_) return false;
  hand_on(true);
  lock.unlock();
  return inner().wait_for(sequence, timeout);
}

// The first of them never finishes; those behind it are given up.
void FaultDriver::lose(Held held) {
  stuck_ = std::move(held.front());
  held.pop_front();
  inner().wait_for(lost_at_ - 1, std::chrono::hours(1));
  stuck_->device->lose(*stuck_, "injected");
  for (const auto& s : held) s->abandon();
}

std::uint64_t FaultDriver::stuck() const {
  const std::lock_guard lock(mutex_);
  return lost_at_;
}

void FaultDriver::release() {
  if (const std::shared_ptr<Submission> s = std::exchange(stuck_, nullptr)) s->complete();
}

FaultyDevice open_faulty(std::unique_ptr<Driver> inner, const DeviceOptions& options, std::uint64_t seed,
                         FaultOdds odds) {
  auto driver = std::make_unique<FaultDriver>(std::move(inner), seed, odds);
  FaultDriver* faults = driver.get();
  return {open_device(std::move(driver), options), faults};
}

}  // namespace halyard::testing

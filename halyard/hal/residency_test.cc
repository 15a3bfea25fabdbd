// What a driver is told to pin, and when.
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/plan_state.h"
#include "halyard/hal/state.h"
#include "halyard/hal/submission.h"
#include "halyard/testing/forwarding_driver.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

/// Stands before the CPU driver and remembers what it is told to pin. Finds fault with memory that is pinned twice,
/// unpinned while work uses it, or freed while pinned.
class PinLog final : public ForwardingDriver {
 public:
  PinLog() : ForwardingDriver(std::move(*open_cpu_driver({.cpu = {.threads = 2, .pin = false}}))) {}
  void free(const Memory& m) override {
    EXPECT_FALSE(is_pinned(m.host)) << "freed while pinned";
    inner().free(m);
  }

  Result<void> pin(const Memory& m) override {
    const std::lock_guard lock(mutex_);
    ++calls_;
    if (m.bytes > most_) return fail(Errc::out_of_memory, "too much to pin");
    EXPECT_TRUE(pinned_.insert(m.host).second) << "pinned twice";
    return {};
  }
  void unpin(const Memory& m) override {
    const std::lock_guard lock(mutex_);
    ++calls_;
    EXPECT_EQ(pinned_.erase(m.host), 1U) << "unpinned without having been pinned";
    for (const auto& [weak, uses] : submitted_) {
      const auto submission = weak.lock();
      if (!submission || !uses.contains(m.host)) continue;
      EXPECT_NE(submission->ended, Profiler::Clock::time_point())
          << "unpinned while " << submission->label << " uses it";
    }
  }
  void submit(std::shared_ptr<Submission> s, bool will_wait) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      std::set<void*> uses;
      for (const auto& a : s->recording.retained) uses.insert(a->memory.host);
      for (const PlanCall& c : s->recording.calls)
        for (const auto& a : c.plan->recording->retained) uses.insert(a->memory.host);
      std::erase_if(submitted_, [](const auto& w) { return is_done(w.first.lock().get()); });
      pinned_at_submit_ = pinned_;
      submitted_.emplace_back(s, std::move(uses));
    }
    inner().submit(std::move(s), will_wait);
  }

  bool is_pinned(const void* host) const {
    const std::lock_guard lock(mutex_);
    return pinned_.contains(const_cast<void*>(host));
  }
  bool was_pinned_at_submit(const Buffer& b) const { return pinned_at_submit_.contains(b.allocation()->memory.host); }
  bool is_pinned(const Buffer& b) const { return is_pinned(b.allocation()->memory.host); }
  std::size_t calls() const { return calls_; }
  void refuse_above(std::size_t bytes) { most_ = bytes; }

 private:
  static bool is_done(const Submission* s) {
    if (!s) return true;
    const auto status = s->status.load();
    return status == CommandBufferStatus::completed || status == CommandBufferStatus::failed;
  }

  mutable std::mutex mutex_;
  std::set<void*> pinned_, pinned_at_submit_;
  std::vector<std::pair<std::weak_ptr<Submission>, std::set<void*>>> submitted_;
  std::size_t calls_ = 0, most_ = SIZE_MAX;
  std::unique_ptr<Driver> inner_;
};

class ResidencyTest : public ::testing::Test {
 protected:
  ResidencyTest() {
    auto state = std::make_shared<DeviceState>();
    auto driver = std::make_unique<PinLog>();
    log = driver.get();
    state->driver = std::move(driver);
    device.emplace(std::move(state));
    session.emplace(value(device->encoder_session()));
  }
  ~ResidencyTest() override {
    gate = true;
    ok(device->wait_idle());
  }

  void commit() {
    ok(session->commit_stage());
    ok(session->reset_for_next_stage());
  }
  /// Commits work that uses the buffer and does not end before the gate is open.
  void commit_gated(const Buffer& b) {
    ok(run(session->encoder(), gated_kernel, {b}, 1, &gate));
    session->begin_stage("gated");
    commit();
  }
  static void wait_at_gate(const CpuTile& t) {
    while (!t.constants_as<std::atomic<bool>*>()->load()) std::this_thread::yield();
  }
  inline static const KernelDef gated_kernel = {"test_gated", "x", {&cpu_form<wait_at_gate>}};

  std::atomic<bool> gate{false};
  PinLog* log = nullptr;
  std::optional<Device> device;
  std::optional<EncoderSession> session;
};

TEST_F(ResidencyTest, PinsWhatWasAddedBeforeTheNextSubmissionIsHandedOver) {
  const Buffer b = value(device->alloc(DType::i32, {64}));
  EXPECT_FALSE(log->is_pinned(b));
  commit();
  EXPECT_TRUE(log->was_pinned_at_submit(b));
  const std::size_t calls = log->calls();
  commit();
  EXPECT_EQ(log->calls(), calls);
  EXPECT_EQ(device->residency().count, 1U);
  EXPECT_EQ(device->residency().bytes, 256U);
  EXPECT_EQ(device->residency().refusal, "");
}

TEST_F(ResidencyTest, UnpinsAtTheFirstCommitAfterTheWorkThatUsesIt) {
  const Buffer b = value(device->alloc(DType::i32, {64}));
  commit_gated(b);
  EXPECT_TRUE(session->remove_from_residency_set(b));
  commit();
  EXPECT_TRUE(log->is_pinned(b));
  gate = true;
  ok(device->wait_idle());
  EXPECT_TRUE(log->is_pinned(b));
  commit();
  EXPECT_FALSE(log->is_pinned(b));
  const std::size_t calls = log->calls();
  commit();
  EXPECT_EQ(log->calls(), calls);
}

TEST_F(ResidencyTest, DoesNotUnpinWhatTheVerySubmissionUses) {
  const Buffer b = value(device->alloc(DType::i32, {64}));
  commit();
  EXPECT_TRUE(session->remove_from_residency_set(b));
  commit_gated(b);
  EXPECT_TRUE(log->was_pinned_at_submit(b));
}

TEST_F(ResidencyTest, AReplayedPlanUsesItsMemory) {
  const Buffer b = value(device->alloc(DType::i32, {64}));
  auto capturing = value(device->command_encoder());
  capturing.start_capture();
  ok(run(capturing, gated_kernel, {b}, 1, &gate));
  const Plan plan = value(value(capturing.take_capture()).compile());
  ok(session->encoder().replay(plan));
  commit();
  EXPECT_TRUE(session->remove_from_residency_set(b));
  commit();
  EXPECT_TRUE(log->is_pinned(b));
  gate = true;
  ok(device->wait_idle());
  commit();
  EXPECT_FALSE(log->is_pinned(b));
}

TEST_F(ResidencyTest, ChangesThatCancelOutAreNotTheDriversBusiness) {
  const Buffer b = value(device->alloc(DType::i32, {64}));
  EXPECT_TRUE(session->remove_from_residency_set(b));
  commit();
  EXPECT_EQ(log->calls(), 0U);
  EXPECT_TRUE(session->add_to_residency_set(b));
  commit();
  EXPECT_TRUE(session->remove_from_residency_set(b));
  EXPECT_TRUE(session->add_to_residency_set(b));
  commit();
  EXPECT_EQ(log->calls(), 1U);
}

TEST_F(ResidencyTest, DroppedMemoryIsUnpinnedBeforeItIsFreedAndNoLongerCounted) {
  Buffer b = value(device->alloc(DType::i32, {64}));
  commit();
  b = Buffer();
  ok(device->wait_idle());
  EXPECT_EQ(log->calls(), 2U);
  EXPECT_EQ(device->residency_count(), 0U);
  EXPECT_EQ(device->residency().bytes, 0U);
}

TEST_F(ResidencyTest, TheLastHandleTakesItsMemoryOutOfTheCountWhileWorkUsesIt) {
  Buffer b = value(device->alloc(DType::i32, {64}));
  void* const host = b.allocation()->memory.host;
  Buffer view = value(b.view(4, DType::i32, {2}));
  commit_gated(b);
  b = Buffer();
  EXPECT_EQ(device->residency_count(), 1U);  // the view is a handle
  view = Buffer();
  EXPECT_EQ(device->residency_count(), 0U);
  commit();
  EXPECT_TRUE(log->is_pinned(host));
  gate = true;
  ok(device->wait_idle());
  EXPECT_FALSE(log->is_pinned(host));
}

TEST_F(ResidencyTest, MemoryOfAnotherDeviceIsRefused) {
  Device other = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  const Buffer foreign = value(other.alloc(DType::i32, {64}));
  EXPECT_FALSE(session->add_to_residency_set(foreign));
  EXPECT_FALSE(session->remove_from_residency_set(foreign));
  EXPECT_FALSE(session->remove_from_residency_set(Buffer()));
  EXPECT_EQ(device->residency_count(), 0U);
  EXPECT_EQ(other.residency_count(), 1U);
  EXPECT_EQ(run(session->encoder(), scale_in_place_kernel, {foreign}, 64, 1U).error().code, Errc::invalid_argument);
}

TEST_F(ResidencyTest, ARefusalIsToldAndNotRepeatedUntilItIsAskedForAgain) {
  log->refuse_above(256);
  const Buffer small = value(device->alloc(DType::i32, {64})), large = value(device->alloc(DType::i32, {65}));
  commit();
  commit();
  EXPECT_EQ(log->calls(), 2U);
  EXPECT_TRUE(log->is_pinned(small));
  EXPECT_FALSE(log->is_pinned(large));
  EXPECT_EQ(device->residency().refusal, "too much to pin");
  EXPECT_EQ(device->residency_count(), 2U);
  log->refuse_above(1024);
  EXPECT_TRUE(session->remove_from_residency_set(large));
  EXPECT_TRUE(session->add_to_residency_set(large));
  commit();
  EXPECT_TRUE(log->is_pinned(large));
}

// Buffers come, go, leave the set and return while work runs. The log judges each call; here, that all members are pinned
// whenever work is handed over, and that in the end nothing is left.
TEST_F(ResidencyTest, HoldsForRandomPrograms) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::vector<std::pair<Buffer, bool>> buffers;  // and whether they are members
  for (int step = 0; step < 3000; ++step) {
    const std::size_t i = buffers.empty() ? 0 : random() % buffers.size();
    switch (buffers.empty() ? 0 : random() % 6) {
      case 0: buffers.emplace_back(value(device->alloc(DType::i32, {64})), true); break;
      case 1:
        EXPECT_TRUE(session->add_to_residency_set(buffers[i].first));
        buffers[i].second = true;
        break;
      case 2:
        EXPECT_TRUE(session->remove_from_residency_set(buffers[i].first));
        buffers[i].second = false;
        break;
      case 3:
        std::swap(buffers[i], buffers.back());
        buffers.pop_back();
        break;
      case 4: ok(run(session->encoder(), scale_in_place_kernel, {buffers[i].first}, 64, 1U)); break;
      case 5:
        commit();
        for (const auto& [b, member] : buffers) { EXPECT_TRUE(!member || log->was_pinned_at_submit(b)) << step; }
        break;
    }
    ASSERT_FALSE(HasFailure()) << "at step " << step;
  }
  for (const auto& [b, member] : buffers) session->remove_from_residency_set(b);
  commit();
  ok(device->wait_idle());
  commit();
  for (const auto& [b, member] : buffers) EXPECT_FALSE(log->is_pinned(b));
  EXPECT_EQ(device->residency_count(), 0U);
}

// Memory is dropped on the threads that complete work while another one commits.
TEST_F(ResidencyTest, ManyThreadsMayChangeIt) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      auto s = value(device->encoder_session());
      for (int i = 0; i < 200; ++i) {
        const Buffer b = value(device->alloc(DType::i32, {64}));
        if (i % 3 == 0) s.remove_from_residency_set(b);
        ok(run(s.encoder(), scale_in_place_kernel, {b}, 64, 1U));
        if (i % 4 == t) s.remove_from_residency_set(b);
        ok(s.commit_stage());
        ok(s.reset_for_next_stage());
      }
    });
  for (auto& t : threads) t.join();
  ok(device->wait_idle());
  commit();
  EXPECT_EQ(device->residency_count(), 0U);
  EXPECT_EQ(device->residency().bytes, 0U);
}

}  // namespace
}  // namespace halyard

// The session, call by call, as every device must keep it.
#include "halyard/hal/session.h"

#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "halyard/testing/conformance/devices.h"
#include "halyard/testing/sim/random.h"

namespace halyard {
namespace {

using namespace testing;

class Session : public OnEveryDevice {
 protected:
  Device device = open();
  Buffer buffer = value(device.alloc(DType::u32, {256}));

  void scale(EncoderSession& s, std::uint32_t c = 1) { ok(run(s.encoder(), scale_in_place_kernel, {buffer}, 256, c)); }
};

TEST_P(Session, StartsLiveWithoutAnEvent) {
  auto s = value(device.encoder_session());
  EXPECT_FALSE(s.is_drained());
  EXPECT_FALSE(s.is_fence_pending());
  EXPECT_FALSE(s.has_event());
  EXPECT_EQ(s.fence_value() + s.wait_value() + s.wait_count(), 0U);
  EXPECT_EQ(device.stats().command_buffers, 1U);
  EXPECT_EQ(s.command_buffer().status(), CommandBufferStatus::open);
}

TEST_P(Session, EveryCallOnADrainedSessionDoesNothingButReset) {
  auto s = value(device.encoder_session());
  ok(s.commit_stage());
  EXPECT_TRUE(s.is_drained());
  EXPECT_FALSE(s.is_fence_pending());
  const Stats before = device.stats();
  ok(s.commit_stage());
  ok(s.commit_and_wait());
  ok(s.fence_stage("late"));
  EXPECT_FALSE(s.is_fence_pending());
  EXPECT_FALSE(s.has_event());
  EXPECT_EQ(device.stats().syncs, before.syncs);
  EXPECT_EQ(device.stats().command_buffers, before.command_buffers);
  ok(s.reset_for_next_stage());
  EXPECT_FALSE(s.is_drained());
  EXPECT_EQ(s.wait_count(), 0U);
  EXPECT_EQ(device.stats().command_buffers, before.command_buffers + 1);
  ok(s.reset_for_next_stage());
  EXPECT_EQ(device.stats().command_buffers, before.command_buffers + 1);
}

TEST_P(Session, CommitAndWaitCountsOneSync) {
  auto s = value(device.encoder_session());
  scale(s);
  ok(s.commit_and_wait());
  EXPECT_TRUE(s.is_drained());
  EXPECT_EQ(device.stats().syncs, 1U);
  EXPECT_EQ(s.command_buffer().status(), CommandBufferStatus::completed);
}

TEST_P(Session, FencesChainStagesAndCountWaits) {
  for (const std::uint64_t n : {1U, 2U, 5U, 100U, 1000U}) {
    auto s = value(device.encoder_session());
    device.reset_stats();
    for (std::uint64_t i = 1; i <= n; ++i) {
      scale(s);
      ok(s.fence_stage());
      EXPECT_TRUE(s.is_drained() && s.is_fence_pending() && s.has_event());
      EXPECT_EQ(s.fence_value(), i);
      EXPECT_EQ(device.stats().command_buffers, i - 1);
      EXPECT_EQ(device.stats().syncs, 0U);
      if (i == n) break;
      ok(s.reset_for_next_stage());
      EXPECT_EQ(s.wait_value(), i);
      EXPECT_EQ(s.wait_count(), i);
    }
    EXPECT_EQ(s.fence_value(), n);
    EXPECT_EQ(s.wait_count(), n - 1);
    EXPECT_EQ(s.wait_value(), n - 1);
    ok(s.reset_for_next_stage());
    ok(s.commit_and_wait());
    EXPECT_EQ(s.wait_count(), n);
    EXPECT_EQ(s.wait_value(), n);
  }
}

TEST_P(Session, TheLastLabelBeforeACommitWins) {
  auto s = value(device.encoder_session());
  s.begin_stage("first");
  s.begin_stage("second");
  ok(s.commit_stage());
  EXPECT_EQ(s.command_buffer().label(), "second");
  ok(s.reset_for_next_stage());
  s.begin_stage("third");
  ok(s.fence_stage("fourth"));
  EXPECT_EQ(s.command_buffer().label(), "fourth");
  ok(s.reset_for_next_stage());
  ok(s.commit_and_wait());
  EXPECT_EQ(s.command_buffer().label(), "");
}

TEST_P(Session, PairsMakeTwoEncodersOrOneStageEach) {
  for (const std::uint32_t pairs : {1U, 2U, 5U, 8U, 61U}) {
    const std::vector<std::uint32_t> zero(256);
    ok(buffer.write(std::span<const std::uint32_t>(zero)));
    device.reset_stats();
    for (std::uint32_t i = 0; i < 2 * pairs; ++i) {
      auto e = value(device.command_encoder());
      ok(run(e, scale_in_place_kernel, {buffer}, 256, 1U));
      ok(e.commit_and_wait());
    }
    EXPECT_EQ(device.stats().command_buffers, 2 * pairs);
    EXPECT_EQ(device.stats().syncs, 2 * pairs);
    const auto plain = value(buffer.read<std::uint32_t>());

    ok(buffer.write(std::span<const std::uint32_t>(zero)));
    device.reset_stats();
    auto s = value(device.encoder_session());
    for (std::uint32_t i = 0; i < pairs; ++i) {
      scale(s);
      s.encoder().memory_barrier();
      scale(s);
      ok(s.fence_stage());
      if (i + 1 < pairs) ok(s.reset_for_next_stage());
    }
    EXPECT_EQ(device.stats().command_buffers, pairs);
    EXPECT_EQ(device.stats().explicit_barriers, pairs);
    EXPECT_EQ(device.stats().syncs, 0U);
    EXPECT_EQ(value(buffer.read<std::uint32_t>()), plain);
  }
}

// The rows of the session's table, each for a live and for a drained session.
struct Row {
  const char* call;
  Result<void> (*make)(EncoderSession&);
  bool fences, waits;
};
const Row rows[] = {{"commit_stage", [](EncoderSession& s) { return s.commit_stage(); }, false, false},
                    {"commit_and_wait", [](EncoderSession& s) { return s.commit_and_wait(); }, false, true},
                    {"fence_stage", [](EncoderSession& s) { return s.fence_stage("fenced"); }, true, false}};

TEST_P(Session, KeepsTheTableForALiveAndADrainedSession) {
  for (const Row& first : rows) {
    for (const Row& second : rows) {
      SCOPED_TRACE(std::string(first.call) + ", then " + second.call);
      auto s = value(device.encoder_session());
      device.reset_stats();
      s.begin_stage("begun");
      scale(s);
      ok(first.make(s));
      const CommandBuffer submitted = s.command_buffer();
      const auto expect_first = [&] {
        EXPECT_TRUE(s.is_drained());
        EXPECT_EQ(s.is_fence_pending(), first.fences);
        EXPECT_EQ(s.has_event(), first.fences);
        EXPECT_EQ(s.fence_value(), first.fences ? 1U : 0U);
        EXPECT_EQ(s.wait_count() + s.wait_value(), 0U);
        EXPECT_EQ(device.stats().syncs, first.waits ? 1U : 0U);
        EXPECT_EQ(device.stats().command_buffers, 0U);
        EXPECT_EQ(s.command_buffer().label(), first.fences ? "fenced" : "begun");
      };
      expect_first();
      s.begin_stage("too late");
      ok(second.make(s));  // drained: nothing
      expect_first();
      EXPECT_EQ(s.encoder().dispatch({}).error().code, Errc::invalid_argument);
      EXPECT_EQ(run(s.encoder(), scale_in_place_kernel, {buffer}, 256, 1U).error().code, Errc::invalid_state);

      ok(s.reset_for_next_stage());
      EXPECT_FALSE(s.is_drained() || s.is_fence_pending());
      EXPECT_EQ(device.stats().command_buffers, 1U);
      EXPECT_EQ(s.wait_count(), first.fences ? 1U : 0U);
      EXPECT_EQ(s.wait_value(), first.fences ? 1U : 0U);
      ok(s.reset_for_next_stage());  // live: nothing
      EXPECT_EQ(device.stats().command_buffers, 1U);
      ok(second.make(s));
      EXPECT_EQ(s.fence_value(), (first.fences ? 1U : 0U) + (second.fences ? 1U : 0U));
      EXPECT_EQ(s.command_buffer().label(), second.fences ? "fenced" : "");
      ok(device.wait_idle());
      EXPECT_EQ(submitted.status(), CommandBufferStatus::completed);
    }
  }
}

TEST_P(Session, AFailedStageFailsTheStagesThatWaitForIt) {
  auto s = value(device.encoder_session());
  ok(run(s.encoder(), failing_kernel, {buffer}, 256, 100U));
  ok(s.fence_stage("cursed"));
  ok(s.reset_for_next_stage());
  scale(s);
  s.begin_stage("follower");
  const auto r = s.commit_and_wait();
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::dependency_failed);
  for (const char* part : {"follower", "cursed", "test_failing", "element 100"})
    EXPECT_NE(r.error().str().find(part), std::string::npos) << r.error().str();
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 0U);  // the follower did not run

  ok(s.reset_for_next_stage());
  scale(s);
  ok(s.commit_and_wait());
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 1U);
}

TEST_P(Session, MayBeDroppedInEveryState) {
  for (int state = 0; state < 5; ++state) {
    auto s = value(device.encoder_session());
    scale(s);
    if (state == 1) ok(s.commit_stage());
    if (state == 2) ok(s.fence_stage());
    if (state == 3) ok(s.commit_and_wait());
    if (state == 4) ok(s.fence_stage()), ok(s.reset_for_next_stage()), scale(s);
  }
  ok(device.wait_idle());
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 40U);  // four of the six scalings were committed
}

TEST_P(Session, RegistersAndRemovesResidency) {
  auto s = value(device.encoder_session());
  const auto n = device.residency_count();
  EXPECT_TRUE(s.add_to_residency_set(buffer));
  EXPECT_TRUE(s.remove_from_residency_set(buffer));
  EXPECT_TRUE(s.remove_from_residency_set(buffer));
  EXPECT_EQ(device.residency_count(), n - 1);
  EXPECT_TRUE(s.add_to_residency_set(buffer));
  EXPECT_EQ(device.residency_count(), n);
}

// What the table says of a session, in the plainest form.
struct Model {
  bool drained = false, pending = false;
  std::uint64_t fences = 0, waited_for = 0, waits = 0, command_buffers = 1, syncs = 0;
  std::string label;

  void reset() {
    if (!drained) return;
    ++command_buffers;
    if (pending) waited_for = fences, ++waits;
    drained = pending = false;
    label.clear();
  }
  void commit(bool fence, bool wait) {
    if (drained) return;
    drained = true;
    pending = fence;
    fences += fence;
    syncs += wait;
  }
};

TEST_P(Session, KeepsTheTableUnderRandomCalls) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    device.reset_stats();
    auto s = value(device.encoder_session());
    Model m;
    CommandBuffer last = s.command_buffer();
    for (int i = 0; i < 40; ++i) {
      const bool was_drained = m.drained;
      switch (random.below(7)) {
        case 0: s.begin_stage(m.label = std::to_string(i)); break;
        case 1: ok(s.commit_stage()), m.commit(false, false); break;
        case 2: ok(s.commit_and_wait()), m.commit(false, true); break;
        case 3: ok(s.fence_stage()), m.commit(true, false); break;
        case 4:
          ok(s.fence_stage("fenced"));
          if (!was_drained) m.label = "fenced";
          m.commit(true, false);
          break;
        case 5: ok(s.reset_for_next_stage()), m.reset(); break;
        default:
          if (!m.drained) scale(s);
          else EXPECT_EQ(run(s.encoder(), scale_in_place_kernel, {buffer}, 256, 1U).error().code, Errc::invalid_state);
      }
      ASSERT_EQ(s.is_drained(), m.drained) << i;
      ASSERT_EQ(s.is_fence_pending(), m.pending) << i;
      ASSERT_EQ(s.has_event(), m.fences > 0) << i;
      ASSERT_EQ(s.fence_value(), m.fences) << i;
      ASSERT_EQ(s.wait_value(), m.waited_for) << i;
      ASSERT_EQ(s.wait_count(), m.waits) << i;
      ASSERT_EQ(device.stats().command_buffers, m.command_buffers) << i;
      ASSERT_EQ(device.stats().syncs, m.syncs) << i;
      ASSERT_EQ(s.command_buffer().status() == CommandBufferStatus::open, !m.drained) << i;
      if (m.drained && !was_drained) { ASSERT_EQ(s.command_buffer().label(), m.label) << i; }
    }
  }
  ok(device.wait_idle());
}

TEST_P(Session, BeginStageTouchesNothingButTheLabel) {
  auto s = value(device.encoder_session());
  for (const bool drained : {false, true}) {
    if (drained) ok(s.fence_stage());
    const Stats before = device.stats();
    s.begin_stage("a stage");
    const Stats after = device.stats();
    EXPECT_EQ(s.is_drained(), drained);
    EXPECT_EQ(s.is_fence_pending(), drained);
    EXPECT_EQ(s.fence_value(), drained ? 1U : 0U);
    EXPECT_EQ(before.command_buffers + before.syncs + before.dispatches,
              after.command_buffers + after.syncs + after.dispatches);
    EXPECT_EQ(s.command_buffer().label(), drained ? "a stage" : "");  // as it was submitted: not before
  }
}

TEST_P(Session, CountersDoNotMoveBecauseWorkCompletes) {
  auto s = value(device.encoder_session());
  ok(run(s.encoder(), sleeping_kernel, {buffer}, 2, 5));
  ok(s.fence_stage());
  const CommandBuffer first = s.command_buffer();
  ok(s.reset_for_next_stage());
  scale(s);
  ok(s.fence_stage());
  const auto counters = [&] {
    const Stats n = device.stats();
    return std::vector<std::uint64_t>{
        s.fence_value(),      s.wait_value(),  s.wait_count(),          s.is_drained(),
        s.is_fence_pending(), s.has_event(),   n.command_buffers,       n.syncs,
        n.dispatches,         n.auto_barriers, n.concurrent_dispatches, n.explicit_barriers};
  };
  const auto before = counters();
  ok(CommandBuffer(first).wait_until_completed());
  EXPECT_EQ(counters(), before);
  ok(device.wait_idle());
  EXPECT_EQ(counters(), before);
}

TEST_P(Session, StagesWithoutDispatchesCountAndSignal) {
  auto s = value(device.encoder_session());
  for (std::uint64_t i = 1; i <= 10; ++i) {
    ok(s.fence_stage());
    CommandBuffer c = s.command_buffer();
    ok(c.wait_until_completed());
    EXPECT_EQ(c.status(), CommandBufferStatus::completed);
    ok(s.reset_for_next_stage());
    EXPECT_EQ(s.wait_value(), i);
  }
  ok(s.commit_and_wait());
  EXPECT_EQ(device.stats().command_buffers, 11U);
}

TEST_P(Session, StagesBorrowOneEncoder) {
  for (const std::uint32_t n : {1U, 2U, 8U, 32U}) {
    ok(buffer.write(std::span<const std::uint32_t>(std::vector<std::uint32_t>(256))));
    auto s = value(device.encoder_session());
    device.reset_stats();
    const CommandEncoder* const encoder = &s.encoder();
    const auto stage = [&](CommandEncoder& borrowed, std::uint32_t i) {
      EXPECT_EQ(&borrowed, encoder);
      ok(run(borrowed, scale_in_place_kernel, {buffer}, 256, i));
    };
    std::uint32_t expected = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
      s.begin_stage(std::to_string(i));
      stage(s.encoder(), i);
      expected = expected * 3 + i;
      ok(s.fence_stage());
      EXPECT_EQ(s.command_buffer().label(), std::to_string(i));
      if (i + 1 < n) ok(s.reset_for_next_stage());
    }
    EXPECT_EQ(device.stats().command_buffers, n - 1);  // the first was there before
    EXPECT_EQ(device.stats().auto_barriers, 0U);       // stages are apart already
    EXPECT_EQ(s.fence_value(), n);
    EXPECT_EQ(s.wait_count(), n - 1);
    EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], expected);
  }
}

TEST_P(Session, KeepsItsOptionsFromStageToStage) {
  auto s = value(device.encoder_session({.hazards = Hazards::manual}));
  for (int i = 0; i < 3; ++i) {
    scale(s);
    s.encoder().memory_barrier();
    scale(s);
    ok(s.fence_stage());
    ok(s.reset_for_next_stage());
  }
  EXPECT_EQ(device.stats().auto_barriers + device.stats().concurrent_dispatches, 0U);
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 364U);
}

TEST_P(Session, ReturnsAFailureFromCommitAndWaitAndGoesOn) {
  auto s = value(device.encoder_session());
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ok(run(s.encoder(), failing_kernel, {buffer}, 256, 100U));
    s.begin_stage("cursed");
    const auto r = s.commit_and_wait();
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, Errc::kernel_failed);
    EXPECT_NE(r.error().str().find("cursed"), std::string::npos);
    EXPECT_TRUE(s.is_drained());
    EXPECT_FALSE(s.is_fence_pending());
    EXPECT_EQ(device.stats().syncs, i);
    ok(s.commit_and_wait());  // drained: nothing
    ok(device.wait_idle());   // it has been returned
    ok(s.reset_for_next_stage());
  }
  scale(s);
  ok(s.commit_and_wait());
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 1U);
}

TEST_P(Session, RunsAStageThatDoesNotWaitForAFailedOne) {
  auto s = value(device.encoder_session());
  ok(run(s.encoder(), failing_kernel, {buffer}, 256, 100U));
  ok(s.commit_stage());
  ok(s.reset_for_next_stage());
  scale(s);
  ok(s.commit_and_wait());
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 1U);
  EXPECT_FALSE(device.wait_idle());  // nobody had asked
}

TEST_P(Session, HandsAFailureDownTheWholeChain) {
  auto s = value(device.encoder_session());
  ok(run(s.encoder(), failing_kernel, {buffer}, 256, 100U));
  std::vector<CommandBuffer> stages;
  for (int i = 0; i < 5; ++i) {
    ok(s.fence_stage("stage " + std::to_string(i)));
    stages.push_back(s.command_buffer());
    ok(s.reset_for_next_stage());
    scale(s);
  }
  for (std::size_t i = 1; i < stages.size(); ++i) {
    const auto r = stages[i].wait_until_completed();
    ASSERT_FALSE(r) << i;
    EXPECT_EQ(r.error().code, Errc::dependency_failed);
    EXPECT_NE(r.error().str().find("stage " + std::to_string(i)), std::string::npos) << r.error().str();
    EXPECT_NE(r.error().str().find("element 100"), std::string::npos) << r.error().str();
  }
  EXPECT_EQ(s.commit_and_wait().error().code, Errc::dependency_failed);
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 0U);
}

TEST_P(Session, IsIndependentOfOtherSessionsOfItsDevice) {
  auto bad = value(device.encoder_session()), good = value(device.encoder_session());
  ok(run(bad.encoder(), failing_kernel, {buffer}, 256, 100U));
  scale(good);
  ok(bad.fence_stage());
  ok(good.fence_stage());
  EXPECT_EQ(bad.fence_value(), 1U);
  EXPECT_EQ(good.fence_value(), 1U);
  ok(bad.reset_for_next_stage());
  ok(good.reset_for_next_stage());
  scale(bad, 50);
  scale(good);
  EXPECT_EQ(bad.commit_and_wait().error().code, Errc::dependency_failed);
  ok(good.commit_and_wait());
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 4U);
}

TEST_P(Session, GoesOnWhereItIsMovedTo) {
  std::optional<EncoderSession> s = value(device.encoder_session());
  scale(*s);
  ok(s->fence_stage());
  EncoderSession moved = std::move(*s);
  s.reset();
  EXPECT_TRUE(moved.is_drained() && moved.is_fence_pending());
  ok(moved.reset_for_next_stage());
  EXPECT_EQ(moved.wait_value(), 1U);
  scale(moved);
  auto other = value(device.encoder_session());
  scale(other, 100);
  other = std::move(moved);  // what it had recorded is discarded
  ok(other.commit_and_wait());
  EXPECT_EQ(value(buffer.read<std::uint32_t>())[0], 4U);
}

TEST(SessionEnvironment, TurnsSessionsOff) {
  ::setenv("HALYARD_ENCODER_SESSION", "0", 1);
  EXPECT_FALSE(EncoderSession::env_enabled());
  ::setenv("HALYARD_ENCODER_SESSION", "1", 1);
  EXPECT_TRUE(EncoderSession::env_enabled());
  ::unsetenv("HALYARD_ENCODER_SESSION");
  EXPECT_TRUE(EncoderSession::env_enabled());
}

INSTANTIATE_TEST_SUITE_P(Every, Session, ::testing::ValuesIn(devices), case_name);

}  // namespace
}  // namespace halyard

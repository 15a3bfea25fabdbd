// The session, call by call, as every device must keep it.
#include "halyard/hal/session.h"

#include <gtest/gtest.h>

#include "halyard/testing/conformance/devices.h"

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
  EXPECT_FALSE(s.add_to_residency_set(buffer));
  EXPECT_TRUE(s.remove_from_residency_set(buffer));
  EXPECT_FALSE(s.remove_from_residency_set(buffer));
  EXPECT_EQ(device.residency_count(), n - 1);
  EXPECT_TRUE(s.add_to_residency_set(buffer));
  EXPECT_EQ(device.residency_count(), n);
}

TEST(SessionEnvironment, TurnsSessionsOff) {
  ::setenv("HALYARD_ENCODER_SESSION", "0", 1);
  EXPECT_FALSE(EncoderSession::env_enabled());
  ::setenv("HALYARD_ENCODER_SESSION", "1", 1);
  EXPECT_TRUE(EncoderSession::env_enabled());
  ::unsetenv("HALYARD_ENCODER_SESSION");
  EXPECT_TRUE(EncoderSession::env_enabled());
}

INSTANTIATE_TEST_SUITE_P(Cpu, Session, ::testing::ValuesIn(concurrent_devices), case_name);
INSTANTIATE_TEST_SUITE_P(Sim, Session, ::testing::ValuesIn(single_devices), case_name);

}  // namespace
}  // namespace halyard

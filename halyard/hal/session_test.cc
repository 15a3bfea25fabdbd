#include "halyard/hal/session.h"

#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

class Session : public ::testing::Test {
 protected:
  Device device = value(Device::open("cpu", {.threads = 2}));
  Buffer buffer = value(device.alloc(DType::u32, {256}));

  void scale(EncoderSession& s, std::uint32_t c = 1) { ok(run(s.encoder(), scale_in_place_kernel, {buffer}, 256, c)); }
};

TEST_F(Session, StartsLiveWithoutAnEvent) {
  auto s = value(device.encoder_session());
  EXPECT_FALSE(s.is_drained());
  EXPECT_FALSE(s.is_fence_pending());
  EXPECT_FALSE(s.has_event());
  EXPECT_EQ(s.fence_value() + s.wait_value() + s.wait_count(), 0U);
  EXPECT_EQ(device.stats().command_buffers, 1U);
  EXPECT_EQ(s.command_buffer().status(), CommandBufferStatus::open);
}

TEST_F(Session, EveryCallOnADrainedSessionDoesNothingButReset) {
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

TEST_F(Session, CommitAndWaitCountsOneSync) {
  auto s = value(device.encoder_session());
  scale(s);
  ok(s.commit_and_wait());
  EXPECT_TRUE(s.is_drained());
  EXPECT_EQ(device.stats().syncs, 1U);
  EXPECT_EQ(s.command_buffer().status(), CommandBufferStatus::completed);
}

TEST_F(Session, FencesChainStagesAndCountWaits) {
  for (const std::uint64_t n : {1U, 2U, 5U, 100U}) {
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

TEST_F(Session, TheLastLabelBeforeACommitWins) {
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

TEST_F(Session, FivePairsMakeTenEncodersOrFiveStages) {
  device.reset_stats();
  for (int i = 0; i < 10; ++i) {
    auto e = value(device.command_encoder());
    ok(run(e, scale_in_place_kernel, {buffer}, 256, 1U));
    ok(e.commit_and_wait());
  }
  EXPECT_EQ(device.stats().command_buffers, 10U);
  const auto plain = value(buffer.read<std::uint32_t>());
  ok(buffer.write(std::span<const std::uint32_t>(std::vector<std::uint32_t>(256))));

  device.reset_stats();
  auto s = value(device.encoder_session());
  for (int i = 0; i < 5; ++i) {
    scale(s);
    s.encoder().memory_barrier();
    scale(s);
    ok(s.fence_stage());
    if (i < 4) ok(s.reset_for_next_stage());
  }
  EXPECT_EQ(device.stats().command_buffers, 5U);
  EXPECT_EQ(device.stats().explicit_barriers, 5U);
  EXPECT_EQ(value(buffer.read<std::uint32_t>()), plain);
}

TEST_F(Session, AFailedStageFailsTheStagesThatWaitForIt) {
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

TEST_F(Session, MayBeDroppedInEveryState) {
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

TEST_F(Session, RegistersAndRemovesResidency) {
  auto s = value(device.encoder_session());
  const auto n = device.residency_count();
  EXPECT_FALSE(s.add_to_residency_set(buffer));
  EXPECT_TRUE(s.remove_from_residency_set(buffer));
  EXPECT_FALSE(s.remove_from_residency_set(buffer));
  EXPECT_EQ(device.residency_count(), n - 1);
  EXPECT_TRUE(s.add_to_residency_set(buffer));
  EXPECT_EQ(device.residency_count(), n);
}

TEST_F(Session, EnvironmentTurnsSessionsOff) {
  ::setenv("HALYARD_ENCODER_SESSION", "0", 1);
  EXPECT_FALSE(EncoderSession::env_enabled());
  ::setenv("HALYARD_ENCODER_SESSION", "1", 1);
  EXPECT_TRUE(EncoderSession::env_enabled());
  ::unsetenv("HALYARD_ENCODER_SESSION");
  EXPECT_TRUE(EncoderSession::env_enabled());
}

}  // namespace
}  // namespace halyard

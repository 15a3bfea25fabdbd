// Plans, as every device must replay them, whether or not its driver has a form of its own.
#include "halyard/hal/plan.h"

#include <optional>

#include "halyard/testing/conformance/devices.h"

namespace halyard {
namespace {

using namespace testing;

constexpr std::string_view kBias[] = {"bias"};

// x = 3 x + constant; the constant is the parameter "bias".
Result<void> scale_by_bias(CommandEncoder& e, const Buffer& x, std::uint32_t constant, std::uint64_t most = 1000) {
  const ParameterPlace place[] = {{"bias", 0, 4, most}};
  const Buffer buffers[] = {x};
  return e.dispatch({.kernel = HALYARD_TRY(e.kernel(scale_in_place_kernel)),
                     .grid = {static_cast<std::uint32_t>(x.shape().elements()), 1, 1},
                     .buffers = buffers,
                     .constants = constant,
                     .parameters = place});
}

class Plans : public OnEveryDevice {
 protected:
  Device device = open();
  Buffer x = value(device.alloc(DType::u32, {256}));

  // x = 3 (3 x + bias) + 1
  Plan two_steps(Hazards hazards = Hazards::automatic) {
    auto e = value(device.command_encoder({.hazards = hazards}));
    e.start_capture();
    ok(scale_by_bias(e, x, 5));
    if (hazards == Hazards::manual) e.memory_barrier();
    ok(run(e, scale_in_place_kernel, {x}, 256, 1U));
    return value(value(e.take_capture()).compile(kBias));
  }
  std::uint32_t expected = 0;
  void replay(CommandEncoder& e, const Plan& plan, std::uint32_t bias) {
    const PlanParameter values[] = {{"bias", bias}};
    ok(e.replay(plan, values));
    expected = (expected * 3 + bias) * 3 + 1;
  }
  void expect_contents() { EXPECT_EQ(value(x.read<std::uint32_t>()), std::vector<std::uint32_t>(256, expected)); }
};

TEST_P(Plans, ReplayAmongOtherDispatchesWithOtherValues) {
  const Plan plan = two_steps();
  EXPECT_EQ(plan.size(), 2U);
  EXPECT_EQ(plan.barriers(), 1U);
  for (std::uint32_t i = 0; i < 20; ++i) {
    auto e = value(device.command_encoder());
    replay(e, plan, i);
    ok(run(e, scale_in_place_kernel, {x}, 256, i));
    expected = expected * 3 + i;
    replay(e, plan, 1000 - i);
    replay(e, plan, 7);
    if (i % 3) value(e.commit());
    else ok(e.commit_and_wait());
  }
  expect_contents();
}

TEST_P(Plans, AreSeparatedFromWhatStandsBeforeAndAfter) {
  const Plan plan = two_steps();
  auto e = value(device.command_encoder({.hazards = Hazards::manual}));
  ok(run(e, scale_in_place_kernel, {x}, 256, 2U));
  expected = 2;
  replay(e, plan, 3);
  ok(run(e, scale_in_place_kernel, {x}, 256, 4U));
  expected = expected * 3 + 4;
  ok(e.commit_and_wait());
  expect_contents();
}

TEST_P(Plans, CountTheirDispatchesAndBarriers) {
  const Plan plan = two_steps();
  auto e = value(device.command_encoder());
  EXPECT_EQ(device.stats().dispatches, 0U);  // capturing runs nothing
  replay(e, plan, 1);
  replay(e, plan, 2);
  EXPECT_EQ(device.stats().dispatches, 4U);
  EXPECT_EQ(device.stats().auto_barriers, 2U);
  EXPECT_EQ(device.stats().concurrent_dispatches, 2U);
}

TEST_P(Plans, LeaveTheAutomaticCountersAloneWhereHazardsAreByHand) {
  const Plan plan = two_steps(Hazards::manual);
  auto e = value(device.command_encoder({.hazards = Hazards::manual}));
  replay(e, plan, 9);
  EXPECT_EQ(device.stats().dispatches, 2U);
  EXPECT_EQ(device.stats().auto_barriers + device.stats().concurrent_dispatches, 0U);
  ok(e.commit_and_wait());
  expect_contents();
}

TEST_P(Plans, KeepWhatWasRecordedWhereAParameterIsNotAskedFor) {
  auto e = value(device.command_encoder());
  e.start_capture();
  ok(scale_by_bias(e, x, 77));
  const Plan plan = value(value(e.take_capture()).compile());
  ok(e.replay(plan));
  ok(e.commit_and_wait());
  expected = 77;
  expect_contents();
}

TEST_P(Plans, RecordNothingWhereAValueOrTheStateIsWrong) {
  const Plan plan = two_steps();
  auto e = value(device.command_encoder());
  const PlanParameter good[] = {{"bias", 1}}, great[] = {{"bias", 1001}}, other[] = {{"scale", 1}},
                      doubled[] = {{"bias", 1}, {"bias", 2}};
  EXPECT_EQ(e.replay(plan).error().code, Errc::invalid_argument);
  EXPECT_EQ(e.replay(plan, great).error().code, Errc::invalid_argument);
  EXPECT_EQ(e.replay(plan, other).error().code, Errc::invalid_argument);
  EXPECT_EQ(e.replay(plan, doubled).error().code, Errc::invalid_argument);
  e.start_capture();
  EXPECT_EQ(e.replay(plan, good).error().code, Errc::invalid_state);
  EXPECT_EQ(value(e.take_capture()).size(), 0U);
  Device second = open();
  EXPECT_EQ(value(second.command_encoder()).replay(plan, good).error().code, Errc::invalid_argument);
  EXPECT_EQ(device.stats().dispatches, 0U);
  ok(e.commit_and_wait());
  EXPECT_EQ(e.replay(plan, good).error().code, Errc::invalid_state);
  expect_contents();

  auto twice = value(device.command_encoder());
  twice.start_capture();
  for (const std::uint64_t most : {1000U, 50U}) ok(scale_by_bias(twice, x, 1, most));
  const Plan bounded = value(value(twice.take_capture()).compile(kBias));
  const PlanParameter least[] = {{"bias", 50}}, more[] = {{"bias", 51}};
  EXPECT_EQ(twice.replay(bounded, more).error().code, Errc::invalid_argument);
  ok(twice.replay(bounded, least));
  ok(twice.commit_and_wait());
  expected = (expected * 3 + 50) * 3 + 50;
  expect_contents();
}

TEST_P(Plans, MayBeDroppedBeforeTheirWorkHasRun) {
  Buffer out = value(device.alloc(DType::i32, {64}));
  for (int i = 0; i < 20; ++i) {
    auto e = value(device.command_encoder());
    {
      const Buffer scratch = value(device.alloc(DType::i32, {64}));
      e.start_capture();
      if (i % 4 == 0) ok(run(e, sleeping_kernel, {scratch}, 1, 2));
      ok(run(e, add_constant_kernel, {out, scratch}, 64, i));
      ok(run(e, add_constant_kernel, {scratch, out}, 64, 1));
      const Plan plan = value(value(e.take_capture()).compile());
      ok(e.replay(plan));
      if (i % 2) value(e.commit());
    }
    if (i % 2 == 0) value(e.commit());
  }
  EXPECT_EQ(value(out.read<std::int32_t>()), std::vector<std::int32_t>(64, 190 + 20));
  ok(device.wait_idle());
  EXPECT_EQ(device.stats().bytes_allocated, x.size_bytes() + out.size_bytes());
}

TEST_P(Plans, HoldTheMemoryTheyUse) {
  std::optional<Plan> plan = two_steps();
  x = Buffer();
  EXPECT_EQ(device.stats().bytes_allocated, 1024U);
  auto e = value(device.command_encoder());
  replay(e, *plan, 1);
  ok(e.commit_and_wait());
  plan.reset();
  EXPECT_EQ(device.stats().bytes_allocated, 0U);
}

TEST_P(Plans, MakeHostAccessWaitForThem) {
  auto e = value(device.command_encoder());
  e.start_capture();
  ok(run(e, sleeping_kernel, {x}, 1, 20));
  ok(run(e, scale_in_place_kernel, {x}, 256, 4U));
  const Plan plan = value(value(e.take_capture()).compile());
  ok(e.replay(plan));
  value(e.commit());
  expected = 4;
  expect_contents();
}

TEST_P(Plans, NameAFailedKernelAndTheLabelAndWorkAgainLater) {
  auto e = value(device.command_encoder());
  e.start_capture();
  const ParameterPlace place[] = {{"element", 0, 4, 1000}};
  const Buffer buffers[] = {x};
  ok(e.dispatch({.kernel = value(e.kernel(failing_kernel)),
                 .grid = {256},
                 .buffers = buffers,
                 .constants = 999U,
                 .parameters = place}));
  ok(run(e, scale_in_place_kernel, {x}, 256, 6U));
  const std::string_view names[] = {"element"};
  const Plan plan = value(value(e.take_capture()).compile(names));
  const PlanParameter fails[] = {{"element", 150}}, works[] = {{"element", 999}};
  ok(e.replay(plan, fails));
  const auto r = e.commit_and_wait("unlucky");
  ASSERT_FALSE(r);
  for (const char* part : {"test_failing", "unlucky", "150"})
    EXPECT_NE(r.error().str().find(part), std::string::npos) << r.error().str();
  auto again = value(device.command_encoder());
  ok(again.replay(plan, works));
  ok(again.commit_and_wait());
  expected = 6;
  expect_contents();
}

INSTANTIATE_TEST_SUITE_P(Every, Plans, ::testing::ValuesIn(devices), case_name);

}  // namespace
}  // namespace halyard

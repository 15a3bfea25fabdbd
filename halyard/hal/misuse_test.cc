// Calls in the wrong order, on handles that were moved from, and with what is not there: errors, and nothing else.
#include <gtest/gtest.h>

#include "halyard/hal/hazard.h"
#include "halyard/hal/passes.h"
#include "halyard/hal/pool.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

class Misuse : public ::testing::Test {
 protected:
  Device device = value(Device::open("cpu", {.cpu = {.threads = 2}}));
  Buffer b = value(device.alloc(DType::i32, {64}));
  Result<void> record(CommandEncoder& e, const KernelDef& k = scale_in_place_kernel) { return run(e, k, {b}, 64, 0U); }
  ComputeGraph graph() {
    auto e = value(device.command_encoder());
    e.start_capture();
    ok(record(e));
    return value(e.take_capture());
  }
};

#define EXPECT_STATE(...) EXPECT_EQ((__VA_ARGS__).error().code, Errc::invalid_state)

TEST_F(Misuse, ASecondStartOfACaptureFailsTheCaptureAndKeepsTheBarrierBefore) {
  auto e = value(device.command_encoder(EncoderOptions{Hazards::manual}));
  ok(record(e));
  e.memory_barrier();
  e.start_capture();
  e.start_capture();
  ok(record(e));
  EXPECT_STATE(e.take_capture());
  EXPECT_FALSE(e.is_capturing());
  e.start_capture();
  ok(record(e));
  EXPECT_EQ(value(e.take_capture()).barriers(), 0U);
  ok(record(e));
  e.start_capture();
  ok(record(e));
  EXPECT_EQ(value(e.take_capture()).size(), 1U);
  ok(e.commit_and_wait());
}

TEST_F(Misuse, AFenceThatCouldNotBeCommittedSignalsNothing) {
  auto s = value(device.encoder_session());
  s.encoder().start_capture();
  EXPECT_STATE(s.fence_stage());
  EXPECT_FALSE(s.has_event());
  ok(s.encoder().take_capture() ? Result<void>() : Result<void>());
  ok(record(s.encoder(), failing_kernel));
  ok(s.commit_stage());  // fails, and signals nothing
  ok(s.reset_for_next_stage());
  ok(s.fence_stage());
  EXPECT_EQ(s.fence_value(), 1U);
  ok(s.reset_for_next_stage());
  ok(s.commit_and_wait());
  EXPECT_FALSE(device.wait_idle());
}

TEST_F(Misuse, ASessionRecoversFromACommitByHand) {
  auto s = value(device.encoder_session());
  ok(s.encoder().commit_and_wait());
  EXPECT_STATE(s.commit_stage());
  ok(s.reset_for_next_stage());
  ok(record(s.encoder()));
  ok(s.commit_and_wait());
}

TEST_F(Misuse, HandlesMovedFromAreInAnInvalidState) {
  auto e = value(device.command_encoder());
  auto s = value(device.encoder_session());
  BufferPool pool(device);
  ComputeGraph g = graph();
  Plan plan = value(g.compile());
  const auto e2 = std::move(e);
  const auto s2 = std::move(s);
  const auto pool2 = std::move(pool);
  const auto g2 = std::move(g);
  const auto plan2 = std::move(plan);
  // NOLINTBEGIN(bugprone-use-after-move)
  EXPECT_STATE(record(e));
  EXPECT_STATE(e.dispatch({}));
  EXPECT_STATE(e.take_capture());
  EXPECT_STATE(e.commit());
  EXPECT_STATE(e.commit_and_wait());
  EXPECT_STATE(e.replay(plan2));
  EXPECT_STATE(e.device().alloc(DType::u8, {1}));
  EXPECT_STATE(e.command_buffer().wait_until_completed());
  e.memory_barrier();
  e.start_capture();
  EXPECT_FALSE(e.is_capturing());
  s.begin_stage("x");
  EXPECT_STATE(s.commit_stage());
  EXPECT_STATE(s.commit_and_wait());
  EXPECT_STATE(s.fence_stage("x"));
  EXPECT_STATE(s.reset_for_next_stage());
  EXPECT_STATE(record(s.encoder()));
  EXPECT_STATE(s.command_buffer().wait_until_completed());
  EXPECT_FALSE(s.add_to_residency_set(b) || s.remove_from_residency_set(b));
  EXPECT_STATE(pool.acquire(DType::u8, {1}));
  EXPECT_STATE(pool.release(b));
  pool.trim();
  EXPECT_EQ(pool.bytes_held(), 0U);
  EXPECT_STATE(g.compile());
  EXPECT_EQ(g.size() + g.barriers() + value(g.edges()).size(), 0U);
  EXPECT_EQ(g.to_json(), R"({"nodes":[],"edges":[]})");
  EXPECT_FALSE(g.to_dot().empty());
  EXPECT_EQ(remove_dead(g).size() + reorder(g).size(), 0U);
  EXPECT_STATE(fuse(g, {}));
  EXPECT_STATE(plan_memory(g, {}));
  EXPECT_STATE(optimize(g, {}));
  EXPECT_EQ(plan.size() + plan.barriers(), 0U);
  auto live = value(device.command_encoder());
  EXPECT_STATE(live.replay(plan));
  Device d = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  const Device d2 = std::move(d);
  EXPECT_STATE(d.alloc(DType::u8, {1}));
  EXPECT_STATE(d.import_host(nullptr, nullptr, DType::u8, {1}));
  EXPECT_STATE(d.command_encoder());
  EXPECT_STATE(d.encoder_session());
  EXPECT_STATE(d.kernel(scale_in_place_kernel));
  EXPECT_STATE(d.kernel("x"));
  EXPECT_STATE(d.register_kernels({}));
  EXPECT_STATE(d.write_trace("x"));
  EXPECT_STATE(d.wait_idle());
  EXPECT_STATE(BufferPool(d).acquire(DType::u8, {1}));
  d.reset_stats();
  d.reset_profile();
  EXPECT_EQ(d.stats().dispatches + d.residency_count() + d.residency().count + d.memory_budget(), 0U);
  EXPECT_FALSE(d.is_lost() || d.residency_enabled() || d.capabilities().host_visible);
  EXPECT_TRUE(d.profile().kernels.empty());
  Buffer c = b;
  const Buffer c2 = std::move(c);
  EXPECT_STATE(c.read<std::int32_t>());
  EXPECT_STATE(c.view(0, DType::u8, {1}));
  EXPECT_EQ(run(live, scale_in_place_kernel, {c}, 64, 0U).error().code, Errc::invalid_argument);
  // NOLINTEND(bugprone-use-after-move)
}

TEST_F(Misuse, NullKernelsAndRulesWithoutAFunctionAreRefused) {
  const KernelDef* kernels[] = {&scale_in_place_kernel, nullptr};
  EXPECT_EQ(device.register_kernels(kernels).error().code, Errc::invalid_argument);
  EXPECT_FALSE(device.kernel("test_scale"));  // all or none
  const auto binds_nothing = [](std::span<const Record>) { return std::optional(Joined{}); };
  const FusionRule no_function{{"test_scale"}, "test_scale", &scale_in_place_kernel, nullptr};
  const FusionRule no_kernel{{"test_scale"}, "test_scale", nullptr, binds_nothing};
  for (const FusionRule* rule : {&no_function, &no_kernel})
    EXPECT_EQ(fuse(graph(), {rule, 1}).error().code, Errc::invalid_argument);
  const FusionRule no_bindings{{"test_scale"}, "test_scale", &scale_in_place_kernel, binds_nothing};
  auto e = value(device.command_encoder());
  e.start_capture();
  ok(record(e));
  ok(record(e));
  EXPECT_EQ(fuse(value(e.take_capture()), {&no_bindings, 1}).error().code, Errc::invalid_argument);
}

TEST_F(Misuse, ScratchOfAnotherDeviceIsRefusedAndNullScratchCountsForNothing) {
  Device other = value(Device::open("cpu", {.cpu = {.threads = 1}}));
  const Scratch foreign{{value(other.alloc(DType::i32, {64}))}}, null{{Buffer()}};
  EXPECT_EQ(plan_memory(graph(), foreign).error().code, Errc::invalid_argument);
  EXPECT_EQ(fuse(graph(), {}, foreign).error().code, Errc::invalid_argument);
  EXPECT_EQ(optimize(graph(), {foreign, {}}).error().code, Errc::invalid_argument);
  EXPECT_EQ(remove_dead(graph(), foreign).size(), 1U);
  EXPECT_EQ(value(optimize(graph(), {null, {}})).graph.size(), 1U);
}

TEST_F(Misuse, AKernelWhoseCompilationFailedLeavesItsNameFree) {
  const KernelDef good{"test_late", "x", scale_in_place_kernel.forms};
  {
    const auto bad = std::make_unique<KernelDef>(KernelDef{"test_late", "x"});
    EXPECT_EQ(device.kernel(*bad).error().code, Errc::unsupported);
  }
  EXPECT_EQ(device.kernel("test_late").error().code, Errc::not_found);
  EXPECT_TRUE(device.kernel(good));
  EXPECT_TRUE(device.kernel("test_late"));
}

TEST_F(Misuse, NamesThatAreNotUtf8AreEscapedWhereverTheyArePrinted) {
  const KernelDef odd{"odd\xff\n\"name", "x", scale_in_place_kernel.forms};
  auto e = value(device.command_encoder());
  e.start_capture();
  ok(record(e, odd));
  const ComputeGraph g = value(e.take_capture());
  EXPECT_NE(g.to_json().find(R"("odd\\xff\\x0a\"name")"), std::string::npos) << g.to_json();
  EXPECT_NE(g.to_dot().find(R"(odd\\xff\\x0a\"name)"), std::string::npos) << g.to_dot();
  const std::string message = run(e, odd, {}, 1).error().message;
  EXPECT_NE(message.find(R"(odd\xff\x0a"name)"), std::string::npos) << message;
}

TEST(MemRangesMisuse, InvertedRangesHoldNoByteAndManyRangesFit) {
  int memory = 0;
  MemRanges m;
  const BufferRange inverted{&memory, 100, 10, MemRangeRole::dst}, whole{&memory, 0, 200, MemRangeRole::dst};
  m.add_dispatch({}, {&inverted, 1});
  EXPECT_TRUE(m.check_dispatch({}, {&whole, 1}));
  m.add_dispatch({}, {&whole, 1});
  EXPECT_TRUE(m.check_dispatch({}, {&inverted, 1}));
  const std::vector<BufferRange> many(100, whole);
  EXPECT_FALSE(m.place_dispatch(many));
  EXPECT_EQ(m.size(), 100U);
}

TEST_F(Misuse, AFailureHandedDownAChainIsToldInConstantSpace) {
  auto s = value(device.encoder_session());
  s.begin_stage("first");
  ok(record(s.encoder(), failing_kernel));
  CommandBuffer tenth, last;
  constexpr int stages = 4000;
  for (int i = 0; i < stages; ++i) {
    ok(s.fence_stage());
    ok(s.reset_for_next_stage());
    s.begin_stage("stage");
    if (i == 9) tenth = s.command_buffer();
    last = s.command_buffer();
  }
  ok(s.commit_stage());
  const std::string early = tenth.wait_until_completed().error().str(),
                    late = last.wait_until_completed().error().str();
  EXPECT_LT(late.size(), early.size() + 10);
  EXPECT_NE(late.find("\"first\""), late.npos) << late;
  EXPECT_NE(late.find("cursed"), late.npos) << late;
  EXPECT_NE(late.find("passed on by 3999"), late.npos) << late;
}

}  // namespace
}  // namespace halyard

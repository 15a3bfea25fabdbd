// Encoders, command buffers, kernels and counters, as every device must keep them.
#include "halyard/hal/encoder.h"

#include "halyard/testing/conformance/devices.h"

namespace halyard {
namespace {

using namespace testing;
using namespace std::chrono_literals;

class Encoder : public OnEveryDevice {};
class Barriers : public OnEveryDevice {};
class CommandBuffers : public OnEveryDevice {};
class Kernels : public OnEveryDevice {};
class Counters : public OnEveryDevice {};

TEST_P(Encoder, RecordsNothingOfABadDispatch) {
  Device d = open(), other = open();
  Buffer b = value(d.alloc(DType::i32, {64})), foreign = value(other.alloc(DType::i32, {64}));
  auto e = value(d.command_encoder());
  EXPECT_EQ(e.dispatch({}).error().code, Errc::invalid_argument);
  EXPECT_EQ(run(e, add_constant_kernel, {b}, 64, 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(run(e, add_constant_kernel, {b, Buffer()}, 64, 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(run(e, add_constant_kernel, {b, foreign}, 64, 1).error().code, Errc::invalid_argument);
  const KernelRef theirs = value(other.kernel(add_constant_kernel)), ours = value(d.kernel(add_constant_kernel));
  const Buffer both[] = {b, value(d.alloc(DType::i32, {64}))};
  EXPECT_EQ(e.dispatch({.kernel = theirs, .grid = {64}, .buffers = both}).error().code, Errc::invalid_argument);
  const std::uint32_t many = ~0U;
  EXPECT_EQ(e.dispatch({.kernel = ours, .grid = {many, many, many}, .buffers = both}).error().code,
            Errc::invalid_argument);
  const std::uint64_t beyond = std::uint64_t{1} << 43;  // cut to 32 bits it would be nothing
  for (const Grid grid :
       {Grid{beyond}, Grid{1, beyond}, Grid{1, 1, beyond}, Grid{~0ULL, ~0ULL, ~0ULL}, Grid{beyond, beyond, 1}})
    EXPECT_EQ(e.dispatch({.kernel = ours, .grid = grid, .buffers = both}).error().code, Errc::invalid_argument);
  const std::size_t too_much = d.capabilities().max_shared_bytes + 1;
  EXPECT_EQ(e.dispatch({.kernel = ours, .grid = {64}, .buffers = both, .shared_bytes = too_much}).error().code,
            Errc::invalid_argument);
  EXPECT_EQ(d.stats().dispatches, 0U);
  ok(e.commit_and_wait());
  EXPECT_EQ(value(b.read<std::int32_t>()), std::vector<std::int32_t>(64));
}

// Adds the items of each tile to the sum of its number.
void count_items(const CpuTile& t) { t.as<std::uint64_t>(0)[t.x0 >> 33] += (t.x1 - t.x0) * (t.y1 - t.y0); }
constexpr Grid count_items_tile = {std::uint64_t{1} << 33, std::uint64_t{1} << 20};
const KernelDef count_items_kernel = {"test_count_items", "x", {&cpu_form<count_items, count_items_tile>}};

TEST_P(Encoder, RunsGridsOfMoreThan32Bits) {
  Device d = open();
  const Buffer b = value(d.alloc(DType::u64, {3}));
  auto e = value(d.command_encoder());
  const Grid grid{(std::uint64_t{1} << 34) + 5, 1000};
  ok(e.dispatch({.kernel = value(e.kernel(count_items_kernel)), .grid = grid, .buffers = std::span(&b, 1)}));
  ok(e.commit_and_wait());
  const std::uint64_t whole = 1000ULL << 33;
  EXPECT_EQ(value(b.read<std::uint64_t>()), (std::vector<std::uint64_t>{whole, whole, 5000}));
}

// out[i] = the tile's work-items, whether it has scratch, and the argument: how the form below cuts it up shows.
struct Cut {
  std::uint32_t tile, scratch;
};
void show_cut(const CpuTile& t) {
  for (std::uint64_t i = t.x0; i < t.x1; ++i)
    t.as<std::uint32_t>(0)[i] =
        static_cast<std::uint32_t>(100 * (t.x1 - t.x0) + (t.shared ? 10 : 0)) + t.constants_as<Cut>().tile;
}
constexpr CpuForm show_cut_form = {.select = cpu_form<show_cut>.select, .launch = [](const LaunchInputs& in) {
                                     const auto c = in.arguments.as<Cut>();
                                     return Launch{{in.sizes[0] / 4}, {c.tile}, c.scratch};
                                   }};
const KernelDef show_cut_kernel = {"test_show_cut", "w", {&show_cut_form}};

TEST_P(Encoder, LetsTheKernelsFormDecideTheGrid) {
  Device d = open();
  const Buffer b = value(d.alloc(DType::u32, {7}));
  auto e = value(d.command_encoder());
  ok(e.dispatch(show_cut_kernel, std::span(&b, 1), Cut{3, 64}));
  ok(e.commit_and_wait());
  EXPECT_EQ(value(b.read<std::uint32_t>()), (std::vector<std::uint32_t>{313, 313, 313, 313, 313, 313, 113}));
}

TEST_P(Encoder, RecordsNothingWhereTheFormDecidesNothingThatCanBeRun) {
  Device d = open();
  const Buffer b = value(d.alloc(DType::u32, {7}));
  auto e = value(d.command_encoder());
  const auto refused = [&](const Result<void>& r, const char* part) {
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, Errc::invalid_argument);
    EXPECT_NE(r.error().str().find(part), std::string::npos) << r.error().str();
  };
  refused(e.dispatch(scale_in_place_kernel, std::span(&b, 1), 1U), "does not decide a grid");
  refused(e.dispatch(show_cut_kernel, std::span(&b, 1), Cut{0, 0}), "empty blocks");
  refused(e.dispatch(show_cut_kernel, std::span(&b, 1), Cut{1, ~0U}), "shared memory");
  refused(e.dispatch(show_cut_kernel, {}, Cut{1, 0}), "has 1 bindings, got 0");
  EXPECT_EQ(d.stats().dispatches, 0U);
}

TEST_P(Encoder, RecordsNothingMoreOnceItHasCommitted) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  for (const bool wait : {false, true}) {
    auto e = value(d.command_encoder());
    if (wait) ok(e.commit_and_wait());
    else value(e.commit());
    EXPECT_EQ(run(e, scale_in_place_kernel, {b}, 64, 1U).error().code, Errc::invalid_state);
    EXPECT_EQ(e.commit().error().code, Errc::invalid_state);
    EXPECT_EQ(e.commit_and_wait().error().code, Errc::invalid_state);
  }
  EXPECT_EQ(d.stats().dispatches, 0U);
}

TEST_P(Encoder, RunsGridsOfAnyShape) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {256}));
  std::uint32_t expected = 0;
  for (const Grid grid : {Grid{0, 1, 1}, Grid{1, 0, 1}, Grid{256, 1, 1}, Grid{256, 1, 0}}) {
    auto e = value(d.command_encoder());
    const Buffer buffers[] = {b};
    ok(e.dispatch(
        {.kernel = value(e.kernel(scale_in_place_kernel)), .grid = grid, .buffers = buffers, .constants = 5U}));
    ok(e.commit_and_wait());
    if (grid == Grid{256, 1, 1}) expected = 5;
    EXPECT_EQ(value(b.read<std::uint32_t>()), std::vector<std::uint32_t>(256, expected));
  }
}

TEST_P(Encoder, LeavesNothingBehindWhenDropped) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {256}));
  CommandBuffer c;
  {
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
    c = e.command_buffer();
  }
  EXPECT_EQ(c.status(), CommandBufferStatus::discarded);
  EXPECT_EQ(c.wait_until_completed().error().code, Errc::invalid_state);
  EXPECT_EQ(value(b.read<std::uint32_t>())[0], 0U);
  b = Buffer();
  EXPECT_EQ(d.stats().bytes_allocated, 0U);
}

TEST_P(Encoder, HoldsWhatItsWorkUses) {
  Device d = open();
  Buffer out = value(d.alloc(DType::i32, {1024}));
  auto e = value(d.command_encoder());
  {
    Buffer scratch = value(d.alloc(DType::i32, {1024})), between = value(d.alloc(DType::i32, {1024}));
    ok(run(e, sleeping_kernel, {scratch}, 2, 5));
    ok(run(e, add_constant_kernel, {scratch, between}, 1024, 3));
    ok(run(e, add_constant_kernel, {between, out}, 1024, 4));
  }
  EXPECT_EQ(d.stats().bytes_allocated, 3 * 4096U);
  const CommandBuffer c = value(e.commit());
  ok(d.wait_idle());
  EXPECT_EQ(d.stats().bytes_allocated, 4096U);
  EXPECT_EQ(value(out.read<std::int32_t>())[1023], 7);
}

TEST_P(Encoder, NamesAFailedKernelAndItsLabel) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {4096}));
  auto e = value(d.command_encoder());
  ok(run(e, failing_kernel, {b}, 4096, 4000U));
  ok(run(e, scale_in_place_kernel, {b}, 4096, 1U));
  const auto r = e.commit_and_wait("layer 3");
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Errc::kernel_failed);
  for (const char* part : {"layer 3", "test_failing", "4000"}) EXPECT_NE(r.error().str().find(part), std::string::npos);
  EXPECT_EQ(e.command_buffer().status(), CommandBufferStatus::failed);
  ok(d.wait_idle());  // it has been returned
}

TEST_P(Encoder, ReportsAFailureNobodyWaitedForOnceByWaitIdle) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  auto e = value(d.command_encoder());
  ok(run(e, failing_kernel, {b}, 64, 1U));
  value(e.commit("unseen"));
  const auto r = d.wait_idle();
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().str().find("unseen"), std::string::npos);
  ok(d.wait_idle());
}

TEST_P(Encoder, RunsOnAfterAFailure) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  for (int i = 0; i < 5; ++i) {
    auto bad = value(d.command_encoder()), good = value(d.command_encoder());
    ok(run(bad, failing_kernel, {b}, 64, 1U));
    const CommandBuffer failed = value(bad.commit());
    ok(run(good, scale_in_place_kernel, {b}, 64, 1U));
    ok(good.commit_and_wait());  // does not depend on it
    EXPECT_EQ(failed.status(), CommandBufferStatus::failed);
  }
  EXPECT_EQ(value(b.read<std::uint32_t>())[0], 121U);
}

TEST_P(Encoder, CapturesInsteadOfRunning) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {256}));
  auto e = value(d.command_encoder());
  EXPECT_EQ(e.take_capture().error().code, Errc::invalid_state);
  e.start_capture();
  EXPECT_TRUE(e.is_capturing());
  for (int i = 0; i < 3; ++i) ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
  EXPECT_EQ(e.commit().error().code, Errc::invalid_state);
  const auto graph = value(e.take_capture());
  EXPECT_FALSE(e.is_capturing());
  EXPECT_EQ(graph.size(), 3U);
  EXPECT_EQ(graph.barriers(), 2U);
  EXPECT_EQ(d.stats().dispatches, 0U);
  ok(run(e, scale_in_place_kernel, {b}, 256, 5U));
  ok(e.commit_and_wait());
  EXPECT_EQ(value(b.read<std::uint32_t>())[0], 5U);
}

TEST_P(Barriers, StandOnlyWhereDispatchesConflict) {
  Device d = open();
  Buffer b = value(d.alloc(DType::i32, {512}));
  const auto quarter = [&](std::size_t i) { return value(b.view(i * 512, DType::i32, {128})); };
  auto e = value(d.command_encoder());
  ok(run(e, add_constant_kernel, {quarter(0), quarter(1)}, 128, 1));  // first
  ok(run(e, add_constant_kernel, {quarter(0), quarter(2)}, 128, 2));  // shares a read
  ok(run(e, add_constant_kernel, {quarter(1), quarter(3)}, 128, 3));  // reads what the first wrote
  ok(run(e, add_constant_kernel, {quarter(2), quarter(0)}, 128, 4));  // free of conflict since the barrier
  EXPECT_EQ(d.stats().auto_barriers, 1U);
  EXPECT_EQ(d.stats().concurrent_dispatches, 3U);
  ok(e.commit_and_wait());
  const auto v = value(b.read<std::int32_t>());
  EXPECT_EQ((std::vector{v[0], v[128], v[256], v[384]}), (std::vector{6, 1, 2, 4}));
}

TEST_P(Barriers, ByHandLeaveTheAutomaticCountersAlone) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {256}));
  auto e = value(d.command_encoder({.hazards = Hazards::manual}));
  for (int i = 0; i < 3; ++i) {
    ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
    e.memory_barrier();
  }
  ok(e.commit_and_wait());
  EXPECT_EQ(d.stats().auto_barriers + d.stats().concurrent_dispatches, 0U);
  EXPECT_EQ(d.stats().explicit_barriers, 3U);
  EXPECT_EQ(value(b.read<std::uint32_t>())[255], 13U);
}

TEST_P(CommandBuffers, CompleteInTheOrderCommitted) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  std::vector<CommandBuffer> all;
  for (std::uint32_t i = 0; i < 20; ++i) {
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {b}, 64, i));
    all.push_back(value(e.commit()));
  }
  for (const std::size_t i : {5U, 0U, 19U}) {
    ok(all[i].wait_until_completed());
    for (std::size_t k = 0; k <= i; ++k) EXPECT_EQ(all[k].status(), CommandBufferStatus::completed) << k;
  }
}

TEST_P(CommandBuffers, KnowTheirStatusLabelAndTime) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  auto e = value(d.command_encoder());
  CommandBuffer c = e.command_buffer();
  EXPECT_EQ(c.status(), CommandBufferStatus::open);
  EXPECT_EQ(c.gpu_time(), 0ns);
  EXPECT_EQ(c.wait_until_completed().error().code, Errc::invalid_state);
  ok(run(e, sleeping_kernel, {b}, 2, 10));
  const CommandBuffer same = value(e.commit("a label – with \"quotes\""));
  EXPECT_EQ(same.label(), "a label – with \"quotes\"");
  EXPECT_NE(c.status(), CommandBufferStatus::open);
  ok(c.wait_until_completed());
  ok(c.wait_until_completed());
  EXPECT_EQ(same.status(), CommandBufferStatus::completed);
  EXPECT_GE(same.gpu_time(), d.capabilities().threads > 1 ? 10ms : 20ms);
  EXPECT_EQ(value(d.command_encoder()).command_buffer().label(), "");

  CommandBuffer null;
  EXPECT_EQ(null.wait_until_completed().error().code, Errc::invalid_state);
  EXPECT_EQ(null.label(), "");
  EXPECT_EQ(null.gpu_time(), 0ns);
}

TEST_P(CommandBuffers, ReachTheProfileByLabel) {
  Device d = open({.profile = true});
  Buffer b = value(d.alloc(DType::u32, {256}));
  auto s = value(d.encoder_session());
  for (int i = 0; i < 3; ++i) {
    ok(run(s.encoder(), scale_in_place_kernel, {b}, 256, 1U));
    ok(run(s.encoder(), scale_in_place_kernel, {b}, 256, 1U));
    ok(s.fence_stage(i ? "later" : "first"));
    ok(s.reset_for_next_stage());
  }
  ok(d.wait_idle());
  const Profile p = d.profile();
  ASSERT_EQ(p.kernels.size(), 1U);
  EXPECT_EQ(p.kernels[0].name, "test_scale");
  EXPECT_EQ(p.kernels[0].calls, 6U);
  EXPECT_EQ(p.kernels[0].bytes, 6U * 1024);
  ASSERT_EQ(p.labels.size(), 2U);
  for (const ProfileRow& row : p.labels) {
    EXPECT_EQ(row.calls, row.name == "later" ? 2U : 1U) << row.name;
    EXPECT_EQ(row.bytes, row.calls * 2048) << row.name;
  }
  d.reset_profile();
  EXPECT_TRUE(d.profile().kernels.empty());
}

TEST_P(Kernels, CompileOnceForEachSpecialisation) {
  Device d = open();
  EXPECT_EQ(d.kernel("test_add_constant").error().code, Errc::not_found);
  const auto k = value(d.kernel(add_constant_kernel));
  EXPECT_EQ(value(d.kernel("test_add_constant")).get(), k.get());
  EXPECT_EQ(d.stats().kernels_compiled, 1U);
  EXPECT_NE(value(d.kernel(add_constant_kernel, 4)).get(), k.get());
  EXPECT_EQ(d.stats().kernels_compiled, 2U);
  EXPECT_EQ(value(d.command_encoder()).kernel(add_constant_kernel)->get(), k.get());
  EXPECT_EQ(d.stats().kernels_compiled, 2U);
}

TEST_P(Kernels, AreRefusedWithAReason) {
  Device d = open();
  value(d.kernel(add_constant_kernel));
  static const KernelDef impostor = {"test_add_constant", "r", {&cpu_form<failing>}};
  EXPECT_EQ(d.kernel(impostor).error().code, Errc::invalid_argument);
  static const KernelDef bodiless = {"test_bodiless", "r"};
  EXPECT_EQ(d.kernel(bodiless).error().code, Errc::unsupported);
  static const KernelDef misspelt = {"test_misspelt", "rq", {&cpu_form<failing>}};
  EXPECT_EQ(d.kernel(misspelt).error().code, Errc::invalid_argument);
  static const KernelDef without_tile = {"test_without_tile", "r", {&cpu_form<failing, Grid{0}>}};
  EXPECT_EQ(d.kernel(without_tile).error().code, Errc::invalid_argument);
  const KernelDef* const impostors[] = {&impostor};
  EXPECT_EQ(d.register_kernels(impostors).error().code, Errc::invalid_argument);
}

TEST_P(Counters, AreOfOneDeviceAndStartAgainWhenReset) {
  Device d = open();
  const Device other = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  for (int i = 0; i < 3; ++i) {
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {b}, 64, 1U));
    e.memory_barrier();
    ok(e.commit_and_wait());
  }
  const Stats s = d.stats();
  EXPECT_EQ(s.command_buffers, 3U);
  EXPECT_EQ(s.syncs, 3U);
  EXPECT_EQ(s.dispatches, 3U);
  EXPECT_EQ(s.explicit_barriers, 3U);
  EXPECT_EQ(s.concurrent_dispatches, 3U);
  EXPECT_GT(s.submit_ns, 0U);
  const Stats theirs = other.stats();
  EXPECT_EQ(theirs.command_buffers + theirs.dispatches + theirs.bytes_allocated + theirs.kernels_compiled, 0U);
  d.reset_stats();
  const Stats none = d.stats();
  EXPECT_EQ(none.command_buffers + none.syncs + none.dispatches + none.explicit_barriers + none.concurrent_dispatches +
                none.kernels_compiled + none.submit_ns,
            0U);
  EXPECT_EQ(none.bytes_allocated, 256U);
  EXPECT_EQ(none.peak_bytes, 256U);
}

TEST_P(Counters, CountWhatIsRecordedByEncodersStillOpen) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  auto e = value(d.command_encoder());
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ok(run(e, scale_in_place_kernel, {b}, 64, 1U));
    EXPECT_EQ(d.stats().dispatches, i);
    EXPECT_EQ(d.stats().auto_barriers, i - 1);
  }
  d.reset_stats();
  EXPECT_EQ(d.stats().dispatches, 0U);
  ok(run(e, scale_in_place_kernel, {b}, 64, 1U));
  { const CommandEncoder dropped = std::move(e); }
  EXPECT_EQ(d.stats().dispatches, 1U);
  EXPECT_EQ(d.stats().auto_barriers, 1U);
}

INSTANTIATE_TEST_SUITE_P(Every, Encoder, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, Barriers, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, CommandBuffers, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, Kernels, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, Counters, ::testing::ValuesIn(devices), case_name);

}  // namespace
}  // namespace halyard

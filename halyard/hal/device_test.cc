#include "halyard/hal/device.h"

#include <random>

#include <gtest/gtest.h>

#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

TEST(Device, OpensTheCpuAndRefusesOthersWithAReason) {
  const Device d = value(Device::open("cpu", {.threads = 3}));
  EXPECT_EQ(d.capabilities().backend, "cpu");
  EXPECT_EQ(d.capabilities().threads, 3);
  EXPECT_EQ(Device::open("cuda:0").error().code, Errc::unsupported);
  EXPECT_EQ(Device::open("abacus").error().code, Errc::not_found);
  EXPECT_EQ(Device::open("cpu", {.threads = -1}).error().code, Errc::invalid_argument);
  EXPECT_FALSE(Device::list().empty());
}

TEST(Device, MemoryIsZeroAndCounted) {
  Device d = value(Device::open("cpu"));
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{3} << 20}) {
    const Buffer b = value(d.alloc(DType::u8, {n}));
    EXPECT_EQ(d.stats().bytes_allocated, n);
    const auto bytes = value(b.read<std::uint8_t>());
    EXPECT_EQ(std::accumulate(bytes.begin(), bytes.end(), 0), 0);
  }
  EXPECT_EQ(d.stats().bytes_allocated, 0U);
  EXPECT_EQ(d.stats().peak_bytes, std::size_t{3} << 20);
  EXPECT_EQ(d.residency_count(), 4U);  // they leave at the next commit
  ok(value(d.command_encoder()).commit_and_wait());
  EXPECT_EQ(d.residency_count(), 0U);
}

TEST(Device, RefusesAbsurdSizes) {
  Device d = value(Device::open("cpu"));
  EXPECT_EQ(d.alloc(DType::f32, {std::size_t{1} << 40, std::size_t{1} << 40}).error().code, Errc::invalid_argument);
  EXPECT_EQ(d.alloc(DType::f32, {std::size_t{1} << 55}).error().code, Errc::out_of_memory);
  EXPECT_EQ(d.alloc(DType::f32, {1, 1, 1, 1, 1, 1, 1, 1, 1}).error().code, Errc::invalid_argument);
}

TEST(Buffer, AccessorsRespectTheWindowAndTheType) {
  Device d = value(Device::open("cpu"));
  Buffer b = value(d.alloc(DType::i32, {8}));
  std::vector<std::int32_t> v(8);
  std::iota(v.begin(), v.end(), 0);
  ok(b.write(std::span<const std::int32_t>(v)));
  Buffer w = value(b.view(8, DType::i32, {2, 2}));
  EXPECT_EQ(w.offset_bytes(), 8U);
  EXPECT_EQ(w.size_bytes(), 16U);
  EXPECT_EQ(value(w.read<std::int32_t>()), (std::vector<std::int32_t>{2, 3, 4, 5}));
  ok(w.write(std::span<const std::int32_t>(std::vector<std::int32_t>{-1})));
  EXPECT_EQ(value(b.map<std::int32_t>())[2], -1);
  EXPECT_EQ(value(w.map<std::int32_t>()).size(), 4U);
  EXPECT_EQ(w.read<float>().error().code, Errc::invalid_argument);
  EXPECT_EQ(w.write(std::span<const std::int32_t>(v)).error().code, Errc::invalid_argument);
  for (const auto& bad : {b.view(1, DType::f32, {1}), b.view(8, DType::i32, {7}), b.view(40, DType::u8, {1}), w.view(16, DType::u8, {1}),
                          w.view(0, DType::u8, {std::size_t{1} << 63, 2}), Buffer().view(0, DType::u8, {1})}) {
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, Errc::invalid_argument);
    EXPECT_FALSE(bad.error().message.empty());
  }
  EXPECT_TRUE(w.view(16, DType::u8, {0}));
}

TEST(Buffer, ReadsAndWritesWaitForCommittedWork) {
  Device d = value(Device::open("cpu", {.threads = 2}));
  Buffer b = value(d.alloc(DType::u32, {64}));
  auto e = value(d.command_encoder());
  ok(run(e, sleeping_kernel, {b}, 2, 20));
  ok(run(e, scale_in_place_kernel, {b}, 64, 7U));
  const CommandBuffer c = value(e.commit());
  EXPECT_EQ(value(b.read<std::uint32_t>())[63], 7U);
  EXPECT_EQ(c.status(), CommandBufferStatus::completed);
  EXPECT_GE(c.gpu_time().count(), 20'000'000);
}

TEST(Buffer, ImportedMemoryIsHeldAndNeverWritten) {
  Device d = value(Device::open("cpu"));
  auto owner = std::make_shared<std::vector<std::int32_t>>(64, 5);
  const std::weak_ptr<void> watch = owner;
  Buffer in = value(d.import_host(owner, owner->data(), DType::i32, {64}));
  owner.reset();
  Buffer out = value(d.alloc(DType::i32, {64}));
  auto e = value(d.command_encoder());
  EXPECT_EQ(run(e, add_constant_kernel, {out, in}, 64, 1).error().code, Errc::invalid_argument);
  ok(run(e, add_constant_kernel, {in, out}, 64, 1));
  in = Buffer();
  EXPECT_FALSE(watch.expired());
  ok(e.commit_and_wait());
  EXPECT_TRUE(watch.expired());
  EXPECT_EQ(value(out.read<std::int32_t>())[63], 6);
}

TEST(Encoder, ChecksADispatchAndRecordsNothingOfABadOne) {
  Device d = value(Device::open("cpu")), other = value(Device::open("cpu"));
  Buffer b = value(d.alloc(DType::i32, {64})), foreign = value(other.alloc(DType::i32, {64}));
  auto e = value(d.command_encoder());
  EXPECT_EQ(e.dispatch({}).error().code, Errc::invalid_argument);
  EXPECT_EQ(run(e, add_constant_kernel, {b}, 64, 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(run(e, add_constant_kernel, {b, Buffer()}, 64, 1).error().code, Errc::invalid_argument);
  EXPECT_EQ(run(e, add_constant_kernel, {b, foreign}, 64, 1).error().code, Errc::invalid_argument);
  const KernelRef theirs = value(other.kernel(add_constant_kernel));
  const Buffer both[] = {b, b};
  EXPECT_EQ(e.dispatch({.kernel = theirs, .grid = {64}, .buffers = both}).error().code, Errc::invalid_argument);
  EXPECT_EQ(d.stats().dispatches, 0U);
  ok(e.commit_and_wait());
  EXPECT_EQ(run(e, add_constant_kernel, {b, b}, 64, 1).error().code, Errc::invalid_state);
  EXPECT_EQ(e.commit().error().code, Errc::invalid_state);
}

TEST(Encoder, PlacesBarriersOnlyWhereDispatchesConflict) {
  Device d = value(Device::open("cpu", {.threads = 2}));
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

TEST(Encoder, ManualHazardsLeaveTheAutomaticCountersAlone) {
  Device d = value(Device::open("cpu"));
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

TEST(Encoder, ADroppedEncoderLeavesNothingBehind) {
  Device d = value(Device::open("cpu"));
  Buffer b = value(d.alloc(DType::u32, {256}));
  CommandBuffer c;
  {
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
    c = e.command_buffer();
  }
  EXPECT_EQ(c.status(), CommandBufferStatus::discarded);
  EXPECT_EQ(c.wait_until_completed().error().code, Errc::invalid_state);
  b = Buffer();
  EXPECT_EQ(d.stats().bytes_allocated, 0U);
}

TEST(Encoder, SubmissionsHoldWhatTheyUse) {
  Device d = value(Device::open("cpu", {.threads = 2}));
  Buffer out = value(d.alloc(DType::i32, {1024}));
  auto e = value(d.command_encoder());
  {
    Buffer scratch = value(d.alloc(DType::i32, {1024}));
    ok(run(e, sleeping_kernel, {scratch}, 2, 10));
    ok(run(e, add_constant_kernel, {scratch, scratch}, 1024, 3));
    ok(run(e, add_constant_kernel, {scratch, out}, 1024, 4));
  }
  EXPECT_EQ(d.stats().bytes_allocated, 8192U);
  const CommandBuffer c = value(e.commit());
  ok(d.wait_idle());
  EXPECT_EQ(d.stats().bytes_allocated, 4096U);
  EXPECT_EQ(value(out.read<std::int32_t>())[1023], 7);
}

TEST(Encoder, EverythingMayBeDroppedWhileWorkRuns) {
  for (int i = 0; i < 20; ++i) {
    CommandBuffer c;
    {
      Device d = value(Device::open("cpu", {.threads = 1 + i % 3}));
      Buffer b = value(d.alloc(DType::i32, {64}));
      auto e = value(d.command_encoder());
      ok(run(e, sleeping_kernel, {b}, 3, 1));
      c = value(e.commit("orphan"));
    }
    if (i % 2) ok(c.wait_until_completed());
  }
}

TEST(Encoder, AFailedKernelIsReportedWithItsNameAndLabel) {
  Device d = value(Device::open("cpu", {.threads = 2}));
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

  auto unseen = value(d.command_encoder());
  ok(run(unseen, failing_kernel, {b}, 64, 1U));
  value(unseen.commit("unseen"));
  EXPECT_NE(d.wait_idle().error().str().find("unseen"), std::string::npos);
  ok(d.wait_idle());
}

TEST(Encoder, CapturesInsteadOfRunning) {
  Device d = value(Device::open("cpu"));
  Buffer b = value(d.alloc(DType::u32, {256}));
  auto e = value(d.command_encoder());
  EXPECT_EQ(e.take_capture().error().code, Errc::invalid_state);
  e.start_capture();
  for (int i = 0; i < 3; ++i) ok(run(e, scale_in_place_kernel, {b}, 256, 1U));
  EXPECT_EQ(e.commit().error().code, Errc::invalid_state);
  const auto graph = value(e.take_capture());
  EXPECT_EQ(graph.size(), 3U);
  EXPECT_EQ(graph.barriers(), 2U);
  EXPECT_EQ(d.stats().dispatches, 0U);
  ok(run(e, scale_in_place_kernel, {b}, 256, 5U));
  ok(e.commit_and_wait());
  EXPECT_EQ(value(b.read<std::uint32_t>())[0], 5U);
}

TEST(Encoder, ResultsDoNotDependOnThreads) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::vector<std::uint32_t> first;
  for (const int threads : {1, 2, 5}) {
    std::mt19937 random(seed);
    Device d = value(Device::open("cpu", {.threads = threads}));
    Buffer b = value(d.alloc(DType::u32, {4096}));
    auto s = value(d.encoder_session());
    for (int i = 0; i < 2000; ++i) {
      const std::size_t at = random() % 4000, n = 1 + random() % std::min<std::size_t>(1500, 4096 - at);
      ok(run(s.encoder(), scale_in_place_kernel, {value(b.view(at * 4, DType::u32, {n}))}, static_cast<std::uint32_t>(n),
             static_cast<std::uint32_t>(i)));
      if (random() % 50 == 0) ok(s.fence_stage()), ok(s.reset_for_next_stage());
    }
    ok(s.commit_and_wait());
    const auto v = value(b.read<std::uint32_t>());
    if (first.empty()) first = v;
    EXPECT_EQ(v, first) << threads;
  }
}

TEST(Encoder, ManyThreadsMayEncodeOnOneDevice) {
  Device d = value(Device::open("cpu", {.threads = 2}));
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      Buffer b = value(d.alloc(DType::u32, {512}));
      auto s = value(d.encoder_session());
      std::uint32_t expected = 0;
      for (std::uint32_t i = 0; i < 50; ++i) {
        ok(run(s.encoder(), scale_in_place_kernel, {b}, 512, i));
        expected = expected * 3 + i;
        ok(i % 7 ? s.fence_stage() : s.commit_and_wait());
        ok(s.reset_for_next_stage());
      }
      const auto v = value(b.read<std::uint32_t>());
      good += std::count(v.begin(), v.end(), expected) == 512;
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 4);
}

TEST(Kernels, CompileOnceForEachSpecialisation) {
  Device d = value(Device::open("cpu"));
  EXPECT_EQ(d.kernel("test_add_constant").error().code, Errc::not_found);
  const auto k = value(d.kernel(add_constant_kernel));
  EXPECT_EQ(value(d.kernel("test_add_constant")).get(), k.get());
  EXPECT_EQ(d.stats().kernels_compiled, 1U);
  EXPECT_NE(value(d.kernel(add_constant_kernel, 4)).get(), k.get());
  EXPECT_EQ(d.stats().kernels_compiled, 2U);
  static const KernelDef impostor = {"test_add_constant", "r", {1}, cpu_portable<failing>};
  EXPECT_EQ(d.kernel(impostor).error().code, Errc::invalid_argument);
  static const KernelDef bodiless = {"test_bodiless", "r", {1}, nullptr};
  EXPECT_EQ(d.kernel(bodiless).error().code, Errc::unsupported);
}

}  // namespace
}  // namespace halyard

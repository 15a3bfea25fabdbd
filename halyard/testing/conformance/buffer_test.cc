// Memory, buffers, views, the pool and the memory budget, as every device must keep them.
#include "halyard/hal/buffer.h"

#include "halyard/hal/pool.h"
#include "halyard/testing/conformance/devices.h"

namespace halyard {
namespace {

using namespace testing;

class DeviceMemory : public OnEveryDevice {};
class Buffers : public OnEveryDevice {};
class Pool : public OnEveryDevice {};
class Budget : public OnEveryDevice {};

TEST_P(DeviceMemory, IsZeroAndCounted) {
  Device d = open();
  for (const std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{3} << 20}) {
    const Buffer b = value(d.alloc(DType::u8, {n}));
    EXPECT_EQ(d.stats().bytes_allocated, n);
    const auto bytes = value(b.read<std::uint8_t>());
    EXPECT_EQ(std::accumulate(bytes.begin(), bytes.end(), 0), 0);
  }
  EXPECT_EQ(d.stats().bytes_allocated, 0U);
  EXPECT_EQ(d.stats().peak_bytes, std::size_t{3} << 20);
}

TEST_P(DeviceMemory, IsZeroAgainAfterItWasUsed) {
  Device d = open();
  for (int i = 0; i < 20; ++i) {
    Buffer b = value(d.alloc(DType::u32, {256}));
    EXPECT_EQ(value(b.read<std::uint32_t>()), std::vector<std::uint32_t>(256));
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {b}, 256, 7U));
    if (i % 2) ok(e.commit_and_wait());
    else value(e.commit());
  }
}

TEST_P(DeviceMemory, OfAbsurdSizeIsRefused) {
  Device d = open();
  EXPECT_EQ(d.alloc(DType::f32, {std::size_t{1} << 40, std::size_t{1} << 40}).error().code, Errc::invalid_argument);
  EXPECT_EQ(d.alloc(DType::f32, {std::size_t{1} << 55}).error().code, Errc::out_of_memory);
  EXPECT_EQ(d.alloc(DType::f32, {1, 1, 1, 1, 1, 1, 1, 1, 1}).error().code, Errc::invalid_argument);
  EXPECT_EQ(d.stats().bytes_allocated, 0U);
}

TEST_P(DeviceMemory, OfTheHostIsHeldAndNeverWritten) {
  Device d = open();
  auto owner = std::make_shared<std::vector<std::int32_t>>(64, 5);
  const std::weak_ptr<void> watch = owner;
  auto imported = d.import_host(owner, owner->data(), DType::i32, {64});
  if (!d.capabilities().host_visible) {
    EXPECT_EQ(imported.error().code, Errc::unsupported);
    return;
  }
  Buffer in = value(std::move(imported)), out = value(d.alloc(DType::i32, {64}));
  imported = fail(Errc::invalid_state, "moved");
  owner.reset();
  EXPECT_EQ(d.stats().bytes_allocated, 256U);
  auto e = value(d.command_encoder());
  EXPECT_EQ(run(e, add_constant_kernel, {out, in}, 64, 1).error().code, Errc::invalid_argument);
  ok(run(e, add_constant_kernel, {in, out}, 64, 1));
  in = Buffer();
  EXPECT_FALSE(watch.expired());
  ok(e.commit_and_wait());
  EXPECT_TRUE(watch.expired());
  EXPECT_EQ(value(out.read<std::int32_t>())[63], 6);
}

TEST_P(DeviceMemory, OfTheHostIsCopiedWhereItCannotBeUsedInPlace) {
  Device d = open();
  auto owner = std::make_shared<std::vector<std::int32_t>>(64, 5);
  const std::weak_ptr<void> watch = owner;
  const Buffer in = value(d.import_or_copy(owner, owner->data(), DType::i32, {64})),
               out = value(d.alloc(DType::i32, {64}));
  const bool in_place = d.capabilities().host_visible;
  EXPECT_EQ(d.stats().bytes_allocated, in_place ? 256U : 512U);
  EXPECT_EQ(d.residency_count(), 2U);
  owner.reset();
  EXPECT_EQ(watch.expired(), !in_place);
  auto e = value(d.command_encoder());
  ok(run(e, add_constant_kernel, {in, out}, 64, 1));
  ok(e.commit_and_wait());
  EXPECT_EQ(value(out.read<std::int32_t>()), std::vector<std::int32_t>(64, 6));
  EXPECT_EQ(d.import_or_copy(nullptr, nullptr, DType::i32, {64}).error().code, Errc::invalid_argument);
}

TEST_P(Buffers, RespectTheirWindowAndType) {
  Device d = open();
  Buffer b = value(d.alloc(DType::i32, {8}));
  std::vector<std::int32_t> v(8);
  std::iota(v.begin(), v.end(), 0);
  ok(b.write(std::span<const std::int32_t>(v)));
  Buffer w = value(b.view(8, DType::i32, {2, 2}));
  EXPECT_EQ(w.offset_bytes(), 8U);
  EXPECT_EQ(w.size_bytes(), 16U);
  EXPECT_EQ(value(w.read<std::int32_t>()), (std::vector<std::int32_t>{2, 3, 4, 5}));
  ok(w.write(std::span<const std::int32_t>(std::vector<std::int32_t>{-1})));
  EXPECT_EQ(value(b.read<std::int32_t>()), (std::vector<std::int32_t>{0, 1, -1, 3, 4, 5, 6, 7}));
  EXPECT_EQ(w.read<float>().error().code, Errc::invalid_argument);
  EXPECT_EQ(w.write(std::span<const std::int32_t>(v)).error().code, Errc::invalid_argument);
}

TEST_P(Buffers, AreMappedWhereTheHostSeesThem) {
  Device d = open();
  Buffer b = value(d.alloc(DType::i32, {8})), w = value(b.view(8, DType::i32, {4}));
  auto mapped = w.map<std::int32_t>();
  if (!d.capabilities().host_visible) {
    EXPECT_EQ(mapped.error().code, Errc::unsupported);
    return;
  }
  ASSERT_EQ(value(mapped).size(), 4U);
  value(mapped)[0] = -1;
  EXPECT_EQ(value(b.read<std::int32_t>())[2], -1);
  EXPECT_EQ(b.map<float>().error().code, Errc::invalid_argument);
}

TEST_P(Buffers, RefuseViewsThatLeaveThem) {
  Device d = open();
  Buffer b = value(d.alloc(DType::i32, {8})), w = value(b.view(8, DType::i32, {2, 2}));
  for (const auto& bad : {b.view(1, DType::f32, {1}), b.view(8, DType::i32, {7}), b.view(40, DType::u8, {1}),
                          w.view(16, DType::u8, {1}), w.view(0, DType::u8, {std::size_t{1} << 63, 2})}) {
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, Errc::invalid_argument);
    EXPECT_FALSE(bad.error().message.empty());
  }
  EXPECT_EQ(Buffer().view(0, DType::u8, {1}).error().code, Errc::invalid_state);
  EXPECT_TRUE(w.view(16, DType::u8, {0}));
  const Buffer odd = value(b.view(1, DType::u8, {31}));  // a view of a view lies where both offsets add up to
  EXPECT_EQ(odd.view(0, DType::i32, {1}).error().code, Errc::invalid_argument);
  EXPECT_TRUE(odd.view(3, DType::i32, {1}));
}

TEST_P(Buffers, WaitForCommittedWorkWhenReadAndWritten) {
  Device d = open();
  Buffer b = value(d.alloc(DType::u32, {64}));
  for (const bool write : {false, true}) {
    auto e = value(d.command_encoder());
    ok(run(e, sleeping_kernel, {b}, 2, 20));
    ok(run(e, scale_in_place_kernel, {b}, 64, 7U));
    const CommandBuffer c = value(e.commit());
    if (write) ok(b.write(std::span<const std::uint32_t>(std::vector<std::uint32_t>(64, 1))));
    else EXPECT_EQ(value(b.read<std::uint32_t>())[63], 7U);
    EXPECT_EQ(c.status(), CommandBufferStatus::completed);
  }
  EXPECT_EQ(value(b.read<std::uint32_t>()), std::vector<std::uint32_t>(64, 1));
}

TEST_P(Buffers, ThatAreNullAreErrors) {
  Device d = open();
  Buffer null;
  EXPECT_EQ(null.read<float>().error().code, Errc::invalid_state);
  EXPECT_EQ(null.map<float>().error().code, Errc::invalid_state);
  EXPECT_EQ(null.write(std::span<const float>()).error().code, Errc::invalid_state);
}

TEST_P(Pool, NeverHandsABufferOutTwice) {
  Device d = open();
  BufferPool pool(d);
  Buffer a = value(pool.acquire(DType::f32, {100})), b = value(pool.acquire(DType::f32, {100}));
  EXPECT_NE(a.allocation(), b.allocation());
  EXPECT_EQ(pool.bytes_out(), 2 * 448U);
  ok(pool.release(a));
  EXPECT_EQ(pool.release(a).error().code, Errc::invalid_state);
  EXPECT_EQ(pool.release(value(d.alloc(DType::f32, {1}))).error().code, Errc::invalid_state);
  EXPECT_EQ(pool.release(Buffer()).error().code, Errc::invalid_state);
  const void* first = a.allocation().get();
  EXPECT_NE(value(pool.acquire(DType::f32, {99})).allocation().get(), first);  // a handle is still about
  a = Buffer();
  EXPECT_EQ(value(pool.acquire(DType::f32, {99})).allocation().get(), first);
}

TEST_P(Pool, KeepsMemoryOfWorkInFlight) {
  Device d = open();
  BufferPool pool(d);
  auto e = value(d.command_encoder());
  const void* used = nullptr;
  {
    const Buffer b = value(pool.acquire(DType::u32, {64}));
    used = b.allocation().get();
    ok(run(e, sleeping_kernel, {b}, 1, 5));
    ok(pool.release(b));
  }
  EXPECT_NE(value(pool.acquire(DType::u32, {64})).allocation().get(), used);
  ok(e.commit_and_wait());
  EXPECT_EQ(value(pool.acquire(DType::u32, {64})).allocation().get(), used);
}

TEST_P(Pool, FreesWhatIsNotOutWhenTrimmed) {
  Device d = open();
  BufferPool pool(d);
  const Buffer out = value(pool.acquire(DType::u8, {1000}));
  ok(pool.release(value(pool.acquire(DType::u8, {5000}))));
  EXPECT_EQ(pool.bytes_held(), 1024U + 5120U);
  EXPECT_EQ(d.stats().bytes_allocated, 1024U + 5120U);
  pool.trim();
  EXPECT_EQ(pool.bytes_held(), 1024U);
  EXPECT_EQ(d.stats().bytes_allocated, 1024U);
}

TEST_P(Budget, IsHeldAndNamedWhenExceeded) {
  Device d = open({.memory_budget = 1000});
  EXPECT_EQ(d.memory_budget(), 1000U);
  Buffer a = value(d.alloc(DType::u8, {600}));
  const auto more = d.alloc(DType::f32, {101});
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, Errc::out_of_memory);
  for (const char* part : {"404", "600", "1000"}) EXPECT_NE(more.error().str().find(part), std::string::npos) << part;
  EXPECT_EQ(d.stats().bytes_allocated, 600U);
  EXPECT_TRUE(d.alloc(DType::f32, {100}));
  a = Buffer();
  EXPECT_TRUE(d.alloc(DType::u8, {1000}));
  EXPECT_FALSE(d.alloc(DType::u8, {1001}));
}

TEST_P(Budget, DoesNotCountMemoryOfTheHost) {
  Device d = open({.memory_budget = 8});
  const auto owner = std::make_shared<std::vector<std::uint8_t>>(1000);
  if (d.capabilities().host_visible) {
    EXPECT_TRUE(d.import_host(owner, owner->data(), DType::u8, {1000}));
  } else {
    EXPECT_EQ(d.import_or_copy(owner, owner->data(), DType::u8, {1000}).error().code, Errc::out_of_memory);
  }
  EXPECT_TRUE(d.alloc(DType::u8, {8}));
}

INSTANTIATE_TEST_SUITE_P(Every, DeviceMemory, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, Buffers, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, Pool, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, Budget, ::testing::ValuesIn(devices), case_name);

}  // namespace
}  // namespace halyard

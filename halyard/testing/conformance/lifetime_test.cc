// Everything may be dropped at any time, in any order, and memory is never reused too early, on every device.
#include <algorithm>
#include <array>
#include <optional>
#include <thread>

#include "halyard/hal/pool.h"
#include "halyard/testing/conformance/devices.h"

namespace halyard {
namespace {

using namespace testing;

class Lifetime : public OnEveryDevice {};
class Threads : public OnEveryDevice {};

enum class Work { recorded, committed, running, fenced, failed };

// All handles of one device, with work in the state asked for; drop(i) lets go of one kind of them.
struct Handles {
  std::optional<Device> device;
  std::optional<Buffer> buffer;
  std::optional<CommandEncoder> encoder;
  std::optional<EncoderSession> session;
  CommandBuffer by_encoder, by_session;

  Handles(Device d, Work work) : device(d) {
    buffer = value(d.alloc(DType::u32, {256}));
    encoder = value(d.command_encoder());
    session = value(d.encoder_session());
    for (CommandEncoder* e : {&*encoder, &session->encoder()}) {
      if (work == Work::running) ok(run(*e, sleeping_kernel, {*buffer}, 2, 1));
      if (work == Work::failed) ok(run(*e, failing_kernel, {*buffer}, 256, 100U));
      ok(run(*e, scale_in_place_kernel, {*buffer}, 256, 1U));
    }
    by_encoder = encoder->command_buffer();
    by_session = session->command_buffer();
    if (work == Work::recorded) return;
    value(encoder->commit("by encoder"));
    if (work == Work::committed) ok(session->commit_stage());
    ok(session->fence_stage("by session"));  // drained: nothing
    if (work == Work::committed || work == Work::running) return;
    ok(session->reset_for_next_stage());
    ok(run(session->encoder(), scale_in_place_kernel, {*buffer}, 256, 1U));
    ok(session->fence_stage("after the fence"));
  }
  void drop(int i) {
    if (i == 0) device.reset();
    if (i == 1) buffer.reset();
    if (i == 2) encoder.reset();
    if (i == 3) session.reset();
  }
};

TEST_P(Lifetime, HandlesMayBeDroppedInEveryOrderInEveryState) {
  for (const Work work : {Work::recorded, Work::committed, Work::running, Work::fenced, Work::failed}) {
    std::array order = {0, 1, 2, 3};
    do {
      SCOPED_TRACE(::testing::Message() << "work " << static_cast<int>(work) << ", order " << order[0] << order[1]
                                        << order[2] << order[3]);
      Handles handles(open(), work);
      for (const int i : order) handles.drop(i);
      if (order[3] % 2) continue;  // in half of the cases nobody asks what became of the work
      for (CommandBuffer* c : {&handles.by_encoder, &handles.by_session}) {
        const auto outcome = c->wait_until_completed();
        EXPECT_EQ(outcome.has_value(), work != Work::recorded && work != Work::failed);
        EXPECT_EQ(c->status(), work == Work::recorded ? CommandBufferStatus::discarded
                               : work == Work::failed ? CommandBufferStatus::failed
                                                      : CommandBufferStatus::completed);
      }
    } while (std::next_permutation(order.begin(), order.end()));
  }
}

TEST_P(Lifetime, ADeviceStaysUsableAfterWhateverWasDropped) {
  Device d = open();
  for (const Work work : {Work::recorded, Work::committed, Work::running, Work::fenced, Work::failed}) {
    { const Handles dropped(d, work); }
    Buffer b = value(d.alloc(DType::u32, {256}));
    auto e = value(d.command_encoder());
    ok(run(e, scale_in_place_kernel, {b}, 256, 5U));
    ok(e.commit_and_wait());
    EXPECT_EQ(value(b.read<std::uint32_t>()), std::vector<std::uint32_t>(256, 5));
  }
  EXPECT_EQ(d.wait_idle().has_value(), false);  // the failed work, that nobody had asked about
  d.reset_stats();
  EXPECT_EQ(d.stats().bytes_allocated, 0U);
}

// Each stage writes scratch and adds it to the sum; the scratch is dropped before the stage has run, and the next stage's
// is of the same size.
TEST_P(Lifetime, ScratchDroppedBehindAFenceIsNotReusedTooEarly) {
  constexpr std::uint32_t n = 512, stages = 200;
  for (const bool pooled : {false, true}) {
    Device d = open();
    BufferPool pool(d);
    Buffer sum = value(d.alloc(DType::i32, {n}));
    auto s = value(d.encoder_session());
    for (std::uint32_t i = 0; i < stages; ++i) {
      Buffer scratch = value(pooled ? pool.acquire(DType::i32, {n}) : d.alloc(DType::i32, {n}));
      ok(run(s.encoder(), add_constant_kernel, {sum, scratch}, n, static_cast<std::int32_t>(i)));
      ok(run(s.encoder(), add_constant_kernel, {scratch, sum}, n, 1));
      if (pooled) ok(pool.release(scratch));
      scratch = Buffer();
      ok(s.fence_stage());
      ok(s.reset_for_next_stage());
    }
    ok(s.commit_and_wait());
    EXPECT_EQ(value(sum.read<std::int32_t>()), std::vector<std::int32_t>(n, stages * (stages - 1) / 2 + stages));
    if (!pooled) { EXPECT_EQ(d.stats().bytes_allocated, sum.size_bytes()); }
  }
}

TEST_P(Lifetime, ResidencyDropsABufferWithItsLastHandle) {
  Device d = open();
  auto s = value(d.encoder_session());
  const std::size_t before = d.residency_count();
  Buffer b = value(d.alloc(DType::u32, {256}));
  EXPECT_EQ(d.residency_count(), before + 1);
  ok(run(s.encoder(), scale_in_place_kernel, {b}, 256, 1U));
  b = Buffer();
  EXPECT_EQ(d.residency_count(), before);  // though the recording keeps the memory
  ok(s.commit_and_wait());
  EXPECT_EQ(d.residency_count(), before);
}

TEST_P(Lifetime, ResidencyRoundTrips) {
  Device d = open();
  auto s = value(d.encoder_session());
  std::vector<Buffer> buffers;
  for (int i = 0; i < 100; ++i) buffers.push_back(value(d.alloc(DType::u8, {64})));
  const std::size_t all = d.residency_count();
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_TRUE(s.remove_from_residency_set(buffers[i]));
      EXPECT_TRUE(s.remove_from_residency_set(buffers[i]));
      EXPECT_EQ(d.residency_count(), all - i - 1);
    }
    for (const Buffer& b : buffers) {
      EXPECT_TRUE(s.add_to_residency_set(b));
      EXPECT_TRUE(s.add_to_residency_set(b));
    }
    EXPECT_EQ(d.residency_count(), all);
  }
  EXPECT_FALSE(s.add_to_residency_set(Buffer()));
  EXPECT_FALSE(s.remove_from_residency_set(Buffer()));
}

// Sessions and plain encoders of one device, each thread with its own, all adding into memory of their own and reading a
// buffer that they share.
TEST_P(Threads, EncodersAndSessionsOfOneDevice) {
  Device d = open();
  Buffer shared = value(d.alloc(DType::i32, {512}));
  const std::vector<std::int32_t> sevens(512, 7);
  ok(shared.write(std::span<const std::int32_t>(sevens)));
  std::atomic<int> good{0};
  const auto work = [&](bool in_session) {
    Buffer out = value(d.alloc(DType::u32, {512})), copy = value(d.alloc(DType::i32, {512}));
    auto s = value(d.encoder_session());
    std::uint32_t expected = 0;
    for (std::uint32_t i = 0; i < 100; ++i) {
      expected = expected * 3 + i;
      if (in_session) {
        ok(run(s.encoder(), scale_in_place_kernel, {out}, 512, i));
        ok(run(s.encoder(), add_constant_kernel, {shared, copy}, 512, static_cast<std::int32_t>(i)));
        ok(i % 7 ? s.fence_stage() : s.commit_and_wait());
        ok(s.reset_for_next_stage());
      } else {
        auto e = value(d.command_encoder());
        ok(run(e, scale_in_place_kernel, {out}, 512, i));
        ok(run(e, add_constant_kernel, {shared, copy}, 512, static_cast<std::int32_t>(i)));
        if (i % 5) value(e.commit());
        else ok(e.commit_and_wait());
      }
    }
    good += value(out.read<std::uint32_t>()) == std::vector<std::uint32_t>(512, expected) &&
            value(copy.read<std::int32_t>()) == std::vector<std::int32_t>(512, 7 + 99);
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) threads.emplace_back(work, t % 2 == 0);
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 6);
}

INSTANTIATE_TEST_SUITE_P(Every, Lifetime, ::testing::ValuesIn(devices), case_name);
INSTANTIATE_TEST_SUITE_P(Every, Threads, ::testing::ValuesIn(concurrent_devices()), case_name);

}  // namespace
}  // namespace halyard

// Plans against recording the same, and what compiling refuses; what every device must do with them is in testing/conformance.
#include "halyard/hal/plan.h"

#include <random>

#include <gtest/gtest.h>

#include "halyard/hal/plan_state.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

constexpr std::string_view kBias[] = {"bias"};
constexpr std::size_t kElements = 1024;

/// x = 3 · x + constant, the constant tagged as "bias" where `tagged`.
Result<void> scale(CommandEncoder& e, const Buffer& x, std::uint32_t constant, bool tagged) {
  const ParameterPlace place[] = {{"bias", 0, 4, 1000}};
  const Buffer buffers[] = {x};
  return e.dispatch({.kernel = HALYARD_TRY(e.kernel(scale_in_place_kernel)),
                     .grid = {static_cast<std::uint32_t>(x.shape().elements()), 1, 1},
                     .buffers = buffers,
                     .constants = constant,
                     .parameters = std::span(place, tagged ? 1 : 0)});
}

/// A random program over one buffer, the same for the same seed: `bias` is the constant of every third dispatch.
void record(CommandEncoder& e, const Buffer& memory, unsigned seed, std::uint32_t bias) {
  std::mt19937 random(seed);
  for (int i = 0; i < 40; ++i) {
    const std::size_t at = random() % (kElements - 1), n = random() % std::min<std::size_t>(300, kElements - at);
    const Buffer x = value(memory.view(at * 4, DType::u32, {n}));  // sometimes empty: no tiles
    if (i % 3 == 0) ok(scale(e, x, bias, true));
    else ok(scale(e, x, static_cast<std::uint32_t>(random() % 100), false));
    if (random() % 15 == 0) e.memory_barrier();
  }
}

Plan plan_of(Device d, const Buffer& memory, unsigned seed, std::uint32_t bias) {
  auto e = value(d.command_encoder());
  e.start_capture();
  record(e, memory, seed, bias);
  return value(value(e.take_capture()).compile(kBias));
}

/// Replays between dispatches recorded in the same command buffer, against all of it recorded. `own_form`: by the driver's
/// form of a plan, or as a driver without one gets it.
void replay_equals_recording(int threads, bool own_form, unsigned seed) {
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Device d = value(Device::open("cpu", {.cpu = {.threads = threads}}));
  Buffer recorded = value(d.alloc(DType::u32, {kElements})), replayed = value(d.alloc(DType::u32, {kElements}));
  const Plan plan = plan_of(d, replayed, seed, 5);
  if (!own_form) std::const_pointer_cast<PlanState>(plan.shared())->prepared.reset();
  for (int round = 0; round < 20; ++round) {
    auto a = value(d.command_encoder()), b = value(d.command_encoder());
    for (int i = static_cast<int>(random() % 4); i >= 0; --i) {
      const auto bias = static_cast<std::uint32_t>(random() % 1000), between = static_cast<std::uint32_t>(random() % 3);
      const PlanParameter values[] = {{"bias", bias}};
      for (std::uint32_t k = 0; k < between; ++k) {
        ok(scale(a, recorded, k, false));
        ok(scale(b, replayed, k, false));
      }
      record(a, recorded, seed, bias);
      ok(b.replay(plan, values));
    }
    if (random() % 2) {
      ok(scale(a, recorded, 7, false));
      ok(scale(b, replayed, 7, false));
    }
    ok(a.commit_and_wait());
    ok(value(b.commit()).wait_until_completed());
    ASSERT_EQ(value(replayed.read<std::uint32_t>()), value(recorded.read<std::uint32_t>())) << "round " << round;
  }
}

TEST(Plan, ReplayEqualsRecordingAmongOtherDispatches) {
  const unsigned seed = std::random_device{}();
  for (unsigned i = 0; i < 10; ++i)
    for (const int threads : {1, 3}) replay_equals_recording(threads, true, seed + i);
}

TEST(Plan, ADriverWithoutAFormOfItsOwnGetsTheRecords) {
  const unsigned seed = std::random_device{}();
  for (unsigned i = 0; i < 5; ++i) replay_equals_recording(2, false, seed + i);
}

TEST(Plan, CompilingSaysWhatIsWrongWithAParameter) {
  Device d = value(Device::open("cpu"));
  const Buffer x = value(d.alloc(DType::u32, {8}));
  const auto compile = [&](std::span<const std::string_view> names, auto&& fill) {
    auto e = value(d.command_encoder());
    e.start_capture();
    fill(e);
    const auto plan = value(e.take_capture()).compile(names);
    return plan ? std::string("compiled") : plan.error().str();
  };
  const auto expect_error = [](const std::string& message, std::string_view part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect_error(compile(kBias, [&](CommandEncoder& e) { ok(scale(e, x, 1, false)); }), "no dispatch");
  expect_error(compile(kBias, [&](CommandEncoder& e) { ok(scale(e, x, 1, true)), ok(scale(e, x, 2, true)); }),
               "values 1 and 2");
  const std::string_view twice[] = {"bias", "bias"};
  expect_error(compile(twice, [&](CommandEncoder& e) { ok(scale(e, x, 1, true)); }), "named twice");
  for (const auto& [at, bytes] : {std::pair{1U, 4U}, {0U, 8U}, {0U, 2U}, {UINT32_MAX, 4U}}) {
    const ParameterPlace place[] = {{"bias", at, bytes, 9}};
    const Buffer buffers[] = {x};
    expect_error(compile(kBias,
                         [&](CommandEncoder& e) {
                           ok(e.dispatch({.kernel = value(e.kernel(scale_in_place_kernel)),
                                          .grid = {8, 1, 1},
                                          .buffers = buffers,
                                          .constants = 1U,
                                          .parameters = place}));
                         }),
                 "constants");
  }
}

}  // namespace
}  // namespace halyard

#include "halyard/ops/causal_conv/causal_conv.h"

#include <limits>

#include "halyard/ops/causal_conv/reference.h"
#include "halyard/ops/slot_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

struct Problem {
  std::size_t channels, taps;
  std::vector<std::size_t> lengths;
  std::vector<float> x, weight, bias;  // bias: empty, where there is none

  SlotOp op() const {
    return {lengths,
            {taps - 1, channels},
            channels,
            [this](CommandEncoder& e, Device d, const std::vector<std::size_t>& rows, const Buffer& state,
                   const Buffer& out, const SlotBatch& batch) {
              const Buffer b = bias.empty() ? Buffer() : put(d, {channels}, bias);
              return causal_conv(e, pick(d, x, channels, rows), put(d, {taps, channels}, weight), b, state, out, batch);
            }};
  }
};
Problem problem(Random& random, std::size_t channels, std::size_t taps, std::vector<std::size_t> lengths) {
  Problem p = {channels, taps, std::move(lengths), {}, {}, {}};
  p.x = random.normal(p.op().rows() * channels, 2);
  p.weight = random.normal(taps * channels);
  if (random.below(2)) p.bias = random.normal(channels);
  return p;
}

void expect_formula(Random& random, const Problem& p) {
  SCOPED_TRACE(fmt::format("{} channels, {} taps, {} sequences, bias {}", p.channels, p.taps, p.lengths.size(),
                           !p.bias.empty()));
  const std::size_t past = p.taps - 1;
  std::vector<double> expected(p.x.size()), magnitude(p.x.size());
  std::vector<float> states;  // the last rows of each sequence, zeros before its first
  std::size_t first = 0;
  for (const std::size_t n : p.lengths) {
    const std::size_t at = first * p.channels;
    reference::causal_conv(p.x.data() + at, p.weight.data(), p.bias.empty() ? nullptr : p.bias.data(),
                           expected.data() + at, magnitude.data() + at, n, p.channels, p.taps);
    for (std::size_t k = 0; k < past; ++k)
      for (std::size_t c = 0; c < p.channels; ++c)
        states.push_back(n + k < past ? 0 : p.x[(first + n + k - past) * p.channels + c]);
    first += n;
  }
  const SlotOp op = p.op();
  on_every_device([&](Device d) {
    const SlotResult r = whole(d, op);
    // silu is nowhere steeper than 1.1; beyond e^88 it may become 0
    expect_near(r.out, expected, [&](std::size_t i) {
      return 5e-7 * std::abs(expected[i]) + 1e-7 * static_cast<double>(p.taps + 1) * magnitude[i] + 1e-35;
    });
    expect_same(r.states, states, "states");
    expect_cut_is_whole(d, random, op, r);
    return r.out;
  });
}

TEST(CausalConv, FollowsItsFormulaHoweverSequencesAreCut) {
  Random random;
  for (const std::size_t channels : {1UL, 3UL, 16UL, 63UL, 64UL, 65UL, 200 + random.below(200)}) {
    const std::size_t taps = std::array{1UL, 2UL, 4UL, 64UL}[random.below(4)];
    expect_formula(random, problem(random, channels, taps, {1 + random.below(20), 1, 1 + random.below(70), 2}));
  }
  expect_formula(random, problem(random, 1, 1, {1}));
  expect_formula(random, problem(random, 5, 4, {3}));
  expect_formula(random, problem(random, 5, 64, {3, 200}));  // shorter than the state, and longer
}

TEST(CausalConv, TakesExtremeValuesAsTheFormulaDoes) {
  Random random;
  const float extremes[] = {0.0F,    -0.0F,  inf, -inf, nan, 1e30F, -1e30F, 1e-45F,
                            -1e-45F, 1e-38F, 90,  -90,  104, -104,  3e38F,  -3e38F};
  Problem p = problem(random, 67, 4, {40, 9});
  for (std::size_t i = 0; i < p.x.size(); i += 1 + random.below(30))
    p.x[i] = extremes[random.below(std::size(extremes))];
  for (float& w : p.weight) w = std::clamp(w, -1.0F, 1.0F) / 8;  // sums of the greatest stay finite
  expect_formula(random, p);
}

TEST(CausalConv, LeavesTheStateItReads) {
  Random random;
  const Problem p = problem(random, 33, 4, {11});
  const SlotOp op = p.op();
  on_every_device([&](Device d) {
    expect_state_is_shared(d, op);
    return std::vector<float>();
  });
}

TEST(CausalConv, FailsWhereRowsOrSlotsAreNotThere) {
  Random random;
  for (const std::size_t taps : {4UL, 1UL}) expect_bad_slots_fail(any_device(), problem(random, 5, taps, {6}).op());
}

TEST(CausalConv, RefusesWrongArguments) {
  Device d = any_device(), other = any_device();
  const auto floats = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const Buffer x = floats({2, 5}), out = floats({2, 5}), w = floats({4, 5}), bias = floats({5}),
               state = floats({2, 3, 5});
  const SlotBatch batch = batch_of(d, {{0, 2, -1, 0}});
  const auto refused = [&](const Buffer& a, const Buffer& b, const Buffer& c, const Buffer& s, const Buffer& o,
                           std::initializer_list<std::string_view> parts) {
    expect_refused([&](CommandEncoder& e) { return causal_conv(e, a, b, c, s, o, batch); }, d, parts);
  };
  refused(Buffer(), w, bias, state, out, {"causal_conv: x: expected f32, got a null buffer"});
  refused(x, Buffer(), bias, state, out, {"causal_conv: weight: expected f32, got a null buffer"});
  refused(x, w, bias, Buffer(), out, {"causal_conv: state: expected f32, got a null buffer"});
  refused(x, w, bias, state, Buffer(), {"causal_conv: out: expected f32, got a null buffer"});
  refused(floats({10}), w, bias, state, out, {"x: expected 2 axes, got [10]"});
  refused(put(d, {2, 5}, std::vector<f16>(10)), w, bias, state, out, {"x: expected f32, got f16 [2, 5]"});
  refused(x, floats({4, 6}), bias, state, out, {"weight: expected [4, 5], got [4, 6]"});
  refused(x, floats({0, 5}), bias, state, out, {"weight: expected 1 to 64 taps, got [0, 5]"});
  refused(x, floats({65, 5}), bias, state, out, {"weight: expected 1 to 64 taps, got [65, 5]"});
  refused(x, w, floats({4}), state, out, {"bias: expected [5], got [4]"});
  refused(x, w, bias, floats({2, 4, 5}), out, {"state: expected [2, 3, 5], got [2, 4, 5]"});
  refused(x, w, bias, floats({3, 5}), out, {"state: expected 3 axes, got [3, 5]"});
  refused(x, w, bias, state, floats({2, 6}), {"out: expected [2, 5], got [2, 6]"});
  refused(x, w, bias, state, x, {"out: expected memory apart from x"});
  refused(x, w, bias, state, must(state.view(4, DType::f32, {2, 5})), {"out: expected memory apart from state"});
  refused(must(state.view(0, DType::f32, {2, 5})), w, bias, state, out, {"state: expected memory apart from x"});
  refused(x, w, must(out.view(8, DType::f32, {5})), state, out, {"out: expected memory apart from bias"});
  refused(put(other, {2, 5}, std::vector<float>(10)), w, bias, state, out, {"causal_conv", "memory of another device"});
  expect_batch_checked(d, "causal_conv", [&](CommandEncoder& e, const SlotBatch& b) {
    return causal_conv(e, x, w, Buffer(), state, out, b);
  });
  const Buffer ids = put(d, {60}, std::vector<std::int32_t>(60)), over = must(ids.view(0, DType::f32, {2, 5}));
  expect_refused(
      [&](CommandEncoder& e) {
        return causal_conv(e, x, w, bias, state, over, {batch.spans, must(ids.view(36, DType::i32, {1})), batch.to});
      },
      d, {"out: expected memory apart from from"});
}

TEST(CausalConv, OfNothingDoesNothing) {
  Device d = any_device();
  const Buffer none = put(d, {0, 5}, std::vector<float>()), w = put(d, {4, 5}, std::vector<float>(20));
  const Buffer state = put(d, {1, 3, 5}, std::vector<float>(15, 3)), x = put(d, {2, 5}, std::vector<float>(10, 4));
  const Buffer out = put(d, {2, 5}, std::vector<float>(10, 5));
  run(d, [&](CommandEncoder& e) {
    return causal_conv(e, none, w, Buffer(), state, none, batch_of(d, {{0, 0, -1, 0}}));
  });
  run(d, [&](CommandEncoder& e) { return causal_conv(e, x, w, Buffer(), state, out, batch_of(d, {})); });
  EXPECT_EQ(get<float>(state), std::vector<float>(15, 3));
  EXPECT_EQ(get<float>(out), std::vector<float>(10, 5));
}

}  // namespace
}  // namespace halyard::ops

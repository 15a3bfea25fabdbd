#include "halyard/ops/ssd/ssd.h"

#include <limits>

#include "halyard/ops/slot_test.h"
#include "halyard/ops/ssd/reference.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

struct Problem {
  reference::SsdSizes z;
  std::vector<std::size_t> lengths;
  SsdOptions options;
  std::vector<float> xbc, dt, a, d, dt_bias;

  SlotOp op() const {
    return {lengths,
            {z.heads, z.head_dim, z.state},
            z.inner(),
            [this](CommandEncoder& e, Device v, const std::vector<std::size_t>& rows, const Buffer& state,
                   const Buffer& out, const SlotBatch& batch) {
              const auto of_heads = [&](const std::vector<float>& x) { return put(v, {z.heads}, x); };
              return ssd(e, pick(v, xbc, z.row(), rows), pick(v, dt, z.heads, rows), of_heads(a), of_heads(d),
                         of_heads(dt_bias), state, out, batch, options);
            }};
  }
};
Problem problem(Random& random, reference::SsdSizes z, std::vector<std::size_t> lengths) {
  Problem p = {z,  std::move(lengths),     {.groups = z.groups},   {},
               {}, random.normal(z.heads), random.normal(z.heads), random.normal(z.heads)};
  std::size_t rows = 0;
  for (const std::size_t n : p.lengths) rows += n;
  p.xbc = random.normal(rows * z.row());
  p.dt = random.normal(rows * z.heads, 2);
  for (float& x : p.a) x = -std::exp(x);
  return p;
}

void expect_formula(Random& random, const Problem& p) {
  SCOPED_TRACE(fmt::format("H {}, P {}, G {}, N {}, {} sequences", p.z.heads, p.z.head_dim, p.z.groups, p.z.state,
                           p.lengths.size()));
  reference::Ssd expected;
  std::vector<double> rows_before;  // of a sequence up to a row: each rounds the state
  std::size_t first = 0, longest = 0;
  for (const std::size_t n : p.lengths) {
    const reference::Ssd r = reference::ssd(p.z, n, p.xbc.data() + first * p.z.row(), p.dt.data() + first * p.z.heads,
                                            p.a.data(), p.d.data(), p.dt_bias.data(), p.options);
    const auto append = [](std::vector<double>& to, const std::vector<double>& x) {
      to.insert(to.end(), x.begin(), x.end());
    };
    append(expected.out, r.out);
    append(expected.magnitude, r.magnitude);
    append(expected.state, r.state);
    append(expected.state_magnitude, r.state_magnitude);
    first += n;
    longest = std::max(longest, n);
  }
  const double rounding = 2e-7 * static_cast<double>(std::min(longest, std::size_t{64}) + p.z.state / 4 + 4);
  const SlotOp op = p.op();
  on_every_device([&](Device d) {
    const SlotResult r = whole(d, op);
    expect_near(r.out, expected.out, [&](std::size_t i) { return rounding * expected.magnitude[i] + 1e-35; });
    expect_near(r.states, expected.state,
                [&](std::size_t i) { return rounding * expected.state_magnitude[i] + 1e-35; });
    expect_cut_is_whole(d, random, op, r);
    return r.out;
  });
}

TEST(Ssd, FollowsTheRecurrenceHoweverSequencesAreCut) {
  Random random;
  for (const reference::SsdSizes z :
       {reference::SsdSizes{1, 1, 1, 1}, {3, 5, 1, 7}, {6, 16, 2, 16}, {4, 3, 4, 33}, {2, 9, 1, 128}})
    expect_formula(random, problem(random, z, {1 + random.below(30), 1, 2, 1 + random.below(60)}));
  expect_formula(random, problem(random, {8, 7, 2, 17}, {1}));
}

TEST(Ssd, CutsTheStepAtItsLimits) {
  Random random;
  Problem p = problem(random, {4, 5, 2, 9}, {30, 7});
  p.options.dt_min = 0.001F, p.options.dt_max = 0.1F;
  const float extremes[] = {inf,    -inf, 1e30F, -1e30F, 0,      20,      -20,     19.99F,
                            20.01F, 100,  -100,  -104,   1e-45F, 3.4e38F, -3.4e38F};
  for (std::size_t i = 0; i < p.dt.size(); i += 1 + random.below(4))
    p.dt[i] = extremes[random.below(std::size(extremes))];
  expect_formula(random, p);
  for (float& x : p.dt) x = std::clamp(x, -1e30F, 100.0F);  // unlimited: a step of 100 forgets what was
  p.options.dt_min = 0, p.options.dt_max = inf;
  expect_formula(random, p);
  p.a = {-0.0F, -1e-45F, -3e38F, -1e-10F};  // remembers all; next to all; nothing; nearly all
  for (float& x : p.dt) x = std::clamp(x, -5.0F, 1.0F);
  expect_formula(random, p);
}

TEST(Ssd, TakesGreatAndSmallValues) {
  Random random;
  Problem p = problem(random, {3, 4, 3, 10}, {25});
  for (float& x : p.xbc) x *= std::array{1e10F, 1e-12F, 0.0F, 1.0F}[random.below(4)];
  expect_formula(random, p);
  p = problem(random, {3, 4, 3, 10}, {25});  // what is below the normal numbers, times some others
  for (float& x : p.xbc) x *= std::array{1e-42F, 1e-38F, 1.0F}[random.below(3)];
  expect_formula(random, p);
}

TEST(Ssd, WhatIsNoNumberStaysInItsElementAndItsHead) {
  Random random;
  const Problem clean = problem(random, {4, 3, 2, 5}, {9, 4});
  const SlotOp op = clean.op();
  for (const float bad : {nan, inf}) {
    Problem p = clean;
    p.xbc[2 * p.z.row() + 1 * 3 + 2] = bad;        // row 2, head 1, element 2
    p.dt[5 * 4 + 3] = nan;                         // row 5, head 3
    p.xbc[7 * p.z.row() + p.z.inner() + 0] = bad;  // row 7, B of group 0: heads 0 and 1
    const SlotOp spoilt = p.op();
    on_every_device([&](Device d) {
      const std::vector<float> good = whole(d, op).out, y = whole(d, spoilt).out;
      for (std::size_t i = 0; i < y.size(); ++i) {
        const std::size_t t = i / 12, h = i % 12 / 3, e = i % 3;
        const bool hit = t < 9 && ((h == 1 && e == 2 && t >= 2) || (h == 3 && t >= 5) || (h < 2 && t >= 7));
        if (hit) EXPECT_FALSE(std::isfinite(y[i])) << "row " << t << " head " << h << " element " << e;
        else EXPECT_EQ(y[i], good[i]) << "row " << t << " head " << h << " element " << e;
      }
      return good;
    });
  }
}

TEST(Ssd, WithoutAStateIsItsDirectPath) {
  Random random;
  expect_formula(random, problem(random, {3, 4, 1, 0}, {5, 2}));
}

TEST(Ssd, LeavesTheStateItReads) {
  Random random;
  const Problem p = problem(random, {4, 6, 2, 19}, {11});
  const SlotOp op = p.op();
  on_every_device([&](Device d) {
    expect_state_is_shared(d, op);
    return std::vector<float>();
  });
}

TEST(Ssd, FailsWhereRowsOrSlotsAreNotThere) {
  Random random;
  const Problem p = problem(random, {2, 3, 1, 4}, {6});
  Device d = any_device();
  expect_bad_slots_fail(d, p.op());
  const Buffer out = put(d, {6, 6}, std::vector<float>(36)), none = p.op().states(d, 0);
  const std::string said = failure(d, [&](CommandEncoder& e) {
    return p.op().record(e, d, {0, 1, 2, 3, 4, 5}, none, out, batch_of(d, {{0, 6, -1, 0}}));
  });
  EXPECT_NE(said.find("written to slot 0"), std::string::npos) << said;
}

TEST(Ssd, RefusesWrongArguments) {
  Device d = any_device(), elsewhere = any_device();
  const auto floats = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  // T 2, H 4, P 3, G 2, N 5
  const Buffer xbc = floats({2, 32}), dt = floats({2, 4}), v = floats({4}), state = floats({2, 4, 3, 5}),
               out = floats({2, 12});
  const SlotBatch batch = batch_of(d, {{0, 2, -1, 0}});
  struct Arguments {
    Buffer xbc, dt, a, d, dt_bias, state, out;
    std::size_t groups = 2;
  };
  const Arguments good = {xbc, dt, v, v, v, state, out};
  const auto refused = [&](const std::function<void(Arguments&)>& spoil,
                           std::initializer_list<std::string_view> parts) {
    Arguments a = good;
    spoil(a);
    expect_refused(
        [&](CommandEncoder& e) {
          return ssd(e, a.xbc, a.dt, a.a, a.d, a.dt_bias, a.state, a.out, batch, {.groups = a.groups});
        },
        d, parts);
  };
  refused([](auto& a) { a.xbc = {}; }, {"ssd: xbc: expected f32, got a null buffer"});
  refused([](auto& a) { a.dt = {}; }, {"ssd: dt: expected f32, got a null buffer"});
  refused([](auto& a) { a.a = {}; }, {"ssd: a: expected f32, got a null buffer"});
  refused([](auto& a) { a.d = {}; }, {"ssd: d: expected f32, got a null buffer"});
  refused([](auto& a) { a.dt_bias = {}; }, {"ssd: dt_bias: expected f32, got a null buffer"});
  refused([](auto& a) { a.state = {}; }, {"ssd: state: expected f32, got a null buffer"});
  refused([](auto& a) { a.out = {}; }, {"ssd: out: expected f32, got a null buffer"});
  refused([&](auto& a) { a.xbc = floats({2, 31}); }, {"xbc: expected [2, 32], got [2, 31]"});
  refused([](auto& a) { a.groups = 1; }, {"xbc: expected [2, 22], got [2, 32]"});
  refused([](auto& a) { a.groups = 3; }, {"state: expected heads that divide into 3 groups, got [2, 4, 3, 5]"});
  refused([](auto& a) { a.groups = 0; }, {"state: expected heads that divide into 0 groups"});
  refused([&](auto& a) { a.dt = floats({8}); }, {"dt: expected 2 axes, got [8]"});
  refused([&](auto& a) { a.dt = floats({2, 3}); }, {"dt: expected [2, 4], got [2, 3]"});
  refused([&](auto& a) { a.d = floats({3}); }, {"ssd: d: expected [4], got [3]"});
  refused([&](auto& a) { a.dt_bias = put(d, {4}, std::vector<bf16>(4)); }, {"dt_bias: expected f32, got bf16 [4]"});
  refused([&](auto& a) { a.state = floats({4, 3, 5}); }, {"state: expected 4 axes, got [4, 3, 5]"});
  refused([&](auto& a) { a.out = floats({2, 11}); }, {"out: expected [2, 12], got [2, 11]"});
  refused([&](auto& a) { a.out = must(xbc.view(0, DType::f32, {2, 12})); }, {"out: expected memory apart from xbc"});
  refused(
      [&](auto& a) {
        a.out = must(state.view(0, DType::f32, {2, 12}));
      },
      {"out: expected memory apart from state"});
  refused([&](auto& a) { a.d = must(state.view(16, DType::f32, {4})); }, {"state: expected memory apart from d"});
  refused([&](auto& a) { a.dt = put(elsewhere, {2, 4}, std::vector<float>(8)); }, {"ssd", "memory of another device"});
  expect_batch_checked(d, "ssd", [&](CommandEncoder& e, const SlotBatch& b) {
    return ssd(e, xbc, dt, v, v, v, state, out, b, {.groups = 2});
  });
}

}  // namespace
}  // namespace halyard::ops

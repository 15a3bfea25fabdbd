#include "halyard/ops/rope/rope.h"

#include <array>

#include "halyard/ops/op_test.h"
#include "halyard/ops/rope/reference.h"

namespace halyard::ops {
namespace {

using namespace testing;
using Kind = RopeScaling::Kind;

// The functions of transformers 5.23's modeling_rope_utils.py run in f64: elements 0, 1, n/4, n/2, 3n/4, n-1 of the n
// frequencies, their sum weighted by 1 … n, and the attention factor.
struct Golden {
  const char* name;
  std::size_t n_rot;
  double theta;
  RopeScaling scaling;
  double some[6], weighted_sum, attention_factor;
};
const Golden kGoldens[] = {
    {"linear",
     64,
     1e4,
     {.kind = Kind::linear, .factor = 4},
     {0.25, 0.18747355233311397, 0.025000000000000001, 0.0025000000000000001, 0.00025000000000000001,
      3.3338035804083099e-05},
     3.9930185380897347,
     1},
    {"llama3",
     64,
     5e5,
     {.kind = Kind::llama3,
      .factor = 32,
      .low_freq_factor = 1,
      .high_freq_factor = 4,
      .original_max_position_embeddings = 8192},
     {1, 0.66360123769608848, 0.037606030930863933, 0.00042955679655936815, 1.6619674677953091e-06,
      9.4183067254349113e-08},
     8.7537695459016671,
     1},
    {"yarn",
     128,
     1e6,
     {.kind = Kind::yarn, .factor = 4, .original_max_position_embeddings = 32768},
     {1, 0.80584218776148187, 0.031622776601683791, 0.00060294117647058821, 7.9056941504209488e-06,
      3.1023444018792988e-07},
     26.316317862588882,
     1.138629436111989},
    {"yarn with mscale",
     64,
     1e4,
     {.kind = Kind::yarn, .factor = 40, .original_max_position_embeddings = 4096, .mscale = 0.707, .mscale_all_dim = 1},
     {1, 0.74989420933245587, 0.10000000000000001, 0.0054999999999999997, 2.5000000000000001e-05,
      3.3338035804083101e-06},
     15.113349075850683,
     0.9210423553163399},
    {"yarn, not truncated",
     64,
     1.5e5,
     {.kind = Kind::yarn, .factor = 32, .original_max_position_embeddings = 4096, .truncate = false},
     {1, 0.68904430588816334, 0.050813274815461475, 0.00045648391922324086, 4.0999784818029795e-06,
      3.0235114281192144e-07},
     9.8386458653002844,
     1.3465735902799727},
    {"yarn with attention factor",
     32,
     1e4,
     {.kind = Kind::yarn, .factor = 8, .original_max_position_embeddings = 2048, .attention_factor = 1.25},
     {1, 0.56234132519034907, 0.10000000000000001, 0.0050000000000000001, 0.000125, 2.2228492625486534e-05},
     4.9158496184700322,
     1.25},
};

TEST(RopeFrequencies, AreThoseOfTransformers) {
  for (const Golden& g : kGoldens) {
    SCOPED_TRACE(g.name);
    const RopeFrequencies f = rope_frequencies(g.n_rot, g.theta, g.scaling);
    const std::size_t n = g.n_rot / 2, at[] = {0, 1, n / 4, n / 2, n - n / 4, n - 1};
    ASSERT_EQ(f.inv_freq.size(), n);
    for (int i = 0; i < 6; ++i) EXPECT_NEAR(f.inv_freq[at[i]] / g.some[i], 1, 1e-13) << "element " << at[i];
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(i + 1) * f.inv_freq[i];
    EXPECT_NEAR(sum / g.weighted_sum, 1, 1e-13);
    EXPECT_NEAR(f.attention_factor, g.attention_factor, 1e-14);
  }
}

TEST(RopeFrequencies, ArePowersOfThetaUnscaled) {
  const RopeFrequencies f = rope_frequencies(8, 10000, {});
  const double expected[] = {1, 0.1, 0.01, 0.001};
  ASSERT_EQ(f.inv_freq.size(), 4);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(f.inv_freq[i] / expected[i], 1, 1e-15);
  EXPECT_EQ(f.attention_factor, 1);
}

TEST(RopeAngles, AreRightFarOut) {
  const std::vector<std::int32_t> positions = {0, 1, 2, 511, 1000, 4095, 65537, 99999, 100000, 1048576, 2147483647};
  const std::vector<double> inv_freq = rope_frequencies(62, 10000, {}).inv_freq;
  on_every_device([&](Device d) {
    const std::size_t t = positions.size(), n = inv_freq.size();
    const Buffer out = put(d, {t, n, 2}, std::vector<float>(t * n * 2));
    run(d,
        [&](CommandEncoder& e) { return rope_angles(e, put(d, {t}, positions), put(d, {n}, inv_freq), out, 1.25F); });
    const std::vector<float> got = get<float>(out);
    for (std::size_t i = 0; i < t; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        const long double angle = static_cast<long double>(positions[i]) * inv_freq[j];
        const double tolerance = 1e-7 + 3e-16 * static_cast<double>(angle);  // the product is rounded to f64
        EXPECT_NEAR(got[(i * n + j) * 2], static_cast<double>(1.25L * cosl(angle)), tolerance);
        EXPECT_NEAR(got[(i * n + j) * 2 + 1], static_cast<double>(1.25L * sinl(angle)), tolerance);
      }
    return got;
  });
}

TEST(Rope, TurnsPairsAndCopiesTheRest) {
  Random random;
  for (const RopeLayout layout : {RopeLayout::half_split, RopeLayout::interleaved})
    for (const std::array<std::size_t, 2> sizes : std::vector<std::array<std::size_t, 2>>{
             {64, 32}, {80, 16}, {12, 6}, {7, 3}, {96, 48}, {128, 37}, {5, 0}, {256, 128}, {2, 1}}) {
      const std::size_t head_dim = sizes[0], pairs = sizes[1];
      const std::size_t t = 1 + random.below(9), heads = 1 + random.below(7);
      SCOPED_TRACE(
          fmt::format("[{}, {}, {}], {} pairs, layout {}", t, heads, head_dim, pairs, static_cast<int>(layout)));
      const std::vector<float> x = random.normal(t * heads * head_dim), angles = random.normal(t * pairs * 2);
      std::vector<double> expected(x.size());
      for (std::size_t r = 0; r < t * heads; ++r)
        reference::rope(&x[r * head_dim], angles.data() + r / heads * pairs * 2, &expected[r * head_dim], head_dim,
                        pairs, layout);
      on_every_device([&](Device d) {
        const Buffer in = put(d, {t, heads, head_dim}, x), out = put(d, {t, heads, head_dim}, x);
        const Buffer a = put(d, {t, pairs, 2}, angles);
        run(d, [&](CommandEncoder& e) { return rope(e, in, a, out, layout); });
        expect_near(get<float>(out), expected, 0, 3e-6);
        run(d, [&](CommandEncoder& e) { return rope(e, in, a, in, layout); });
        EXPECT_EQ(get<float>(in), get<float>(out)) << "in place";
        return get<float>(out);
      });
    }
}

TEST(Rope, RefusesWrongArguments) {
  Device d = any_device();
  const auto f32 = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const Buffer x = f32({2, 1, 4}), angles = f32({2, 2, 2}), positions = put(d, {2}, std::vector<std::int32_t>(2));
  const Buffer freq = put(d, {2}, std::vector<double>(2));
  const auto layout = RopeLayout::half_split;
  expect_refused(
      [&](auto& e) {
        return rope(e, f32({2, 4}), angles, x, layout);
      },
      d, {"rope", "x", "3 axes", "[2, 4]"});
  expect_refused(
      [&](auto& e) {
        return rope(e, x, f32({3, 2, 2}), x, layout);
      },
      d, {"rope", "cos_sin", "expected [2, 2, 2]", "got [3, 2, 2]"});
  expect_refused(
      [&](auto& e) {
        return rope(e, x, f32({2, 3, 2}), x, layout);
      },
      d, {"rope", "cos_sin", "at most 2", "got 3"});
  expect_refused([&](auto& e) { return rope(e, x, angles, f32({2, 2, 2}), layout); }, d, {"rope", "out", "[2, 1, 4]"});
  expect_refused([&](auto& e) { return rope(e, x, Buffer(), x, layout); }, d, {"rope", "cos_sin", "null"});
  expect_refused([&](auto& e) { return rope_angles(e, freq, freq, angles, 1); }, d,
                 {"rope_angles", "positions", "expected i32", "got f64 [2]"});
  expect_refused([&](auto& e) { return rope_angles(e, positions, positions, angles, 1); }, d,
                 {"rope_angles", "inv_freq", "expected f64", "got i32 [2]"});
  expect_refused(
      [&](auto& e) {
        return rope_angles(e, positions, freq, f32({2, 3, 2}), 1);
      },
      d, {"rope_angles", "cos_sin", "expected [2, 2, 2]", "got [2, 3, 2]"});
}

}  // namespace
}  // namespace halyard::ops

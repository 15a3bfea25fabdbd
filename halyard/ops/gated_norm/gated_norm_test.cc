#include "halyard/ops/gated_norm/gated_norm.h"

#include <limits>

#include "halyard/ops/gated_norm/reference.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

struct Problem {
  std::size_t rows, groups, width;  // of a group
  std::vector<float> x, gate, weight;
};
Problem problem(Random& random, std::size_t rows, std::size_t groups, std::size_t width) {
  const std::size_t n = groups * width;
  return {rows, groups, width, random.normal(rows * n, 3), random.normal(rows * n, 3), random.normal(n)};
}

void expect_formula(const Problem& p, float eps) {
  SCOPED_TRACE(fmt::format("{} × {} × {}", p.rows, p.groups, p.width));
  const std::size_t n = p.groups * p.width;
  std::vector<double> expected(p.x.size());
  for (std::size_t g = 0; g < p.rows * p.groups; ++g)
    reference::gated_norm(&p.x[g * p.width], &p.gate[g * p.width], &p.weight[g % p.groups * p.width],
                          &expected[g * p.width], p.width, eps);
  on_every_device([&](Device d) {
    const Shape shape = {p.rows, n};
    const Buffer x = put(d, shape, p.x), gate = put(d, shape, p.gate), w = put(d, {n}, p.weight),
                 out = put(d, shape, p.x);
    run(d, [&](CommandEncoder& e) { return gated_norm(e, x, gate, w, out, eps, p.groups); });
    // what is left of silu below f32's normal numbers may become 0, before it is divided by sqrt(eps) or more
    expect_near(get<float>(out), expected, [&](std::size_t i) {
      return 1.5e-6 * std::abs(expected[i]) + 3e-37 * (1 + std::abs(p.x[i] * p.weight[i % n])) / std::sqrt(eps);
    });
    run(d, [&](CommandEncoder& e) { return gated_norm(e, x, gate, w, x, eps, p.groups); });
    expect_same(get<float>(x), get<float>(out), "in place of x");
    run(d, [&](CommandEncoder& e) { return gated_norm(e, put(d, shape, p.x), gate, w, gate, eps, p.groups); });
    expect_same(get<float>(gate), get<float>(out), "in place of the gate");
    return get<float>(out);
  });
}

TEST(GatedNorm, IsWithinAFewUlpOfTheFormula) {
  Random random;
  for (const std::size_t width : {1UL, 3UL, 48UL, 129UL, 1023UL, 5000UL}) {
    Problem p = problem(random, 1 + random.below(20), 1 + random.below(4), width);
    for (std::size_t i = 0; i < width; ++i) p.x[i] = 0;  // a group of zeros
    expect_formula(p, 1e-5F);
  }
  expect_formula(problem(random, 1, 1, 1), 1e-5F);
}

TEST(GatedNorm, TakesExtremeValuesAsTheFormulaDoes) {
  Random random;
  const float xs[] = {0.0F, -0.0F, 1e15F, -1e15F, 1e-45F, 1e-30F},
              gates[] = {0.0F, -0.0F, 1e3F, -1e3F, 1e-45F, -80, 80, -104};
  Problem p = problem(random, 12, 3, 37);
  for (std::size_t i = 0; i < p.x.size(); i += 1 + random.below(9)) p.x[i] = xs[random.below(std::size(xs))];
  for (std::size_t i = 0; i < p.x.size(); i += 1 + random.below(9)) p.gate[i] = gates[random.below(std::size(gates))];
  expect_formula(p, 1e-5F);
  p = problem(random, 4, 2, 21);  // what is no number stays in its group
  p.x[5] = inf, p.x[2 * 21 + 3] = nan, p.gate[4 * 21 + 7] = inf, p.gate[6 * 21 + 1] = -inf, p.x[7 * 21] = -inf;
  expect_formula(p, 1e-5F);
}

TEST(GatedNorm, RefusesWrongArguments) {
  Device d = any_device(), other = any_device();
  const auto floats = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const Buffer x = floats({2, 6}), w = floats({6}), wide = floats({20});
  const Buffer low = must(wide.view(0, DType::f32, {2, 6})), high = must(wide.view(8, DType::f32, {2, 6}));
  const auto refused = [&](const Buffer& a, const Buffer& gate, const Buffer& weight, const Buffer& out,
                           std::size_t groups, std::initializer_list<std::string_view> parts) {
    expect_refused([&](CommandEncoder& e) { return gated_norm(e, a, gate, weight, out, 1e-5F, groups); }, d, parts);
  };
  refused(Buffer(), x, w, x, 1, {"gated_norm: x: expected f32, got a null buffer"});
  refused(x, Buffer(), w, x, 1, {"gated_norm: gate: expected f32, got a null buffer"});
  refused(x, x, Buffer(), x, 1, {"gated_norm: weight: expected f32, got a null buffer"});
  refused(x, x, w, Buffer(), 1, {"gated_norm: out: expected f32, got a null buffer"});
  refused(floats({12}), x, w, x, 1, {"x: expected 2 axes, got [12]"});
  refused(x, floats({3, 4}), w, x, 1, {"gate: expected [2, 6], got [3, 4]"});
  refused(x, x, floats({2, 3}), x, 2, {"weight: expected [6], got [2, 3]"});
  refused(x, x, put(d, {6}, std::vector<f16>(6)), x, 2, {"weight: expected f32, got f16 [6]"});
  refused(x, x, w, floats({2, 5}), 1, {"out: expected [2, 6], got [2, 5]"});
  refused(x, x, w, x, 4, {"x: expected rows that divide into 4 groups, got [2, 6]"});
  refused(x, x, w, x, 0, {"x: expected rows that divide into 0 groups"});
  refused(low, x, w, high, 1, {"out: expected the window of x", "8 bytes"});
  refused(x, low, w, high, 1, {"out: expected the window of gate", "8 bytes"});
  refused(x, x, must(x.view(0, DType::f32, {6})), x, 1, {"out: expected memory apart from weight"});
  refused(x, put(other, {2, 6}, std::vector<float>(12)), w, x, 1, {"gated_norm", "memory of another device"});
  run(d, [&](CommandEncoder& e) { return gated_norm(e, floats({0, 6}), floats({0, 6}), w, floats({0, 6}), 1e-5F, 2); });
}

}  // namespace
}  // namespace halyard::ops

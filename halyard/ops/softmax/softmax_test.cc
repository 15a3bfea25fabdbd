#include "halyard/ops/softmax/softmax.h"

#include <limits>

#include "halyard/ops/op_test.h"
#include "halyard/ops/softmax/reference.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity();

TEST(Softmax, IsWithinAFewUlpOfTheFormula) {
  Random random;
  for (const std::size_t width : {1UL, 5UL, 64UL, 1000UL, 4099UL, 50257UL}) {
    const std::size_t rows = width > 5000 ? 2 : 1 + random.below(40);
    SCOPED_TRACE(fmt::format("{} × {}", rows, width));
    std::vector<float> x = random.normal(rows * width, 10);
    for (std::size_t i = 1; i < x.size(); i += 2 + random.below(30))
      if (i % width != 0) x[i] = -inf;
    if (width > 1) x[x.size() - 1] = 3e38F;
    std::vector<double> expected(x.size());
    for (std::size_t r = 0; r < rows; ++r) reference::softmax(&x[r * width], &expected[r * width], width);
    on_every_device([&](Device d) {
      const Buffer in = put(d, {rows, width}, x), out = put(d, {rows, width}, x);
      run(d, [&](CommandEncoder& e) { return softmax(e, in, out); });
      // rounding x - max costs e^x a relative error of half an ulp of the difference
      expect_near(get<float>(out), expected, [&](std::size_t i) {
        return expected[i] * (6e-7 - 1.2e-7 * std::log(std::max(expected[i], 1e-38))) + 1e-38;
      });
      run(d, [&](CommandEncoder& e) { return softmax(e, in, in); });
      EXPECT_EQ(get<float>(in), get<float>(out)) << "in place";
      return get<float>(out);
    });
  }
}

TEST(Softmax, OfNothingButMinusInfinityIsNaN) {
  on_every_device([&](Device d) {
    const Buffer x = put(d, {2, 3}, std::vector<float>{-inf, -inf, -inf, 1, 1, -inf});
    run(d, [&](CommandEncoder& e) { return softmax(e, x, x); });
    const std::vector<float> y = get<float>(x);
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[2]));
    EXPECT_EQ(y[3], 0.5F);
    EXPECT_EQ(y[5], 0.0F);
    return std::vector<float>(y.begin() + 3, y.end());
  });
}

TEST(Softmax, RefusesWrongArguments) {
  Device d = any_device();
  const Buffer x = put(d, {2, 4}, std::vector<float>(8)), y = put(d, {4, 2}, std::vector<float>(8));
  const Buffer h = put(d, {2, 4}, std::vector<f16>(8)), scalar = put(d, {}, std::vector<float>(1));
  expect_refused([&](auto& e) { return softmax(e, h, x); }, d, {"softmax", "x", "expected f32", "got f16 [2, 4]"});
  expect_refused([&](auto& e) { return softmax(e, x, y); }, d, {"softmax", "out", "expected [2, 4]", "got [4, 2]"});
  expect_refused([&](auto& e) { return softmax(e, scalar, scalar); }, d, {"softmax", "x", "at least one axis"});
  expect_refused([&](auto& e) { return softmax(e, Buffer(), x); }, d, {"softmax", "x", "null"});
}

}  // namespace
}  // namespace halyard::ops

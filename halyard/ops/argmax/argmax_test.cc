#include "halyard/ops/argmax/argmax.h"

#include <limits>

#include "halyard/ops/argmax/reference.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

// The op's answer for x [rows, width], the same on every device.
std::vector<std::int32_t> answer(const std::vector<float>& x, std::size_t width) {
  std::vector<std::int32_t> result;
  const std::size_t rows = x.size() / width;
  on_every_device([&](Device d) {
    const Buffer in = put(d, {rows, width}, x), out = put(d, {rows}, std::vector<std::int32_t>(rows));
    run(d, [&](CommandEncoder& e) { return argmax(e, in, out); });
    const auto got = get<std::int32_t>(out);
    if (result.empty()) result = got;
    EXPECT_EQ(got, result);
    return std::vector<float>(got.begin(), got.end());
  });
  return result;
}

TEST(Argmax, FindsTheFirstGreatest) {
  Random random;
  for (const std::size_t width : {1UL, 2UL, 17UL, 64UL, 100UL, 3001UL}) {
    const std::size_t rows = 1 + random.below(60);
    SCOPED_TRACE(fmt::format("{} × {}", rows, width));
    std::vector<float> x(rows * width);
    const float few[] = {-inf, -3, -0.0F, 0.0F, 1, 2, 3, 1e-40F, -1e-40F};
    for (float& v : x) v = few[random.below(std::size(few))];  // many ties
    for (std::size_t i = 0; i < width; ++i) x[i] = -inf;
    if (rows > 4) x[4 * width + random.below(width)] = inf;
    if (rows > 5) x[5 * width + random.below(width)] = nan;
    if (rows > 6) x[6 * width + random.below(width)] = -nan, x[6 * width + random.below(width)] = inf;
    const auto got = answer(x, width);
    for (std::size_t r = 0; r < rows; ++r) EXPECT_EQ(got[r], reference::argmax(&x[r * width], width)) << "row " << r;
  }
}

TEST(Argmax, NaNIsGreatest) { EXPECT_EQ(answer({1, inf, nan, inf, nan}, 5)[0], 2); }
TEST(Argmax, ZerosAreEqual) { EXPECT_EQ(answer({-1, -0.0F, 0.0F}, 3)[0], 1); }

TEST(Argmax, RefusesWrongArguments) {
  Device d = any_device();
  const Buffer x = put(d, {2, 4}, std::vector<float>(8)), out = put(d, {2}, std::vector<std::int32_t>(2));
  const Buffer four = put(d, {4}, std::vector<std::int32_t>(4)), u = put(d, {2}, std::vector<std::uint32_t>(2));
  const Buffer scalar = put(d, {}, std::vector<float>(1));
  expect_refused([&](auto& e) { return argmax(e, x, four); }, d, {"argmax", "out", "expected [2]", "got [4]"});
  expect_refused([&](auto& e) { return argmax(e, x, u); }, d, {"argmax", "out", "expected i32", "got u32 [2]"});
  expect_refused([&](auto& e) { return argmax(e, out, out); }, d, {"argmax", "x", "expected f32"});
  expect_refused([&](auto& e) { return argmax(e, scalar, out); }, d, {"argmax", "x", "at least one axis"});
  expect_refused([&](auto& e) { return argmax(e, x, Buffer()); }, d, {"argmax", "out", "null"});
  expect_refused([&](auto& e) { return argmax(e, x, must(x.view(0, DType::i32, {2}))); }, d,
                 {"argmax", "out", "apart from x"});
}

}  // namespace
}  // namespace halyard::ops

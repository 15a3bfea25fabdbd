#include "halyard/ops/elementwise/elementwise.h"

#include <limits>

#include "halyard/ops/elementwise/reference.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
const std::vector<float> kExtremes = {0.0F,  -0.0F,  inf,   -inf,   nan,     3.4e38F, -3.4e38F, 1e-45F, -1e-45F, 1e-38F,
                                      87.9F, -87.9F, 88.8F, -88.8F, 104.0F,  -104.0F, 15.0F,    -15.0F, 13.0F,   -13.0F,
                                      20.0F, -20.0F, 1e10F, -1e10F, -1e-10F, 0.5F,    -0.5F,    5.5F,   -5.5F,   1.0F};

// Random values with the extremes among them.
std::vector<float> values(Random& random, std::size_t n) {
  std::vector<float> v = random.normal(n, 3);
  for (std::size_t i = 0; i < n; i += 1 + random.below(40)) v[i] = kExtremes[random.below(kExtremes.size())];
  return v;
}

using Record = std::function<Result<void>(CommandEncoder&, const Buffer& a, const Buffer& b, const Buffer& out)>;
using Check =
    std::function<void(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& out)>;

void test_binary(const Record& record, const Check& check) {
  Random random;
  for (const std::size_t n : {std::size_t{1}, 3 + random.below(60), 2048UL, 2049 + random.below(9000)}) {
    SCOPED_TRACE(n);
    const std::vector<float> a = values(random, n), b = values(random, n);
    on_every_device([&](Device d) {
      const Buffer x = put(d, {n}, a), y = put(d, {n}, b), out = put(d, {n}, std::vector<float>(n));
      run(d, [&](CommandEncoder& e) { return record(e, x, y, out); });
      check(a, b, get<float>(out));
      run(d, [&](CommandEncoder& e) { return record(e, x, y, x); });
      EXPECT_EQ(std::memcmp(get<float>(x).data(), get<float>(out).data(), n * 4), 0) << "in place of the first input";
      run(d, [&](CommandEncoder& e) { return record(e, put(d, {n}, a), y, y); });
      EXPECT_EQ(std::memcmp(get<float>(y).data(), get<float>(out).data(), n * 4), 0) << "in place of the second input";
      return get<float>(out);
    });
  }
}

TEST(Elementwise, AddsExactly) {
  test_binary(add, [](auto& a, auto& b, auto& out) {
    std::vector<double> expected;
    for (std::size_t i = 0; i < a.size(); ++i) expected.push_back(a[i] + b[i]);
    expect_near(out, expected, 0, 0);
  });
}

TEST(Elementwise, MultipliesExactly) {
  test_binary(mul, [](auto& a, auto& b, auto& out) {
    std::vector<double> expected;
    for (std::size_t i = 0; i < a.size(); ++i) expected.push_back(a[i] * b[i]);
    expect_near(out, expected, 0, 0);
  });
}

TEST(Elementwise, SiluMulIsWithinFourUlp) {
  test_binary(silu_mul, [](auto& gate, auto& up, auto& out) {
    std::vector<double> expected;
    // What is left of silu below f32's normal numbers may become 0, and with an infinite factor NaN: e^88.8 is infinite.
    for (std::size_t i = 0; i < gate.size(); ++i) {
      const double s = reference::silu(gate[i]);
      const bool vanishes = s != 0 && std::abs(s) < 3e-37 && std::isinf(up[i]);
      expected.push_back(vanishes ? static_cast<double>(out[i]) : s * up[i]);
    }
    expect_near(out, expected,
                [&](std::size_t i) { return 4.8e-7 * std::abs(expected[i]) + 3e-37 * (1 + std::abs(up[i])); });
  });
}

void test_gelu(Gelu form, double (*exact)(double), double (*tolerance)(double)) {
  Random random;
  std::vector<float> x = values(random, 5003);
  for (std::size_t i = 0; i < 2000; ++i) x[i] = -16 + 0.016F * static_cast<float>(i);
  std::vector<double> expected;
  for (const float v : x) expected.push_back(exact(v));
  on_every_device([&](Device d) {
    const Buffer in = put(d, {1, x.size()}, x), out = put(d, {1, x.size()}, x);
    run(d, [&](CommandEncoder& e) { return gelu(e, in, out, form); });
    expect_near(get<float>(out), expected,
                [&](std::size_t i) { return tolerance(x[i]) * std::abs(expected[i]) + 1e-37; });
    run(d, [&](CommandEncoder& e) { return gelu(e, in, in, form); });
    EXPECT_EQ(std::memcmp(get<float>(in).data(), get<float>(out).data(), x.size() * 4), 0) << "in place";
    return get<float>(out);
  });
}
TEST(Elementwise, GeluIsWithinEightUlp) {
  test_gelu(Gelu::exact, reference::gelu_exact, [](double) { return 9.6e-7; });
}
TEST(Elementwise, GeluTanhFollowsItsFormula) {
  // e^(-2u) is as far off, relatively, as 2u is absolutely
  test_gelu(Gelu::tanh, reference::gelu_tanh,
            [](double x) { return 5e-7 + 2e-7 * std::abs(1.6 * (x + 0.0447 * x * x * x)); });
}

TEST(Elementwise, RefusesWrongArguments) {
  Device d = any_device();
  const Buffer f = put(d, {2, 3}, std::vector<float>(6)), g = put(d, {3, 2}, std::vector<float>(6));
  const Buffer i = put(d, {2, 3}, std::vector<std::int32_t>(6));
  const Buffer wide = put(d, {8}, std::vector<float>(8));
  const Buffer low = must(wide.view(0, DType::f32, {4})), high = must(wide.view(8, DType::f32, {4}));
  expect_refused([&](auto& e) { return add(e, f, i, f); }, d, {"add", "b", "expected f32", "got i32 [2, 3]"});
  expect_refused([&](auto& e) { return mul(e, f, f, g); }, d, {"mul", "out", "expected [2, 3]", "got [3, 2]"});
  expect_refused([&](auto& e) { return silu_mul(e, Buffer(), f, f); }, d, {"silu_mul", "gate", "a null buffer"});
  expect_refused([&](auto& e) { return gelu(e, f, Buffer(), Gelu::exact); }, d, {"gelu", "out", "a null buffer"});
  expect_refused([&](auto& e) { return gelu(e, low, high, Gelu::tanh); }, d, {"gelu", "out", "window of x", "8 bytes"});
}

}  // namespace
}  // namespace halyard::ops

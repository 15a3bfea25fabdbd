#include "halyard/ops/scale/scale.h"

#include <limits>

#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

TEST(Scale, MultipliesExactly) {
  Random random;
  const float extremes[] = {0.0F, -0.0F, inf, -inf, nan, 3.4e38F, -3.4e38F, 1e-45F, -1e-45F, 1e-38F};
  for (const std::size_t n : {std::size_t{1}, 3 + random.below(60), 2048UL, 2049 + random.below(9000)})
    for (const float factor : {55.25F, -0.5F, 0.0F, 1e30F, 1e-45F, inf, nan}) {
      SCOPED_TRACE(fmt::format("{} by {}", n, factor));
      std::vector<float> x = random.normal(n, 3);
      for (std::size_t i = 0; i < n; i += 1 + random.below(40)) x[i] = extremes[random.below(std::size(extremes))];
      std::vector<double> expected;
      for (const float v : x) expected.push_back(v * factor);  // rounded as f32
      on_every_device([&](Device d) {
        const Buffer in = put(d, {1, n}, x), out = put(d, {1, n}, std::vector<float>(n));
        run(d, [&](CommandEncoder& e) { return scale(e, in, factor, out); });
        expect_near(get<float>(out), expected, 0, 0);
        run(d, [&](CommandEncoder& e) { return scale(e, in, factor, in); });
        expect_same(get<float>(in), get<float>(out), "in place");
        return get<float>(out);
      });
    }
}

TEST(Scale, RefusesWrongArguments) {
  Device d = any_device(), other = any_device();
  const auto floats = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const Buffer x = floats({2, 3}), wide = floats({8});
  const Buffer low = must(wide.view(0, DType::f32, {4})), high = must(wide.view(4, DType::f32, {4}));
  const auto refused = [&](const Buffer& in, const Buffer& out, std::initializer_list<std::string_view> parts) {
    expect_refused([&](CommandEncoder& e) { return scale(e, in, 2, out); }, d, parts);
  };
  refused(Buffer(), x, {"scale: x: expected f32, got a null buffer"});
  refused(x, Buffer(), {"scale: out: expected f32, got a null buffer"});
  refused(put(d, {2, 3}, std::vector<bf16>(6)), x, {"scale: x: expected f32, got bf16 [2, 3]"});
  refused(x, floats({3, 2}), {"scale: out: expected [2, 3], got [3, 2]"});
  refused(low, high, {"scale: out: expected the window of x", "4 bytes"});
  refused(x, put(other, {2, 3}, std::vector<float>(6)), {"scale", "memory of another device"});
  run(d, [&](CommandEncoder& e) { return scale(e, floats({0}), 2, floats({0})); });
}

}  // namespace
}  // namespace halyard::ops

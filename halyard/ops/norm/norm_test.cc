#include "halyard/ops/norm/norm.h"

#include "halyard/base/float16.h"
#include "halyard/ops/norm/reference.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

struct Parameter {
  std::vector<double> values;  ///< as stored
  std::function<Buffer(Device)> buffer;
};
Parameter parameter(Random& random, std::size_t n, DType dtype) {
  Parameter p;
  std::vector<f16> h(n);
  std::vector<bf16> b(n);
  const std::vector<float> f = random.normal(n);
  for (std::size_t i = 0; i < n; ++i) {
    h[i] = to_f16(f[i]);
    b[i] = to_bf16(f[i]);
    p.values.push_back(dtype == DType::f32 ? f[i] : dtype == DType::f16 ? to_float(h[i]) : to_float(b[i]));
  }
  p.buffer = [=](Device d) {
    return dtype == DType::f32 ? put(d, {n}, f) : dtype == DType::f16 ? put(d, {n}, h) : put(d, {n}, b);
  };
  return p;
}

constexpr DType kTypes[] = {DType::f32, DType::f16, DType::bf16};
// widths around vectors, blocks of 1024, and one that makes several rows an item
const std::size_t kWidths[] = {1, 7, 64, 768, 1023, 2051, 5000};

TEST(RmsNorm, IsWithinAFewUlpOfTheFormula) {
  Random random;
  for (const std::size_t width : kWidths) {
    const std::size_t rows = 1 + random.below(70);
    const DType dtype = kTypes[random.below(3)];
    SCOPED_TRACE(fmt::format("{} × {}, weight {}", rows, width, to_string(dtype)));
    std::vector<float> x = random.normal(rows * width, 5);
    for (std::size_t i = 0; i < width; ++i) x[i] = 0;  // a row of zeros
    const Parameter weight = parameter(random, width, dtype);
    std::vector<double> expected(x.size());
    for (std::size_t r = 0; r < rows; ++r)
      reference::rms_norm(&x[r * width], weight.values.data(), &expected[r * width], width, 1e-6F);
    on_every_device([&](Device d) {
      const Buffer in = put(d, {1, rows, width}, x), out = put(d, {1, rows, width}, x), w = weight.buffer(d);
      run(d, [&](CommandEncoder& e) { return rms_norm(e, in, w, out, 1e-6F); });
      expect_near(get<float>(out), expected, 6e-7);
      run(d, [&](CommandEncoder& e) { return rms_norm(e, in, w, in, 1e-6F); });
      EXPECT_EQ(get<float>(in), get<float>(out)) << "in place";
      return get<float>(out);
    });
  }
}

TEST(LayerNorm, IsWithinAFewUlpOfTheFormula) {
  Random random;
  for (const std::size_t width : kWidths) {
    const std::size_t rows = 1 + random.below(70);
    const DType dtype = kTypes[random.below(3)];
    const bool with_bias = random.below(2) || width == 768;
    SCOPED_TRACE(fmt::format("{} × {}, {}, bias {}", rows, width, to_string(dtype), with_bias));
    std::vector<float> x = random.normal(rows * width, 5);
    for (float& v : x) v += 30;                        // a mean that cancels
    for (std::size_t i = 0; i < width; ++i) x[i] = 2;  // a constant row
    const Parameter weight = parameter(random, width, dtype), bias = parameter(random, width, kTypes[random.below(3)]);
    std::vector<double> expected(x.size());
    for (std::size_t r = 0; r < rows; ++r)
      reference::layer_norm(&x[r * width], weight.values.data(), with_bias ? bias.values.data() : nullptr,
                            &expected[r * width], width, 1e-5F);
    on_every_device([&](Device d) {
      const Buffer in = put(d, {rows, width}, x), out = put(d, {rows, width}, x);
      const Buffer w = weight.buffer(d), b = with_bias ? bias.buffer(d) : Buffer();
      run(d, [&](CommandEncoder& e) { return layer_norm(e, in, w, b, out, 1e-5F); });
      // the mean, about 30, is right to half an ulp; a row of one element divides that by sqrt(eps)
      const double deviation = width < 8 ? 3e-3 : 5;
      expect_near(get<float>(out), expected, [&](std::size_t i) {
        return 1e-6 * std::abs(expected[i]) + 4e-6 / deviation * std::abs(weight.values[i % width]) + 1e-6;
      });
      run(d, [&](CommandEncoder& e) { return layer_norm(e, in, w, b, in, 1e-5F); });
      EXPECT_EQ(get<float>(in), get<float>(out)) << "in place";
      return get<float>(out);
    });
  }
}

TEST(Norm, RefusesWrongArguments) {
  Device d = any_device();
  const Buffer x = put(d, {2, 4}, std::vector<float>(8)), w = put(d, {4}, std::vector<float>(4));
  const Buffer i = put(d, {4}, std::vector<std::int32_t>(4)), w3 = put(d, {3}, std::vector<float>(3));
  const Buffer scalar = put(d, {}, std::vector<float>(1));
  expect_refused([&](auto& e) { return rms_norm(e, x, w3, x, 1e-6F); }, d,
                 {"rms_norm", "weight", "expected [4]", "got [3]"});
  expect_refused([&](auto& e) { return rms_norm(e, x, i, x, 1e-6F); }, d,
                 {"rms_norm", "weight", "expected f32 or f16 or bf16", "got i32 [4]"});
  expect_refused([&](auto& e) { return rms_norm(e, scalar, w, x, 1e-6F); }, d, {"rms_norm", "x", "at least one axis"});
  expect_refused([&](auto& e) { return rms_norm(e, x, Buffer(), x, 1e-6F); }, d, {"rms_norm", "weight", "null"});
  expect_refused([&](auto& e) { return layer_norm(e, x, w, w3, x, 1e-6F); }, d,
                 {"layer_norm", "bias", "expected [4]", "got [3]"});
  expect_refused([&](auto& e) { return layer_norm(e, x, w, w, w, 1e-6F); }, d,
                 {"layer_norm", "out", "expected [2, 4]", "got [4]"});
  expect_refused([&](auto& e) { return layer_norm(e, w, w, Buffer(), w, 1e-6F); }, d,
                 {"layer_norm", "out", "apart from weight"});
}

}  // namespace
}  // namespace halyard::ops

#include "halyard/ops/copy/copy.h"

#include <bit>

#include "halyard/ops/copy/reference.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

// The same value: equal bits, or both NaN (whose payload may differ).
bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (a != a && b != b);
}

template <class From, class To> void test_conversion(const std::vector<From>& values) {
  on_every_device([&](Device d) {
    const std::size_t n = values.size();
    const Buffer src = put(d, {n}, values), dst = put(d, {1, n}, std::vector<To>(n));
    run(d, [&](CommandEncoder& e) { return copy(e, src, dst); });
    std::vector<float> got;
    for (const To x : get<To>(dst)) got.push_back(reference::widen(x));
    for (std::size_t i = 0; i < n; ++i) {
      const float expected = reference::widen(reference::convert<To>(reference::widen(values[i])));
      EXPECT_TRUE(same(got[i], expected))
          << i << ": " << reference::widen(values[i]) << " became " << got[i] << ", expected " << expected;
      if (::testing::Test::HasFailure()) break;
    }
    return got;
  });
}

template <class T> std::vector<T> every_value() {
  std::vector<T> v(65536);
  for (std::size_t i = 0; i < v.size(); ++i) v[i].bits = static_cast<std::uint16_t>(i);
  return v;
}

// Any bits, and values half way between two f16 or bf16, above and below.
std::vector<float> floats() {
  Random random;
  std::vector<float> v;
  for (int i = 0; i < 20000; ++i) v.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random.engine())));
  for (std::uint32_t i = 0; i < 65536; i += 1 + static_cast<std::uint32_t>(random.below(7))) {
    for (const std::uint32_t low : {0U, 0x7fffU, 0x8000U, 0x8001U}) v.push_back(std::bit_cast<float>(i << 16 | low));
    const auto h = std::bit_cast<std::uint32_t>(to_float(f16{static_cast<std::uint16_t>(i)}));
    for (const std::uint32_t low : {0xfffU, 0x1000U, 0x1001U}) v.push_back(std::bit_cast<float>(h + low));
  }
  return v;
}

TEST(Copy, WidensEveryF16AndBf16Exactly) {
  test_conversion<f16, float>(every_value<f16>());
  test_conversion<bf16, float>(every_value<bf16>());
}
TEST(Copy, RoundsToNearestEven) {
  const std::vector<float> v = floats();
  test_conversion<float, f16>(v);
  test_conversion<float, bf16>(v);
}
TEST(Copy, ConvertsBetween16BitFloats) {
  test_conversion<f16, bf16>(every_value<f16>());
  test_conversion<bf16, f16>(every_value<bf16>());
}

TEST(Copy, KeepsBitsOfTheSameDtypeInAnotherShape) {
  Random random;
  for (const std::size_t n : {1UL, 8193UL}) {
    std::vector<std::int64_t> v(3 * n);
    for (auto& x : v) x = static_cast<std::int64_t>(random.engine());
    std::vector<float> nan_payloads(2 * n);
    for (auto& x : nan_payloads) x = std::bit_cast<float>(static_cast<std::uint32_t>(random.engine() | 0x7f800001U));
    Device d = any_device();
    const Buffer src = put(d, {n, 3}, v), dst = put(d, {3 * n}, std::vector<std::int64_t>(3 * n));
    const Buffer f = put(d, {n, 2}, nan_payloads), g = put(d, {2, n}, std::vector<float>(2 * n));
    run(d, [&](CommandEncoder& e) { return copy(e, src, dst); });
    run(d, [&](CommandEncoder& e) { return copy(e, f, g); });
    EXPECT_EQ(get<std::int64_t>(dst), v);
    EXPECT_EQ(std::memcmp(get<float>(g).data(), nan_payloads.data(), nan_payloads.size() * 4), 0);
  }
}

TEST(Copy, RefusesWrongArguments) {
  Device d = any_device();
  const Buffer x = put(d, {2, 4}, std::vector<float>(8)), y = put(d, {7}, std::vector<float>(7));
  const Buffer i = put(d, {8}, std::vector<std::int32_t>(8));
  expect_refused([&](auto& e) { return copy(e, x, y); }, d, {"copy", "dst", "expected 8 elements", "got f32 [7]"});
  expect_refused([&](auto& e) { return copy(e, x, i); }, d,
                 {"copy", "dst", "expected f32 or f16 or bf16", "got i32 [8]"});
  expect_refused([&](auto& e) { return copy(e, i, x); }, d, {"copy", "dst", "expected i32", "got f32 [2, 4]"});
  expect_refused([&](auto& e) { return copy(e, Buffer(), x); }, d, {"copy", "src", "null"});
  expect_refused([&](auto& e) { return copy(e, x, must(x.view(0, DType::f32, {8}))); }, d,
                 {"copy", "dst", "apart from src"});
}

TEST(GatherRows, TakesRowsInAnyOrderAndFailsOutside) {
  Random random;
  const std::size_t t = 1 + random.below(50), k = 1 + random.below(3000), n = 1 + random.below(60);
  const std::vector<float> x = random.normal(t * k);
  std::vector<std::int32_t> rows(n);
  for (auto& r : rows) r = static_cast<std::int32_t>(random.below(t));
  on_every_device([&](Device d) {
    const Buffer out = must(d.alloc(DType::f32, {n, k}));
    run(d, [&](CommandEncoder& e) { return gather_rows(e, put(d, {t, k}, x), put(d, {n}, rows), out); });
    const std::vector<float> got = get<float>(out);
    for (std::size_t i = 0; i < n * k; ++i) EXPECT_EQ(got[i], x[static_cast<std::size_t>(rows[i / k]) * k + i % k]);
    return got;
  });
  for (const std::int32_t bad : {-1, static_cast<std::int32_t>(t)}) {
    Device d = any_device();
    CommandEncoder e = must(d.command_encoder());
    must(gather_rows(e, put(d, {t, k}, x), put(d, {1}, std::vector{bad}), must(d.alloc(DType::f32, {1, k}))));
    const Result<void> r = e.commit_and_wait();
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().str().find(fmt::format("row {} is outside", bad)), std::string::npos) << r.error().str();
  }
  Device d = any_device();
  const Buffer a = put(d, {2, 3}, std::vector<float>(6)), i = put(d, {2}, std::vector<std::int32_t>(2));
  expect_refused([&](auto& e) { return gather_rows(e, a, i, a); }, d, {"gather_rows", "out", "apart from x"});
  expect_refused([&](auto& e) { return gather_rows(e, a, i, i); }, d,
                 {"gather_rows", "out", "expected f32", "got i32 [2]"});
  expect_refused([&](auto& e) { return gather_rows(e, a, a, a); }, d, {"gather_rows", "rows"});
}

}  // namespace
}  // namespace halyard::ops

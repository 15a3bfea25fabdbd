#include "halyard/ops/attention/attention.h"

#include <limits>

#include "halyard/base/float16.h"
#include "halyard/ops/attention/reference.h"
#include "halyard/ops/copy/copy.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

struct Problem {
  std::size_t heads, kv_heads, head_dim, positions, capacity, window;
  DType cache;
  std::vector<float> q, k, v;  // [positions, heads, D], [kv_heads, capacity, D] with values the cache's dtype can hold

  float scale() const { return 1 / std::sqrt(static_cast<float>(head_dim)); }
  std::string name() const {
    return fmt::format("{} heads, {} KV heads, D {}, {} positions of {}, window {}, {}", heads, kv_heads, head_dim,
                       positions, capacity, window, to_string(cache));
  }
};

float rounded(float x, DType t) {
  return t == DType::f16 ? to_float(to_f16(x)) : t == DType::bf16 ? to_float(to_bf16(x)) : x;
}

Problem problem(Random& random, std::size_t heads, std::size_t kv_heads, std::size_t head_dim, std::size_t positions,
                std::size_t window, DType cache) {
  Problem p = {heads, kv_heads, head_dim, positions, positions + random.below(3), window, cache, {}, {}, {}};
  p.q = random.normal(positions * heads * head_dim, 2);
  p.k = random.normal(kv_heads * p.capacity * head_dim, 2);
  p.v = random.normal(kv_heads * p.capacity * head_dim);
  for (float& x : p.k) x = rounded(x, cache);
  for (float& x : p.v) x = rounded(x, cache);
  // Beyond the last position there is nothing that may be looked at.
  for (std::size_t g = 0; g < kv_heads; ++g)
    for (std::size_t i = positions * head_dim; i < p.capacity * head_dim; ++i)
      p.k[g * p.capacity * head_dim + i] = p.v[g * p.capacity * head_dim + i] = std::numeric_limits<float>::quiet_NaN();
  return p;
}

Buffer cache_of(Device d, const Problem& p, const std::vector<float>& values) {
  const Shape shape = {p.kv_heads, p.capacity, p.head_dim};
  const Buffer f = put(d, shape, values), cache = must(d.alloc(p.cache, shape));
  run(d, [&](CommandEncoder& e) { return copy(e, f, cache); });
  return cache;
}

/// The prompt in chunks of these lengths, the last one repeated.
std::vector<float> attend(Device d, const Problem& p, const std::vector<std::size_t>& chunks) {
  const Shape shape = {p.positions, p.heads, p.head_dim};
  const Buffer q = put(d, shape, p.q), out = must(d.alloc(DType::f32, shape));
  const Buffer k = cache_of(d, p, p.k), v = cache_of(d, p, p.v);
  for (std::size_t offset = 0, i = 0; offset < p.positions; ++i) {
    const std::size_t t = std::min(chunks[std::min(i, chunks.size() - 1)], p.positions - offset);
    const std::size_t row = p.heads * p.head_dim;
    const Shape part = {t, p.heads, p.head_dim};
    run(d, [&](CommandEncoder& e) {
      return attention(e, must(q.view(offset * row * 4, DType::f32, part)), k, v,
                       must(out.view(offset * row * 4, DType::f32, part)),
                       {.offset = offset, .scale = p.scale(), .window = p.window});
    });
    offset += t;
  }
  return get<float>(out);
}

void check(const Problem& p, const std::vector<float>& got) {
  const std::vector<double> k(p.k.begin(), p.k.end()), v(p.v.begin(), p.v.end());
  const std::size_t step = 1 + p.positions / 30;
  for (std::size_t t = (p.positions - 1) % step; t < p.positions; t += step)
    for (std::size_t h = 0; h < p.heads; ++h) {
      const std::size_t at = (t * p.heads + h) * p.head_dim, head = h / (p.heads / p.kv_heads) * p.capacity * p.head_dim;
      const std::vector<double> q(p.q.begin() + at, p.q.begin() + at + p.head_dim);
      std::vector<double> expected(p.head_dim);
      reference::attention(q.data(), &k[head], &v[head], expected.data(), p.head_dim,
                           p.window && t + 1 > p.window ? t + 1 - p.window : 0, t + 1, p.scale());
      SCOPED_TRACE(fmt::format("query {}, head {}", t, h));
      // scores of about 4 √D · scale = 4 are right to a few 1e-6, and so are the weights
      expect_near({got.begin() + at, got.begin() + at + p.head_dim}, expected, 0, 1e-5);
      if (::testing::Test::HasFailure()) return;
    }
}

TEST(Attention, FollowsTheFormulaForEveryShape) {
  Random random;
  struct Case {
    std::size_t heads, kv_heads, head_dim, positions, window;
    DType cache;
  };
  const Case cases[] = {
      {4, 2, 64, 200, 0, DType::f32},      {8, 2, 12, 700, 0, DType::f32},   {3, 1, 80, 1100, 100, DType::f16},
      {5, 5, 24, 600, 0, DType::bf16},     {20, 1, 7, 300, 37, DType::f32},  {2, 1, 256, 530, 513, DType::f32},
      {6, 2, 96, 65, 0, DType::f16},       {4, 4, 128, 1, 0, DType::f32},    {35, 1, 16, 70, 1, DType::bf16},
      {2, 2, 1, 1030, 512, DType::f32},    {1, 1, 128, 129, 64, DType::f32}, {2, 2, 20, 64, 0, DType::f32},
      {4, 1, 1 + random.below(256), 1 + random.below(600), random.below(600), DType::f32},
      {2, 2, 1 + random.below(256), 1 + random.below(600), random.below(600), DType::f16},
  };
  for (const Case& c : cases) {
    const Problem p = problem(random, c.heads, c.kv_heads, c.head_dim, c.positions, c.window, c.cache);
    SCOPED_TRACE(p.name());
    on_every_device([&](Device d) {
      const std::vector<float> got = attend(d, p, {p.positions});
      check(p, got);
      return got;
    });
    if (HasFailure()) return;
  }
}

TEST(Attention, IsTheSameBytesHoweverThePromptIsCut) {
  Random random;
  for (const std::size_t window : {0UL, 70UL, 600UL})
    for (const DType cache : {DType::f32, DType::bf16}) {
      const Problem p = problem(random, 6, 2, cache == DType::f32 ? 32 : 20, 1100 + random.below(100), window, cache);
      SCOPED_TRACE(p.name());
      for (const Isa isa : isas()) {
        SCOPED_TRACE(to_string(isa));
        Device d = open(isa, 2);
        const std::vector<float> whole = attend(d, p, {p.positions});
        for (const std::vector<std::size_t>& chunks : std::vector<std::vector<std::size_t>>{
                 {5}, {1}, {64}, {1 + random.below(300), 1 + random.below(300), 1 + random.below(20)}}) {
          const std::vector<float> cut = attend(d, p, chunks);
          ASSERT_EQ(std::memcmp(whole.data(), cut.data(), whole.size() * 4), 0) << "chunks of " << chunks[0];
        }
      }
    }
}

TEST(Attention, DoesNotLookBeyondItsOwnPosition) {
  Random random;
  Problem p = problem(random, 2, 1, 32, 100, 0, DType::f32);
  p.capacity = 100;
  p.k.resize(100 * 32);
  p.v.resize(100 * 32);
  Device d = any_device();
  const std::vector<float> clean = attend(d, p, {100});
  for (std::size_t i = 60 * 32; i < p.k.size(); ++i) p.k[i] = p.v[i] = std::numeric_limits<float>::infinity();
  const std::vector<float> dirty = attend(d, p, {100});
  EXPECT_EQ(std::memcmp(clean.data(), dirty.data(), 60 * 64 * 4), 0);
}

TEST(Attention, HoldsUnderExtremeScores) {
  // Query 1 sees scores of -1e30 and 1e30, query 0 only the first: each must take its greatest.
  on_every_device([](Device d) {
    const Buffer q = put(d, {2, 1, 1}, std::vector<float>{1e15F, 1e15F}), out = must(d.alloc(DType::f32, {2, 1, 1}));
    const Buffer k = put(d, {1, 2, 1}, std::vector<float>{-1e15F, 1e15F}), v = put(d, {1, 2, 1}, std::vector<float>{3, 5});
    run(d, [&](CommandEncoder& e) { return attention(e, q, k, v, out, {}); });
    EXPECT_EQ(get<float>(out), (std::vector<float>{3, 5}));
    return get<float>(out);
  });
}

TEST(Attention, PassesOverPositionsOfScoreMinusInfinity) {
  on_every_device([](Device d) {
    const float inf = std::numeric_limits<float>::infinity();
    std::vector<float> keys(70, -inf), values(70, 7);
    keys[69] = 1;
    const Buffer q = put(d, {1, 1, 1}, std::vector<float>{1}), out = must(d.alloc(DType::f32, {1, 1, 1}));
    const Buffer k = put(d, {1, 70, 1}, keys), v = put(d, {1, 70, 1}, values);
    run(d, [&](CommandEncoder& e) { return attention(e, q, k, v, out, {.offset = 69}); });
    EXPECT_EQ(get<float>(out)[0], 7);
    return get<float>(out);
  });
}

TEST(KvAppend, ConvertsRowsIntoTheirPlace) {
  Random random;
  for (const DType cache : {DType::f32, DType::f16, DType::bf16}) {
    const std::size_t t = 1 + random.below(50), heads = 1 + random.below(5), head_dim = 1 + random.below(100);
    const std::size_t offset = random.below(20), capacity = offset + t + random.below(4);
    SCOPED_TRACE(fmt::format("[{}, {}, {}] at {} of {}, {}", t, heads, head_dim, offset, capacity, to_string(cache)));
    const std::vector<float> x = random.normal(t * heads * head_dim);
    on_every_device([&](Device d) {
      const Shape shape = {heads, capacity, head_dim};
      const Buffer before = put(d, shape, std::vector<float>(shape.elements(), -7)), c = must(d.alloc(cache, shape));
      run(d, [&](CommandEncoder& e) -> Result<void> {
        HALYARD_TRY(copy(e, before, c));
        HALYARD_TRY(kv_append(e, put(d, {t, heads, head_dim}, x), c, offset));
        return copy(e, c, before);
      });
      const std::vector<float> got = get<float>(before);
      for (std::size_t h = 0; h < heads; ++h)
        for (std::size_t j = 0; j < capacity; ++j)
          for (std::size_t i = 0; i < head_dim; ++i) {
            const bool inside = j >= offset && j < offset + t;
            const float expected = inside ? rounded(x[((j - offset) * heads + h) * head_dim + i], cache) : -7;
            EXPECT_EQ(got[(h * capacity + j) * head_dim + i], expected);
          }
      return got;
    });
  }
}

TEST(Attention, RefusesWrongArguments) {
  Device d = any_device();
  const auto f32 = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const Buffer q = f32({2, 4, 8}), out = f32({2, 4, 8}), k = f32({2, 16, 8}), v = f32({2, 16, 8});
  const Buffer half = put(d, {2, 16, 8}, std::vector<f16>(256));
  const AttentionOptions o = {};
  expect_refused([&](auto& e) { return attention(e, k, k, v, out, o); }, d, {"attention", "out", "[2, 16, 8]", "[2, 4, 8]"});
  expect_refused([&](auto& e) { return attention(e, q, k, half, out, o); }, d,
                 {"attention", "v", "expected f32", "got f16 [2, 16, 8]"});
  expect_refused([&](auto& e) { return attention(e, q, k, f32({2, 15, 8}), out, o); }, d,
                 {"attention", "v", "expected [2, 16, 8]", "got [2, 15, 8]"});
  expect_refused([&](auto& e) { return attention(e, q, f32({2, 16, 4}), v, out, o); }, d,
                 {"attention", "k", "expected [2, 16, 8]", "got [2, 16, 4]"});
  expect_refused([&](auto& e) { return attention(e, q, f32({3, 16, 8}), f32({3, 16, 8}), out, o); }, d,
                 {"attention", "q", "multiple of k's 3 heads", "got 4 heads"});
  expect_refused([&](auto& e) { return attention(e, q, k, v, out, {.offset = 15}); }, d,
                 {"attention", "offset", "offset + 2 positions ≤ capacity 16", "got offset 15"});
  expect_refused([&](auto& e) { return attention(e, q, k, v, out, {.offset = static_cast<std::size_t>(-1)}); }, d,
                 {"attention", "offset"});
  expect_refused([&](auto& e) { return attention(e, q, k, v, q, o); }, d, {"attention", "out", "apart from q"});
  expect_refused([&](auto& e) { return attention(e, q, Buffer(), v, out, o); }, d, {"attention", "k", "null"});
  expect_refused([&](auto& e) { return attention(e, f32({1, 1, 257}), f32({1, 1, 257}), f32({1, 1, 257}), f32({1, 1, 257}), o); },
                 d, {"attention", "q", "at most 256", "[1, 1, 257]"});
  expect_refused([&](auto& e) { return kv_append(e, q, k, 0); }, d,
                 {"kv_append", "cache", "expected [4, 16, 8]", "got [2, 16, 8]"});
  expect_refused([&](auto& e) { return kv_append(e, f32({2, 2, 8}), k, 15); }, d,
                 {"kv_append", "offset", "capacity 16", "offset 15"});
  expect_refused([&](auto& e) { return kv_append(e, half, k, 0); }, d, {"kv_append", "x", "expected f32", "got f16"});
}

}  // namespace
}  // namespace halyard::ops

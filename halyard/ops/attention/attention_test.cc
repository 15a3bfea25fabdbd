#include "halyard/ops/attention/attention.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "halyard/base/float16.h"
#include "halyard/ops/attention/reference.h"
#include "halyard/ops/copy/copy.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

struct Problem {
  std::size_t heads, kv_heads, head_dim, positions, window;
  DType cache;
  std::size_t page, pages;
  std::vector<std::int32_t> table;  // of the positions, in random order; the other pages hold NaN
  std::vector<float> q, k, v;  // [positions, heads, D], [positions, kv_heads, D] with values the cache's dtype can hold

  float scale() const { return 1 / std::sqrt(static_cast<float>(head_dim)); }
  std::string name() const {
    return fmt::format("{} heads, {} KV heads, D {}, {} positions in pages of {}, window {}, {}", heads, kv_heads,
                       head_dim, positions, page, window, to_string(cache));
  }
};

float rounded(float x, DType t) {
  return t == DType::f16 ? to_float(to_f16(x)) : t == DType::bf16 ? to_float(to_bf16(x)) : x;
}

Problem problem(Random& random, std::size_t heads, std::size_t kv_heads, std::size_t head_dim, std::size_t positions,
                std::size_t window, DType cache) {
  Problem p = {heads, kv_heads, head_dim, positions, window, cache, kPageUnit * (1 + random.below(3)),
               0,     {},       {},       {},        {}};
  const std::size_t used = (positions + p.page - 1) / p.page;
  p.pages = used + random.below(3);
  p.table.resize(p.pages);
  std::iota(p.table.begin(), p.table.end(), 0);
  std::shuffle(p.table.begin(), p.table.end(), random.engine);
  p.table.resize(used);
  p.q = random.normal(positions * heads * head_dim, 2);
  p.k = random.normal(positions * kv_heads * head_dim, 2);
  p.v = random.normal(positions * kv_heads * head_dim);
  for (float& x : p.k) x = rounded(x, cache);
  for (float& x : p.v) x = rounded(x, cache);
  return p;
}

/// Pages with these values. Beyond the last position there is nothing that may be looked at.
Buffer pages_with(Device d, const Problem& p, const std::vector<float>& values) {
  const Shape shape = {p.pages, p.kv_heads, p.page, p.head_dim};
  std::vector<float> all(shape.elements(), std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < p.positions; ++i)
    for (std::size_t h = 0; h < p.kv_heads; ++h) {
      const std::size_t page = static_cast<std::size_t>(p.table[i / p.page]);
      std::copy_n(&values[(i * p.kv_heads + h) * p.head_dim], p.head_dim,
                  &all[((page * p.kv_heads + h) * p.page + i % p.page) * p.head_dim]);
    }
  const Buffer f = put(d, shape, all), pages = must(d.alloc(p.cache, shape));
  run(d, [&](CommandEncoder& e) { return copy(e, f, pages); });
  return pages;
}

KvBatch batch_of(Device d, const std::vector<std::int32_t>& spans, const std::vector<std::int32_t>& table) {
  const std::size_t n = spans.size() / 4;
  return {put(d, {n, 4}, spans), put(d, {n, table.size() / n}, table)};
}

/// The prompt in chunks of these lengths, the last one repeated.
std::vector<float> attend(Device d, const Problem& p, const std::vector<std::size_t>& chunks) {
  const Shape shape = {p.positions, p.heads, p.head_dim};
  const Buffer q = put(d, shape, p.q), out = must(d.alloc(DType::f32, shape));
  const Buffer k = pages_with(d, p, p.k), v = pages_with(d, p, p.v);
  for (std::size_t held = 0, i = 0; held < p.positions; ++i) {
    const std::size_t t = std::min(chunks[std::min(i, chunks.size() - 1)], p.positions - held);
    const std::size_t row = p.heads * p.head_dim;
    const Shape part = {t, p.heads, p.head_dim};
    const KvBatch batch = batch_of(d, {0, static_cast<int>(t), static_cast<int>(held), 0}, p.table);
    run(d, [&](CommandEncoder& e) {
      return attention(e, must(q.view(held * row * 4, DType::f32, part)), k, v,
                       must(out.view(held * row * 4, DType::f32, part)), batch,
                       {.scale = p.scale(), .window = p.window});
    });
    held += t;
  }
  return get<float>(out);
}

void check(const Problem& p, const std::vector<float>& got) {
  const std::size_t kv_row = p.kv_heads * p.head_dim;
  const std::size_t step = 1 + p.positions / 30;
  for (std::size_t t = (p.positions - 1) % step; t < p.positions; t += step)
    for (std::size_t h = 0; h < p.heads; ++h) {
      const std::size_t at = (t * p.heads + h) * p.head_dim, head = h / (p.heads / p.kv_heads) * p.head_dim;
      std::vector<double> k, v;
      for (std::size_t j = 0; j <= t; ++j)
        for (std::size_t i = 0; i < p.head_dim; ++i) {
          k.push_back(p.k[j * kv_row + head + i]);
          v.push_back(p.v[j * kv_row + head + i]);
        }
      const std::vector<double> q(p.q.begin() + at, p.q.begin() + at + p.head_dim);
      std::vector<double> expected(p.head_dim);
      reference::attention(q.data(), k.data(), v.data(), expected.data(), p.head_dim,
                           p.window && t + 1 > p.window ? t + 1 - p.window : 0, t + 1, p.scale());
      SCOPED_TRACE(fmt::format("query {}, head {}", t, h));
      // a score is a chain of D sums of about 4 √D, times 1 / √D: right to 1e-6 for small D, and so are the weights
      expect_near({got.begin() + at, got.begin() + at + p.head_dim}, expected, 0,
                  1e-5 * std::max(1.0, static_cast<double>(p.head_dim) / 48));
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
      {4, 2, 64, 200, 0, DType::f32},
      {8, 2, 12, 700, 0, DType::f32},
      {3, 1, 80, 1100, 100, DType::f16},
      {5, 5, 24, 600, 0, DType::bf16},
      {20, 1, 7, 300, 37, DType::f32},
      {2, 1, 256, 530, 513, DType::f32},
      {6, 2, 96, 65, 0, DType::f16},
      {4, 4, 128, 1, 0, DType::f32},
      {35, 1, 16, 70, 1, DType::bf16},
      {2, 2, 1, 1030, 512, DType::f32},
      {1, 1, 128, 129, 64, DType::f32},
      {2, 2, 20, 64, 0, DType::f32},
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
        Device d = open(isa, 5);  // more threads than KV heads: single queries are cut by heads too
        const std::vector<float> whole = attend(d, p, {p.positions});
        for (const std::vector<std::size_t>& chunks : std::vector<std::vector<std::size_t>>{
                 {5}, {1}, {64}, {1 + random.below(300), 1 + random.below(300), 1 + random.below(20)}}) {
          const std::vector<float> cut = attend(d, p, chunks);
          ASSERT_EQ(std::memcmp(whole.data(), cut.data(), whole.size() * 4), 0) << "chunks of " << chunks[0];
        }
      }
    }
}

TEST(Attention, IsTheSameBytesAloneAndAmongOthers) {
  Random random;
  for (int round = 0; round < 6; ++round) {
    const DType cache = std::array{DType::f32, DType::f16, DType::bf16}[round % 3];
    const std::size_t kv = 1 + random.below(3), heads = kv * (1 + random.below(4)), dim = 1 + random.below(100);
    const std::size_t n = 1 + random.below(6);
    std::vector<Problem> all;
    std::size_t pages = 0, rows = random.below(3), table_pages = 0;  // rows of nobody stand before and between
    for (std::size_t i = 0; i < n; ++i) {
      all.push_back(problem(random, heads, kv, dim, 1 + random.below(i % 2 ? 20 : 700), 0, cache));
      all.back().page = all.front().page;
      all.back().table.resize((all.back().positions + all.back().page - 1) / all.back().page);
      std::iota(all.back().table.begin(), all.back().table.end(), static_cast<int>(pages));
      pages += all.back().table.size();
      table_pages = std::max(table_pages, all.back().table.size());
    }
    for (Problem& p : all) p.pages = pages;
    for (const Isa isa : isas()) {
      SCOPED_TRACE(to_string(isa));
      Device d = open(isa, 3);
      const Shape shape = {pages, kv, all[0].page, dim};
      const auto sum_of_pages = [&](std::vector<float> Problem::*values) {  // each has NaN where the others lie
        std::vector<float> sum(shape.elements());
        for (const Problem& p : all) {
          const Buffer one = pages_with(d, p, p.*values), wide = must(d.alloc(DType::f32, shape));
          run(d, [&](CommandEncoder& e) { return copy(e, one, wide); });
          const std::vector<float> x = get<float>(wide);
          for (std::size_t i = 0; i < x.size(); ++i)
            if (!std::isnan(x[i])) sum[i] = x[i];
        }
        const Buffer wide = put(d, shape, sum), narrow = must(d.alloc(cache, shape));
        run(d, [&](CommandEncoder& e) { return copy(e, wide, narrow); });
        return narrow;
      };
      const Buffer k = sum_of_pages(&Problem::k), v = sum_of_pages(&Problem::v);
      std::vector<std::int32_t> spans, table;
      std::vector<float> q(rows * heads * dim, NAN);
      std::vector<std::size_t> first, taken;
      for (const Problem& p : all) {
        const std::size_t t = random.below(2) ? std::min<std::size_t>(p.positions, 1) : 1 + random.below(p.positions);
        first.push_back(q.size() / (heads * dim));
        taken.push_back(t);
        for (const std::size_t x : {first.back(), t, p.positions - t, std::size_t{0}})
          spans.push_back(static_cast<int>(x));
        q.insert(q.end(), p.q.end() - static_cast<std::ptrdiff_t>(t * heads * dim), p.q.end());
        if (random.below(2)) q.resize(q.size() + heads * dim, NAN);
        table.insert(table.end(), p.table.begin(), p.table.end());
        table.resize(spans.size() / 4 * table_pages, -1);
      }
      const Buffer in = put(d, {q.size() / (heads * dim), heads, dim}, q), out = must(d.alloc(DType::f32, in.shape()));
      run(d, [&](CommandEncoder& e) {
        return attention(e, in, k, v, out, batch_of(d, spans, table), {.scale = all[0].scale()});
      });
      const std::vector<float> together = get<float>(out);
      for (std::size_t i = 0; i < n; ++i) {
        const std::vector<float> alone = attend(d, all[i], {all[i].positions});
        const std::size_t size = taken[i] * heads * dim;
        ASSERT_EQ(std::memcmp(&together[first[i] * heads * dim], &alone[alone.size() - size], size * 4), 0)
            << "sequence " << i << " of " << n;
      }
    }
  }
}

TEST(Attention, DoesNotLookBeyondItsOwnPosition) {
  Random random;
  Problem p = problem(random, 2, 1, 32, 100, 0, DType::f32);
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
    const auto page = [&](float a, float b) {
      std::vector<float> x(kPageUnit);
      x[0] = a, x[1] = b;
      return put(d, {1, 1, kPageUnit, 1}, x);
    };
    const Buffer k = page(-1e15F, 1e15F), v = page(3, 5);
    run(d, [&](CommandEncoder& e) { return attention(e, q, k, v, out, batch_of(d, {0, 2, 0, 0}, {0}), {}); });
    EXPECT_EQ(get<float>(out), (std::vector<float>{3, 5}));
    return get<float>(out);
  });
}

TEST(Attention, PassesOverPositionsOfScoreMinusInfinity) {
  on_every_device([](Device d) {
    const float inf = std::numeric_limits<float>::infinity();
    std::vector<float> keys(128, -inf), values(128, 7);
    keys[69] = 1;
    const Buffer q = put(d, {1, 1, 1}, std::vector<float>{1}), out = must(d.alloc(DType::f32, {1, 1, 1}));
    const Buffer k = put(d, {2, 1, 64, 1}, keys), v = put(d, {2, 1, 64, 1}, values);
    run(d, [&](CommandEncoder& e) { return attention(e, q, k, v, out, batch_of(d, {0, 1, 69, 0}, {0, 1}), {}); });
    EXPECT_EQ(get<float>(out)[0], 7);
    return get<float>(out);
  });
}

TEST(Attention, ARowSeesNoMoreThanItsSequencesWindow) {
  Random random;
  const Problem p = problem(random, 2, 1, 16, 300, 40, DType::f32);
  on_every_device([&](Device d) {
    const Buffer q = put(d, {300, 2, 16}, p.q), out = must(d.alloc(DType::f32, q.shape()));
    const Buffer k = pages_with(d, p, p.k), v = pages_with(d, p, p.v);
    const std::vector<float> expected = attend(d, p, {300});
    for (const auto& [own, layers] : {std::pair(40, 0UL), std::pair(40, 100UL), std::pair(500, 40UL)}) {
      run(d, [&](CommandEncoder& e) {
        return attention(e, q, k, v, out, batch_of(d, {0, 300, 0, own}, p.table),
                         {.scale = p.scale(), .window = layers});
      });
      EXPECT_EQ(get<float>(out), expected);
    }
    return expected;
  });
}

TEST(Attention, PlacesOutsideThePagesFailTheCommandBuffer) {
  const auto failure = [](const std::vector<std::int32_t>& spans, const std::vector<std::int32_t>& table,
                          const std::vector<std::int32_t>& slots) {
    Device d = any_device();
    const Buffer q = put(d, {2, 2, 8}, std::vector<float>(32)), out = must(d.alloc(DType::f32, {2, 2, 8}));
    const Buffer pages = must(d.alloc(DType::f16, {3, 2, 64, 8}));
    CommandEncoder e = must(d.command_encoder());
    must(kv_append(e, q, pages, put(d, {2}, slots)));
    must(attention(e, q, pages, pages, out, batch_of(d, spans, table), {}));
    const Result<void> r = e.commit_and_wait();
    return r ? "succeeded" : r.error().str();
  };
  const auto expect_failure = [](const std::string& got, std::string_view part) {
    EXPECT_NE(got.find(part), std::string::npos) << got;
  };
  EXPECT_EQ(failure({0, 2, 126, 0}, {2, 0}, {191, -1}), "succeeded");
  expect_failure(failure({0, 2, 126, 0}, {2, 0}, {0, 192}), "slot 192 is outside pages of 192 slots");
  expect_failure(failure({0, 2, 126, 0}, {2, 0}, {-2, 0}), "slot -2");
  expect_failure(failure({0, 2, 127, 0}, {2, 0}, {0, 1}), "sequence 0 of the step");
  expect_failure(failure({1, 2, 0, 0}, {2, 0}, {0, 1}), "sequence 0");
  expect_failure(failure({-1, 2, 0, 0}, {2, 0}, {0, 1}), "sequence 0");
  expect_failure(failure({0, 1, -1, 0}, {2, 0}, {0, 1}), "sequence 0");
  expect_failure(failure({0, 1, 0, 0, 1, 1, INT32_MAX, 0}, {2, 0, 1, 1}, {0, 1}), "sequence 1");
  expect_failure(failure({0, 2, 100, 0}, {2, 3}, {0, 1}), "position 64 lies in page 3");
  expect_failure(failure({0, 2, 100, 0}, {-1, 0}, {0, 1}), "position 0 lies in page -1");
}

TEST(KvAppend, ConvertsRowsIntoTheirPlaceAndMovesThem) {
  Random random;
  for (const DType cache : {DType::f32, DType::f16, DType::bf16}) {
    const std::size_t t = 1 + random.below(50), heads = 1 + random.below(5), head_dim = 1 + random.below(100);
    const std::size_t pages = 2, page = 64 * (1 + random.below(2)), slots = pages * page;
    SCOPED_TRACE(fmt::format("[{}, {}, {}], pages of {}, {}", t, heads, head_dim, page, to_string(cache)));
    const std::vector<float> x = random.normal(t * heads * head_dim);
    std::vector<std::int32_t> order(slots);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random.engine);
    std::vector<std::int32_t> to(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(t));
    if (t > 2) to[2] = -1;
    const std::vector<std::int32_t> moved_from = {to[0], -1}, moved_to = {order[t], order[t + 1]};
    on_every_device([&](Device d) {
      const Shape shape = {pages, heads, page, head_dim};
      const Buffer before = put(d, shape, std::vector<float>(shape.elements(), -7)), c = must(d.alloc(cache, shape));
      run(d, [&](CommandEncoder& e) -> Result<void> {
        HALYARD_TRY(copy(e, before, c));
        HALYARD_TRY(kv_append(e, put(d, {t, heads, head_dim}, x), c, put(d, {t}, to)));
        HALYARD_TRY(kv_move(e, c, put(d, {2}, moved_from), put(d, {2}, moved_to)));
        return copy(e, c, before);
      });
      const std::vector<float> got = get<float>(before);
      std::vector<float> expected(got.size(), -7);
      const auto put_row = [&](std::int32_t slot, std::size_t row) {
        const std::size_t s = static_cast<std::size_t>(slot);
        for (std::size_t h = 0; h < heads; ++h)
          for (std::size_t i = 0; i < head_dim; ++i)
            expected[((s / page * heads + h) * page + s % page) * head_dim + i] =
                rounded(x[(row * heads + h) * head_dim + i], cache);
      };
      for (std::size_t row = 0; row < t; ++row)
        if (to[row] != -1) put_row(to[row], row);
      put_row(moved_to[0], 0);
      EXPECT_EQ(got, expected);
      return got;
    });
  }
}

TEST(Attention, RefusesWrongArguments) {
  Device d = any_device();
  const auto f32 = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const Buffer q = f32({2, 4, 8}), out = f32({2, 4, 8}), k = f32({3, 2, 64, 8}), v = f32({3, 2, 64, 8});
  const Buffer half = put(d, {3, 2, 64, 8}, std::vector<f16>(3072)),
               slots = put(d, {2}, std::vector<std::int32_t>{0, 1});
  const KvBatch b = batch_of(d, {0, 2, 0, 0}, {0, 1, 2});
  const AttentionOptions o = {};
  expect_refused(
      [&](auto& e) {
        return attention(e, f32({2, 4, 9}), k, v, out, b, o);
      },
      d, {"attention", "q", "[2, 4, 8]", "[2, 4, 9]"});
  expect_refused([&](auto& e) { return attention(e, q, k, half, out, b, o); }, d,
                 {"attention", "v", "expected f32", "got f16 [3, 2, 64, 8]"});
  expect_refused(
      [&](auto& e) {
        return attention(e, q, k, f32({2, 2, 64, 8}), out, b, o);
      },
      d, {"attention", "v", "expected [3, 2, 64, 8]", "got [2, 2, 64, 8]"});
  expect_refused(
      [&](auto& e) {
        return attention(e, q, f32({1, 2, 63, 8}), v, out, b, o);
      },
      d, {"attention", "k", "multiple of 64 positions", "[1, 2, 63, 8]"});
  expect_refused(
      [&](auto& e) {
        return attention(e, q, f32({1, 3, 64, 8}), f32({1, 3, 64, 8}), out, b, o);
      },
      d, {"attention", "q", "multiple of k's 3 heads", "got 4 heads"});
  expect_refused([&](auto& e) { return attention(e, q, k, v, q, b, o); }, d, {"attention", "out", "apart from q"});
  expect_refused([&](auto& e) { return attention(e, q, Buffer(), v, out, b, o); }, d, {"attention", "k", "null"});
  expect_refused([&](auto& e) { return attention(e, q, k, v, out, {slots, b.table}, o); }, d, {"attention", "spans"});
  expect_refused([&](auto& e) { return attention(e, q, k, v, out, {b.spans, slots}, o); }, d, {"attention", "table"});
  expect_refused(
      [&](auto& e) {
        return attention(e, q, k, v, out, {b.spans, put(d, {2, 1}, std::vector<std::int32_t>(2))}, o);
      },
      d, {"attention", "table", "expected [1, 1]", "got [2, 1]"});
  expect_refused(
      [&](auto& e) {
        return attention(e, f32({1, 1, 257}), f32({1, 1, 64, 257}), f32({1, 1, 64, 257}), f32({1, 1, 257}), b, o);
      },
      d, {"attention", "q", "at most 256", "[1, 1, 257]"});
  expect_refused([&](auto& e) { return kv_append(e, q, k, slots); }, d,
                 {"kv_append", "x", "expected [2, 2, 8]", "got [2, 4, 8]"});
  expect_refused(
      [&](auto& e) {
        return kv_append(e, f32({3, 2, 8}), k, slots);
      },
      d, {"kv_append", "slots", "[3]", "[2]"});
  expect_refused([&](auto& e) { return kv_append(e, half, k, slots); }, d,
                 {"kv_append", "x", "expected f32", "got f16"});
  expect_refused([&](auto& e) { return kv_move(e, k, slots, b.spans); }, d, {"kv_move", "to", "[2]", "[1, 4]"});
  expect_refused([&](auto& e) { return kv_move(e, q, slots, slots); }, d, {"kv_move", "pages"});
}

}  // namespace
}  // namespace halyard::ops

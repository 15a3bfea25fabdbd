#include "halyard/ops/moe/moe.h"

#include <limits>

#include "halyard/ops/moe/reference.h"
#include "halyard/ops/op_test.h"

namespace halyard::ops {
namespace {

using namespace testing;

constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();

using Ids = std::vector<std::int32_t>;

void expect_choice(const std::vector<float>& logits, std::size_t experts, std::size_t chosen, bool normalise) {
  SCOPED_TRACE(fmt::format("{} of {}, normalise {}", chosen, experts, normalise));
  const std::size_t rows = logits.size() / experts;
  Ids ids;
  std::vector<double> weights;
  for (std::size_t r = 0; r < rows; ++r) {
    const auto at = logits.begin() + static_cast<std::ptrdiff_t>(r * experts);
    const reference::Choice c =
        reference::expert_choice({at, at + static_cast<std::ptrdiff_t>(experts)}, chosen, normalise);
    ids.insert(ids.end(), c.ids.begin(), c.ids.end());
    weights.insert(weights.end(), c.weights.begin(), c.weights.end());
  }
  on_every_device([&](Device d) {
    const Buffer x = put(d, {rows, experts}, logits), i = put(d, {rows, chosen}, Ids(rows * chosen, -7));
    const Buffer w = put(d, {rows, chosen}, std::vector<float>(rows * chosen, 77));
    run(d, [&](CommandEncoder& e) { return expert_choice(e, x, i, w, normalise); });
    EXPECT_EQ(get<std::int32_t>(i), ids);
    expect_near(get<float>(w), weights, 2e-6 + 3e-9 * static_cast<double>(experts));  // a sum of so many in f32
    return get<float>(w);
  });
}

TEST(ExpertChoice, TakesTheGreatestSharesOfTheSoftmax) {
  Random random;
  for (const std::size_t experts : {1UL, 2UL, 6UL, 60UL, 128UL, 4096UL})
    for (const std::size_t chosen : {std::size_t{1}, std::min(experts, std::size_t{8}), experts}) {
      if (experts == 4096 && chosen == experts) continue;  // a quadratic sort
      const std::size_t rows = experts > 1000 ? 2 : 1 + random.below(70);
      expect_choice(random.normal(rows * experts, 3), experts, chosen, random.below(2));
    }
  expect_choice(random.normal(3 * 256), 256, 256, true);
}

TEST(ExpertChoice, OfEqualsTakesTheFirst) {
  Random random;
  std::vector<float> x(40 * 12);
  for (float& v : x) v = static_cast<float>(random.below(3));  // many ties
  for (std::size_t e = 0; e < 12; ++e) x[e] = 5;
  for (const std::size_t chosen : {1UL, 5UL, 12UL}) expect_choice(x, 12, chosen, true);
  x[0] = 0.0F, x[1] = -0.0F;
  for (std::size_t e = 2; e < 12; ++e) x[e] = -1;
  expect_choice(x, 12, 2, false);
}

TEST(ExpertChoice, TakesExtremeLogitsAsTheFormulaDoes) {
  Random random;
  const float extremes[] = {-inf, 3.4e38F, -3.4e38F, 1e-45F, -1e-45F, 0.0F, -0.0F, 88, -88, 1e10F};
  std::vector<float> x = random.normal(50 * 9, 2);
  for (std::size_t i = 0; i < x.size(); i += 1 + random.below(5)) x[i] = extremes[random.below(std::size(extremes))];
  for (std::size_t r = 0; r < 50; ++r) x[r * 9 + random.below(9)] = 0.25F;  // not all -inf
  expect_choice(x, 9, 4, false);
  expect_choice(x, 9, 9, true);
}

TEST(ExpertChoice, PutsWhatIsNoNumberLast) {
  expect_choice({nan, 1, nan, 3, -inf, 2, nan, nan, nan, nan, nan, nan, 4, nan, inf, 4, -inf, nan}, 6, 4, false);
  expect_choice({nan, nan, -inf, nan, nan, 1, inf, inf, inf, -inf, -inf, -inf}, 3, 2, true);
}

void expect_order(const Ids& ids, std::size_t experts, std::size_t chosen) {
  SCOPED_TRACE(fmt::format("{} pairs, {} experts, {} a row", ids.size(), experts, chosen));
  const std::size_t pairs = ids.size(), rows = pairs / chosen;
  Ids order(pairs), row(pairs), place(pairs), start(experts + 1);
  std::iota(order.begin(), order.end(), 0);
  const auto id = [&](std::int32_t pair) { return ids[static_cast<std::size_t>(pair)]; };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return id(a) < id(b); });
  for (std::size_t i = 0; i < pairs; ++i) {
    row[i] = order[i] / static_cast<std::int32_t>(chosen);
    place[static_cast<std::size_t>(order[i])] = static_cast<std::int32_t>(i);
  }
  for (std::size_t e = 0; e <= experts; ++e)
    start[e] = static_cast<std::int32_t>(
        std::count_if(ids.begin(), ids.end(), [&](int i) { return i < static_cast<int>(e); }));
  on_every_device([&](Device d) {
    const Buffer r = put(d, {pairs}, Ids(pairs, -7)), p = put(d, {rows, chosen}, Ids(pairs, -7)),
                 s = put(d, {experts + 1}, Ids(experts + 1, -7));
    run(d, [&](CommandEncoder& e) { return expert_order(e, put(d, {rows, chosen}, ids), r, p, s); });
    EXPECT_EQ(get<std::int32_t>(r), row);
    EXPECT_EQ(get<std::int32_t>(p), place);
    EXPECT_EQ(get<std::int32_t>(s), start);
    return std::vector<float>();
  });
}

TEST(ExpertOrder, SortsPairsByExpertAndKeepsTheirOrder) {
  Random random;
  for (const std::size_t experts : {1UL, 2UL, 6UL, 128UL, 4096UL})  // of many, most have no rows
    for (const std::size_t chosen : {1UL, 3UL, 8UL}) {
      Ids ids(chosen * (1 + random.below(100)));
      for (auto& i : ids) i = static_cast<std::int32_t>(random.below(experts));
      expect_order(ids, experts, chosen);
    }
  expect_order(Ids(60, 0), 5, 2);  // all rows to one
  expect_order(Ids(60, 4), 5, 2);
  expect_order({3}, 4, 1);
  expect_order({}, 4, 2);
}

TEST(ExpertOrder, FailsForExpertsThatAreNotThere) {
  Device d = any_device();
  const auto failure_of = [&](const Ids& ids) {
    const Buffer r = put(d, {4}, Ids(4)), p = put(d, {2, 2}, Ids(4)), s = put(d, {4}, Ids(4));
    return failure(d, [&](CommandEncoder& e) { return expert_order(e, put(d, {2, 2}, ids), r, p, s); });
  };
  EXPECT_EQ(failure_of({0, 1, 2, 2}), "succeeded");
  EXPECT_NE(failure_of({0, 1, 3, 2}).find("expert 3 is not one of 3"), std::string::npos);
  EXPECT_NE(failure_of({0, 1, 2, -1}).find("expert -1 is not one of 3"), std::string::npos);
  EXPECT_NE(failure_of({INT32_MIN, 1, 2, 0}).find("is not one of 3"), std::string::npos);
  EXPECT_NE(failure_of({INT32_MAX, 1, 2, 0}).find("is not one of 3"), std::string::npos);
}

TEST(ExpertSum, IsTheSumOfWeightedRows) {
  Random random;
  for (const std::size_t width : {1UL, 3UL, 64UL, 1000UL, 5001UL}) {
    const std::size_t chosen = 1 + random.below(8), rows = 1 + random.below(40), pairs = rows * chosen;
    SCOPED_TRACE(fmt::format("{} × {} of {}", rows, chosen, width));
    std::vector<float> y = random.normal(pairs * width, 2), w = random.normal(pairs);
    const float extremes[] = {0.0F, -0.0F, inf, -inf, nan, 1e30F, 1e-45F};
    for (std::size_t i = 0; i < y.size(); i += 1 + random.below(200))
      y[i] = extremes[random.below(std::size(extremes))];
    w[random.below(pairs)] = 0;
    Ids places(pairs);
    for (auto& p : places) p = static_cast<std::int32_t>(random.below(pairs));  // also twice the same
    std::vector<double> expected(rows * width), magnitude(rows * width);
    for (std::size_t p = 0; p < pairs; ++p)
      for (std::size_t i = 0; i < width; ++i) {
        const double term = static_cast<double>(w[p]) * y[static_cast<std::size_t>(places[p]) * width + i];
        expected[p / chosen * width + i] += term;
        magnitude[p / chosen * width + i] += std::abs(term);
      }
    on_every_device([&](Device d) {
      const Buffer out = put(d, {rows, width}, std::vector<float>(rows * width, nan));
      run(d, [&](CommandEncoder& e) {
        return expert_sum(e, put(d, {pairs, width}, y), put(d, {rows, chosen}, places), put(d, {rows, chosen}, w), out);
      });
      expect_near(get<float>(out), expected,
                  [&](std::size_t i) { return 1e-7 * static_cast<double>(chosen) * magnitude[i] + 1e-43; });
      return get<float>(out);
    });
  }
}

TEST(ExpertSum, FailsForPlacesThatAreNotThere) {
  Device d = any_device();
  const auto failure_of = [&](const Ids& places) {
    const Buffer y = put(d, {4, 3}, std::vector<float>(12)), w = put(d, {2, 2}, std::vector<float>(4));
    const Buffer out = put(d, {2, 3}, std::vector<float>(6));
    return failure(d, [&](CommandEncoder& e) { return expert_sum(e, y, put(d, {2, 2}, places), w, out); });
  };
  EXPECT_EQ(failure_of({0, 1, 2, 3}), "succeeded");
  EXPECT_NE(failure_of({0, 1, 4, 3}).find("place 4 is not one of 4"), std::string::npos);
  EXPECT_NE(failure_of({-1, 1, 2, 3}).find("place -1 is not one of 4"), std::string::npos);
}

TEST(Experts, RefuseWrongArguments) {
  Device d = any_device(), other = any_device();
  const auto floats = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const auto ids = [&](Shape s) { return put(d, s, Ids(s.elements())); };

  const auto choice = [&](const Buffer& logits, const Buffer& i, const Buffer& w,
                          std::initializer_list<std::string_view> parts) {
    expect_refused([&](CommandEncoder& e) { return expert_choice(e, logits, i, w, true); }, d, parts);
  };
  const Buffer logits = floats({3, 6}), two = ids({3, 2}), shares = floats({3, 2});
  choice(Buffer(), two, shares, {"expert_choice: logits: expected f32, got a null buffer"});
  choice(logits, Buffer(), shares, {"expert_choice: ids: expected i32, got a null buffer"});
  choice(logits, two, Buffer(), {"expert_choice: weights: expected f32, got a null buffer"});
  choice(floats({18}), two, shares, {"logits: expected 2 axes, got [18]"});
  choice(ids({3, 6}), two, shares, {"logits: expected f32, got i32 [3, 6]"});
  choice(floats({1, 4097}), ids({1, 1}), floats({1, 1}), {"logits: expected at most 4096 experts, got [1, 4097]"});
  choice(logits, ids({3, 7}), floats({3, 7}), {"ids: expected 1 to 6 a row, got [3, 7]"});
  choice(logits, ids({3, 0}), floats({3, 0}), {"ids: expected 1 to 6 a row, got [3, 0]"});
  choice(logits, ids({2, 2}), shares, {"ids: expected [3, 2], got [2, 2]"});
  choice(logits, two, floats({2, 3}), {"weights: expected [3, 2], got [2, 3]"});
  choice(logits, must(logits.view(0, DType::i32, {3, 2})), shares, {"ids: expected memory apart from logits"});
  choice(logits, two, must(two.view(0, DType::f32, {3, 2})), {"ids: expected memory apart from weights"});
  choice(logits, two, must(logits.view(0, DType::f32, {3, 2})), {"weights: expected memory apart from logits"});
  choice(put(other, {3, 6}, std::vector<float>(18)), two, shares, {"expert_choice", "memory of another device"});
  run(d, [&](CommandEncoder& e) { return expert_choice(e, floats({0, 6}), ids({0, 2}), floats({0, 2}), true); });

  const auto order = [&](const Buffer& i, const Buffer& r, const Buffer& p, const Buffer& s,
                         std::initializer_list<std::string_view> parts) {
    expect_refused([&](CommandEncoder& e) { return expert_order(e, i, r, p, s); }, d, parts);
  };
  const Buffer rows = ids({6}), places = ids({3, 2}), starts = ids({7});
  order(Buffer(), rows, places, starts, {"expert_order: ids: expected i32, got a null buffer"});
  order(two, Buffer(), places, starts, {"expert_order: rows: expected i32, got a null buffer"});
  order(two, rows, Buffer(), starts, {"expert_order: places: expected i32, got a null buffer"});
  order(two, rows, places, Buffer(), {"expert_order: starts: expected i32, got a null buffer"});
  order(ids({6}), rows, places, starts, {"ids: expected 2 axes, got [6]"});
  order(floats({3, 2}), rows, places, starts, {"ids: expected i32, got f32 [3, 2]"});
  order(two, ids({5}), places, starts, {"rows: expected [6], got [5]"});
  order(two, rows, ids({2, 3}), starts, {"places: expected [3, 2], got [2, 3]"});
  order(two, rows, places, ids({1}), {"starts: expected one more than 1 to 4096 experts, got [1]"});
  order(two, rows, places, ids({4098}), {"starts: expected one more than 1 to 4096 experts, got [4098]"});
  order(two, must(two.view(0, DType::i32, {6})), places, starts, {"rows: expected memory apart from ids"});
  order(two, rows, two, starts, {"places: expected memory apart from ids"});
  order(two, rows, must(rows.view(0, DType::i32, {3, 2})), starts, {"rows: expected memory apart from places"});
  order(two, rows, places, must(places.view(0, DType::i32, {5})), {"places: expected memory apart from starts"});
  order(two, rows, places, put(other, {7}, Ids(7)), {"expert_order", "memory of another device"});

  const auto sum = [&](const Buffer& y, const Buffer& p, const Buffer& w, const Buffer& out,
                       std::initializer_list<std::string_view> parts) {
    expect_refused([&](CommandEncoder& e) { return expert_sum(e, y, p, w, out); }, d, parts);
  };
  const Buffer y = floats({6, 5}), out = floats({3, 5});
  sum(Buffer(), places, shares, out, {"expert_sum: y: expected f32, got a null buffer"});
  sum(y, Buffer(), shares, out, {"expert_sum: places: expected i32, got a null buffer"});
  sum(y, places, Buffer(), out, {"expert_sum: weights: expected f32, got a null buffer"});
  sum(y, places, shares, Buffer(), {"expert_sum: out: expected f32, got a null buffer"});
  sum(floats({5, 6}), places, shares, out, {"y: expected [6, 5], got [5, 6]"});
  sum(y, rows, shares, out, {"places: expected 2 axes, got [6]"});
  sum(y, places, floats({3, 3}), out, {"weights: expected [3, 2], got [3, 3]"});
  sum(y, places, shares, floats({2, 5}), {"out: expected [3, 5], got [2, 5]"});
  sum(floats({4097, 1}), ids({1, 4097}), floats({1, 4097}), floats({1, 1}), {"places: expected at most 4096 a row"});
  sum(y, places, shares, must(y.view(0, DType::f32, {3, 5})), {"out: expected memory apart from y"});
  sum(y, places, must(out.view(4, DType::f32, {3, 2})), out, {"out: expected memory apart from weights"});
  sum(put(other, {6, 5}, std::vector<float>(30)), places, shares, out, {"expert_sum", "memory of another device"});
  run(d, [&](CommandEncoder& e) { return expert_sum(e, floats({0, 5}), ids({0, 2}), floats({0, 2}), floats({0, 5})); });
}

}  // namespace
}  // namespace halyard::ops

// What the tests of ops that keep state in slots share: sequences cut into steps.
#pragma once

#include <algorithm>
#include <limits>

#include "halyard/ops/op_test.h"
#include "halyard/ops/slot_batch.h"

namespace halyard::ops::testing {

struct Sequence {
  std::size_t first, rows;
  int from, to;
};
inline SlotBatch batch_of(Device d, const std::vector<Sequence>& sequences) {
  std::vector<std::int32_t> spans, from, to;
  for (const Sequence& s : sequences) {
    for (const std::size_t x : {s.first, s.rows, std::size_t{99}, std::size_t{99}})
      spans.push_back(static_cast<std::int32_t>(x));
    from.push_back(s.from);
    to.push_back(s.to);
  }
  const std::size_t n = sequences.size();
  return {put(d, {n, 4}, spans), put(d, {n}, from), put(d, {n}, to)};
}

/// These rows of x, f32 [rows, width].
inline Buffer pick(Device d, const std::vector<float>& x, std::size_t width, const std::vector<std::size_t>& rows) {
  std::vector<float> picked(rows.size() * width);
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(x.data() + rows[i] * width, width, picked.data() + i * width);
  return put(d, {rows.size(), width}, picked);
}

/// An op over sequences whose rows follow each other in its inputs.
struct SlotOp {
  std::vector<std::size_t> lengths;  ///< of the sequences
  Shape slot;                        ///< of one state
  std::size_t width;                 ///< of a row of the output
  /// Records the op over these rows of its inputs.
  std::function<Result<void>(CommandEncoder&, Device, const std::vector<std::size_t>& rows, const Buffer& state,
                             const Buffer& out, const SlotBatch&)>
      record;

  std::size_t rows() const {
    std::size_t sum = 0;
    for (const std::size_t n : lengths) sum += n;
    return sum;
  }
  /// Slots full of what is no number.
  Buffer states(Device d, std::size_t slots) const {
    std::vector<std::size_t> dims = {slots};
    for (std::size_t i = 0; i < slot.rank(); ++i) dims.push_back(slot[i]);
    const Shape shape{std::span<const std::size_t>(dims)};
    return put(d, shape, std::vector<float>(shape.elements(), std::numeric_limits<float>::quiet_NaN()));
  }
  std::vector<float> step(Device d, const std::vector<std::size_t>& rows, const Buffer& state,
                          const std::vector<Sequence>& sequences) const {
    const Buffer out = put(d, {rows.size(), width}, std::vector<float>(rows.size() * width, 77));
    run(d, [&](CommandEncoder& e) { return record(e, d, rows, state, out, batch_of(d, sequences)); });
    return get<float>(out);
  }
  std::vector<float> state_of(const Buffer& state, int s) const {
    const std::vector<float> all = get<float>(state);
    const auto at = all.begin() + s * static_cast<std::ptrdiff_t>(slot.elements());
    return {at, at + static_cast<std::ptrdiff_t>(slot.elements())};
  }
};

struct SlotResult {
  std::vector<float> out, states;
};

/// Every sequence in one step.
inline SlotResult whole(Device d, const SlotOp& op) {
  std::vector<Sequence> sequences;
  std::vector<std::size_t> rows;
  for (std::size_t s = 0; s < op.lengths.size(); ++s) {
    sequences.push_back({rows.size(), op.lengths[s], -1, static_cast<int>(s)});
    for (std::size_t i = 0; i < op.lengths[s]; ++i) rows.push_back(rows.size());
  }
  const Buffer state = op.states(d, op.lengths.size());
  SlotResult r;
  r.out = op.step(d, rows, state, sequences);
  r.states = get<float>(state);
  return r;
}

/// The same in steps of a few rows of some of the sequences, in any order, with rows of nobody and sequences without rows among
/// them: the same bytes.
inline void expect_cut_is_whole(Device d, Random& random, const SlotOp& op, const SlotResult& expected) {
  const std::size_t n = op.lengths.size(), slots = 2 * n + 1;
  const Buffer state = op.states(d, slots);
  std::vector<float> out(op.rows() * op.width, 77);
  std::vector<std::size_t> done(n), begin(n), order(n);
  std::vector<int> held(n, -1);
  for (std::size_t s = 0; s < n; ++s) order[s] = s, begin[s] = s ? begin[s - 1] + op.lengths[s - 1] : 0;
  while (done != op.lengths) {
    std::vector<int> to_take;
    for (int i = 0; i < static_cast<int>(slots); ++i)
      if (std::find(held.begin(), held.end(), i) == held.end()) to_take.push_back(i);
    std::shuffle(to_take.begin(), to_take.end(), random.engine);
    std::shuffle(order.begin(), order.end(), random.engine);
    std::vector<Sequence> sequences;
    std::vector<std::size_t> rows, whose;
    const auto nobodys = [&](std::size_t most) {
      for (std::size_t i = random.below(most + 1); i > 0; --i)
        rows.push_back(random.below(op.rows())), whose.push_back(n);
    };
    for (const std::size_t s : order) {
      if (done[s] == op.lengths[s] || random.below(3) == 0) continue;
      nobodys(2);
      const std::size_t count =
          std::min(op.lengths[s] - done[s], random.below(2) ? 1 + random.below(3) : random.below(20));
      sequences.push_back({rows.size(), count, held[s], to_take.back()});
      for (std::size_t i = 0; i < count; ++i) rows.push_back(begin[s] + done[s]++), whose.push_back(s);
      if (count > 0) held[s] = to_take.back();
      to_take.pop_back();
    }
    nobodys(1);
    const std::vector<float> y = op.step(d, rows, state, sequences);
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (whose[i] < n) std::copy_n(y.data() + i * op.width, op.width, out.data() + rows[i] * op.width);
  }
  expect_same(out, expected.out, "the rows of sequences cut into steps");
  for (std::size_t s = 0; s < n; ++s) {
    const auto at = expected.states.begin() + static_cast<std::ptrdiff_t>(s * op.slot.elements());
    expect_same(op.state_of(state, held[s]), {at, at + static_cast<std::ptrdiff_t>(op.slot.elements())},
                "the state of a sequence cut into steps");
  }
}

/// Sequences that go on from one state, with `rows` and without: the state that they read is left as it was.
inline void expect_state_is_shared(Device d, const SlotOp& op) {
  const std::size_t n = op.rows(), half = n / 2;
  const Buffer state = op.states(d, 4);
  std::vector<std::size_t> before, after;
  for (std::size_t i = 0; i < n; ++i) (i < half ? before : after).push_back(i);
  op.step(d, before, state, {{0, half, -1, 2}});
  const std::vector<float> kept = op.state_of(state, 2), unused = op.state_of(state, 3);
  std::vector<std::size_t> twice = after;
  twice.insert(twice.end(), after.begin(), after.end());
  const std::size_t rest = n - half;
  const std::vector<float> y = op.step(d, twice, state, {{0, rest, 2, 0}, {rest, rest, 2, 1}, {0, 0, 2, 3}});
  expect_same({y.begin(), y.begin() + static_cast<std::ptrdiff_t>(rest * op.width)},
              {y.begin() + static_cast<std::ptrdiff_t>(rest * op.width), y.end()}, "two that go on from one state");
  expect_same(op.state_of(state, 0), op.state_of(state, 1), "their states");
  expect_same(op.state_of(state, 2), kept, "the state that both read");
  expect_same(op.state_of(state, 3), unused, "the slot of a sequence without rows");
}

/// Slots and rows that are not there make the command buffer fail, and nothing is written. The op has one sequence.
inline void expect_bad_slots_fail(Device d, const SlotOp& op) {
  const std::size_t n = op.rows();
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < n; ++i) rows.push_back(i);
  const auto failure_of = [&](const Sequence& s) {
    const Buffer state = op.states(d, 3), out = put(d, {n, op.width}, std::vector<float>(n * op.width, 77));
    const std::vector<float> before = get<float>(state);
    const std::string said =
        failure(d, [&](CommandEncoder& e) { return op.record(e, d, rows, state, out, batch_of(d, {s})); });
    if (said != "succeeded") {
      EXPECT_EQ(get<float>(out), std::vector<float>(n * op.width, 77));
      expect_same(get<float>(state), before, "states");
    }
    return said;
  };
  constexpr auto minus = [](std::size_t x) { return std::size_t{0} - x; };
  EXPECT_EQ(failure_of({0, n, -1, 2}), "succeeded");
  EXPECT_NE(failure_of({0, n, 1, 3}).find("slot 1 and written to slot 3"), std::string::npos);
  EXPECT_NE(failure_of({0, n, 3, 1}).find("slot 3 and written to slot 1"), std::string::npos);
  EXPECT_NE(failure_of({0, n, -2, 1}).find("slot -2"), std::string::npos);
  EXPECT_NE(failure_of({0, n, 0, -1}).find("slot -1"), std::string::npos);
  EXPECT_NE(failure_of({0, n, 1, 1}).find("slot 1 and written to slot 1"), std::string::npos);
  EXPECT_NE(failure_of({1, n, -1, 1}).find("rows 1 and on"), std::string::npos);
  EXPECT_NE(failure_of({n + 1, 1, -1, 1}).find("not among the step's"), std::string::npos);
  EXPECT_NE(failure_of({0, minus(1), -1, 1}).find("rows 0 and on"), std::string::npos);
  EXPECT_NE(failure_of({minus(1), 1, -1, 1}).find("rows -1 and on"), std::string::npos);
}

/// What all ops over a SlotBatch refuse of it.
inline void expect_batch_checked(Device d, std::string_view op,
                                 const std::function<Result<void>(CommandEncoder&, const SlotBatch&)>& record) {
  const SlotBatch good = batch_of(d, {{0, 1, -1, 0}, {1, 1, -1, 1}});
  const auto ids = [&](Shape s) { return put(d, s, std::vector<std::int32_t>(s.elements())); };
  const auto floats = [&](Shape s) { return put(d, s, std::vector<float>(s.elements())); };
  const auto refused = [&](const Buffer& spans, const Buffer& from, const Buffer& to,
                           std::initializer_list<std::string_view> parts) {
    expect_refused([&](CommandEncoder& e) { return record(e, {spans, from, to}); }, d, parts);
  };
  refused(Buffer(), good.from, good.to, {op, "spans: expected i32, got a null buffer"});
  refused(good.spans, Buffer(), good.to, {op, "from: expected i32, got a null buffer"});
  refused(good.spans, good.from, Buffer(), {op, "to: expected i32, got a null buffer"});
  refused(ids({8}), good.from, good.to, {op, "spans: expected 2 axes, got [8]"});
  refused(ids({2, 3}), good.from, good.to, {op, "spans: expected [2, 4], got [2, 3]"});
  refused(floats({2, 4}), good.from, good.to, {op, "spans: expected i32, got f32 [2, 4]"});
  refused(good.spans, ids({3}), good.to, {op, "from: expected [2], got [3]"});
  refused(good.spans, good.from, ids({1}), {op, "to: expected [2], got [1]"});
  refused(good.spans, good.from, floats({2}), {op, "to: expected i32, got f32 [2]"});
}

}  // namespace halyard::ops::testing

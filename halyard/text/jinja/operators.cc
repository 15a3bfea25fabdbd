#include "halyard/text/jinja/operators.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "halyard/text/jinja/format.h"
#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {
namespace {

using Int = std::int64_t;

[[noreturn]] void overflow() { raise("integer overflow: the result is beyond 64 bits", Errc::limit_exceeded); }

Int add(Int a, Int b) {
  Int r;
  if (__builtin_add_overflow(a, b, &r)) overflow();
  return r;
}
Int subtract(Int a, Int b) {
  Int r;
  if (__builtin_sub_overflow(a, b, &r)) overflow();
  return r;
}
Int multiply(Int a, Int b) {
  Int r;
  if (__builtin_mul_overflow(a, b, &r)) overflow();
  return r;
}

// rounds towards minus infinity, as Python does
Int floor_divide(Int a, Int b) {
  if (b == 0) raise("integer division or modulo by zero");
  if (b == -1) return subtract(0, a);
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}
Int modulo(Int a, Int b) { return b == -1 ? 0 : a - floor_divide(a, b) * b; }

double modulo(double a, double b) {
  if (b == 0) raise("float modulo by zero");
  const double r = std::fmod(a, b);
  if (r == 0) return std::copysign(0.0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

Int power(Int base, Int exponent) {
  Int result = 1;
  while (exponent > 0) {
    if (exponent & 1) result = multiply(result, base);
    exponent >>= 1;
    if (exponent > 0) base = multiply(base, base);
  }
  return result;
}

Value power(const Value& a, const Value& b) {
  const auto x = a.integer(), y = b.integer();
  if (x && y && *y >= 0) {
    if (*x == 0 || *x == 1) return Value(*y == 0 ? Int{1} : *x);
    if (*x == -1) return Value(*y % 2 ? Int{-1} : Int{1});
    return Value(power(*x, *y));
  }
  if (*a.number() == 0 && *b.number() < 0) raise("0.0 cannot be raised to a negative power");
  const double r = std::pow(*a.number(), *b.number());
  if (std::isnan(r) && *a.number() < 0) raise("complex numbers are not supported");
  return Value(r);
}

Value of_numbers(Op op, const Value& a, const Value& b) {
  if (op == Op::power) return power(a, b);
  const auto x = a.integer(), y = b.integer();
  if (x && y && op != Op::divide) {
    switch (op) {
      case Op::add: return Value(add(*x, *y));
      case Op::subtract: return Value(subtract(*x, *y));
      case Op::multiply: return Value(multiply(*x, *y));
      case Op::floor_divide: return Value(floor_divide(*x, *y));
      default: return Value(modulo(*x, *y));
    }
  }
  const double p = *a.number(), q = *b.number();
  switch (op) {
    case Op::add: return Value(p + q);
    case Op::subtract: return Value(p - q);
    case Op::multiply: return Value(p * q);
    case Op::modulo: return Value(modulo(p, q));
    default: break;
  }
  if (q == 0) raise("division by zero");
  return Value(op == Op::divide ? p / q : std::floor((p - modulo(p, q)) / q + 0.5));
}

Value repeat(Interpreter& in, const Value& v, Int times) {
  const auto n = static_cast<std::size_t>(std::max<Int>(times, 0));
  const auto too_long = [](std::size_t size, std::size_t count, std::size_t limit) { return size > 0 && count > limit / size; };
  if (const auto* s = v.text()) {
    if (too_long(s->size(), n, max_text)) raise("repeats a string to more than 64 MiB", Errc::limit_exceeded);
    Builder out(in.budget);
    if (s->size() == 1) return in.text(out.add(n, s->front()).take());
    for (std::size_t i = 0; i < n && !s->empty(); ++i) {
      if (i % 8 == 0) in.budget.step();
      out.add(*s);
    }
    return in.text(out.take());
  }
  const auto& items = v.sequence()->items;
  if (too_long(items.size(), n, 1'000'000)) raise("repeats a list to more than a million items", Errc::limit_exceeded);
  in.budget.bytes(items.size() * n * sizeof(Value));
  std::vector<Value> out;
  for (std::size_t i = 0; i < n && !items.empty(); ++i) out.insert(out.end(), items.begin(), items.end());
  return in.list(std::move(out), v.sequence()->flavor);
}

bool is_list(const Value& v) {
  const auto* s = v.sequence();
  return s && (s->flavor == Flavor::list || s->flavor == Flavor::tuple);
}

constexpr std::string_view symbol(Op op) {
  constexpr std::string_view symbols[] = {"+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return symbols[static_cast<int>(op)];
}

}  // namespace

Value binary(Interpreter& in, Op op, const Value& a, const Value& b) {
  if (op == Op::modulo && a.is_text()) return in.text(percent_format(in.budget, *a.text(), b));
  require_defined(a);
  require_defined(b);
  if (a.number() && b.number()) return of_numbers(op, a, b);
  if (op == Op::add && a.is_text() && b.is_text()) {
    Builder out(in.budget);
    out.add(*a.text()).add(*b.text());
    return in.text(out.take());
  }
  if (op == Op::add && is_list(a) && is_list(b) && a.sequence()->flavor == b.sequence()->flavor) {
    const std::size_t count = a.sequence()->items.size() + b.sequence()->items.size();
    in.budget.room_for(count * sizeof(Value));
    std::vector<Value> items;
    items.reserve(count);
    items = a.sequence()->items;
    items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
    return in.list(std::move(items), a.sequence()->flavor);
  }
  if (op == Op::multiply) {
    if ((a.is_text() || is_list(a)) && b.integer()) return repeat(in, a, *b.integer());
    if ((b.is_text() || is_list(b)) && a.integer()) return repeat(in, b, *a.integer());
  }
  if (op == Op::add && a.is_text()) raise(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
  raise(fmt::format("unsupported operand types for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

Value negative(const Value& v) {
  require_defined(v);
  if (const auto i = v.integer()) return Value(subtract(0, *i));
  if (const auto* d = v.real()) return Value(-*d);
  raise(fmt::format("bad operand type for unary -: '{}'", type_name(v)));
}

Value positive(const Value& v) {
  require_defined(v);
  if (const auto i = v.integer()) return Value(*i);
  if (v.is_real()) return v;
  raise(fmt::format("bad operand type for unary +: '{}'", type_name(v)));
}

bool contains(Interpreter& in, const Value& container, const Value& item) {
  if (const auto* s = container.text()) {
    in.budget.step(s->size() / 64);
    return s->find(require_text(item, "the left operand of 'in <string>'")) != s->npos;
  }
  if (const auto* m = container.mapping()) return find(in.budget, *m, item) != nullptr;
  const auto items = in.items_of(container);
  return std::any_of(items->items.begin(), items->items.end(), [&](const Value& v) { return equal(in.budget, v, item); });
}

bool compare(Interpreter& in, Op op, const Value& a, const Value& b) {
  const auto ordered = [&] {  // false for NaN, which has no order
    const auto x = a.number(), y = b.number();
    return !(x && y && (std::isnan(*x) || std::isnan(*y)));
  };
  switch (op) {
    case Op::eq: return equal(in.budget, a, b);
    case Op::ne: return !equal(in.budget, a, b);
    case Op::lt: return less(in.budget, a, b);
    case Op::gt: return less(in.budget, b, a);
    case Op::le: return !less(in.budget, b, a) && ordered();
    case Op::ge: return !less(in.budget, a, b) && ordered();
    case Op::in: return contains(in, b, a);
    default: return !contains(in, b, a);
  }
}

std::optional<Value> element(Interpreter& in, const Value& object, Int i) {
  if (const auto* s = object.sequence()) {
    if (s->flavor != Flavor::list && s->flavor != Flavor::tuple && s->flavor != Flavor::range) return std::nullopt;
    const auto n = static_cast<Int>(s->items.size());
    if (i < -n || i >= n) return std::nullopt;
    return s->items[static_cast<std::size_t>(i < 0 ? i + n : i)];
  }
  if (const auto* s = object.text()) {
    in.budget.step(s->size() / 16);
    const auto n = static_cast<Int>(length(*s));
    if (i < -n || i >= n) return std::nullopt;
    const std::size_t at = byte_of(*s, static_cast<std::size_t>(i < 0 ? i + n : i));
    return in.text(s->substr(at, char_bytes(*s, at)));
  }
  if (const auto* group = dynamic_cast<const Group*>(object.object())) {
    if (i == 0 || i == -2) return group->grouper;
    if (i == 1 || i == -1) return group->list;
  }
  return std::nullopt;
}

Value slice(Interpreter& in, const Value& object, const Value& start, const Value& stop, const Value& step) {
  require_defined(object);
  const auto* seq = object.sequence();
  if (!object.is_text() && !(seq && (is_list(object) || seq->flavor == Flavor::range)))
    return make_undefined(fmt::format("{} object cannot be sliced", type_name(object)));
  std::vector<std::string_view> chars;
  if (const auto* s = object.text()) {
    in.budget.step(s->size() / 16);
    in.budget.bytes(s->size());
    in.budget.room_for(s->size() * sizeof(std::string_view));
    chars = characters(*s);
  }
  const Int n = static_cast<Int>(object.is_text() ? chars.size() : seq->items.size());
  const Int by = step.is_none() ? 1 : require_int(step, "a slice's step");
  if (by == 0) raise("slice step cannot be zero");
  const Int low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
  const auto bound = [&](const Value& v, Int otherwise) {
    if (v.is_none()) return otherwise;
    const Int i = require_int(v, "a slice's bound");
    return std::clamp(i < 0 ? (i < -n ? Int{-1} - n : i) + n : i, low, high);
  };
  const Int from = bound(start, by < 0 ? high : low), to = bound(stop, by < 0 ? low : high);
  std::string text;
  std::vector<Value> items;
  for (Int i = from; by > 0 ? i < to : i > to;) {
    if (seq) items.push_back(seq->items[static_cast<std::size_t>(i)]);
    else text += chars[static_cast<std::size_t>(i)];
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  if (!seq) return in.text(std::move(text));
  return in.list(std::move(items), seq->flavor == Flavor::range ? Flavor::list : seq->flavor);
}

Value make_range(Interpreter& in, Int start, Int stop, Int step) {
  constexpr std::uint64_t longest = 100'000;
  if (step == 0) raise("range() arg 3 must not be zero");
  const auto bits = [](Int i) { return static_cast<std::uint64_t>(i); };  // differences are exact modulo 2^64
  const std::uint64_t distance = step > 0 ? bits(stop) - bits(start) : bits(start) - bits(stop);
  const std::uint64_t stride = step > 0 ? bits(step) : 0 - bits(step);
  const bool empty = step > 0 ? stop <= start : stop >= start;
  const std::uint64_t count = empty ? 0 : (distance - 1) / stride + 1;
  if (count > longest) raise("range too big: the sandbox allows at most 100000 items", Errc::limit_exceeded);
  in.budget.bytes(count * sizeof(Value));
  in.budget.step(count / 8);
  Sequence empty_range;
  empty_range.items.reserve(count);
  auto range = make_held(in.budget, std::move(empty_range), count * sizeof(Value));
  range->flavor = Flavor::range;
  range->shown = step == 1 ? fmt::format("range({}, {})", start, stop) : fmt::format("range({}, {}, {})", start, stop, step);
  for (std::uint64_t i = 0; i < count; ++i) range->items.emplace_back(static_cast<Int>(bits(start) + bits(step) * i));
  return Value(std::shared_ptr<const Sequence>(std::move(range)));
}

}  // namespace halyard::jinja

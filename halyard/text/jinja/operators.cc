#include "halyard/text/jinja/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "halyard/text/jinja/format.h"
#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/search.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {
namespace {

using Int = std::int64_t;

// The double that takes an int into float arithmetic; Python refuses what is beyond its range.
double as_real(const Value& v) {
  const double d = *v.number();
  if (v.is_int() && std::isinf(d)) raise("int too large to convert to float", Errc::limit_exceeded);
  return d;
}

double modulo(double a, double b) {
  if (b == 0) raise("float modulo by zero");
  const double r = std::fmod(a, b);
  if (r == 0) return std::copysign(0.0, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

Value power(Budget& budget, BigInt base, Int exponent) {
  BigInt result(1);
  while (exponent > 0) {
    if (exponent & 1) {
      charge_integers(budget, result.bits(), base.bits(), result.bits() + base.bits());
      result = result * base;
    }
    exponent >>= 1;
    if (exponent == 0) break;
    charge_integers(budget, base.bits(), base.bits(), 2 * base.bits());
    base = base * base;
  }
  return make_int(budget, result);
}

Value power(Budget& budget, const Value& a, const Value& b) {
  const auto x = a.whole(), y = b.whole();
  if (x && y && !y->negative()) {
    if (x->bits() <= 1)
      return Value(y->zero() ? Int{1} : x->negative() && !y->odd() ? Int{1} : *x->small());  // of -1, 0, 1
    if (b.big()) raise("an integer power that is too large", Errc::limit_exceeded);
    return power(budget, *x, *b.integer());
  }
  const double p = as_real(a), q = as_real(b);
  if (p == 0 && q < 0) raise("0.0 cannot be raised to a negative power");
  const double r = std::pow(p, q);
  if (std::isnan(r) && p < 0) raise("complex numbers are not supported");
  if (std::isinf(r) && std::isfinite(p) && std::isfinite(q))
    raise("numerical result out of range", Errc::limit_exceeded);
  return Value(r);
}

Value of_integers(Budget& budget, Op op, const BigInt& x, const BigInt& y) {
  if (op == Op::add) return make_int(budget, x + y);
  if (op == Op::subtract) return make_int(budget, x - y);
  charge_integers(budget, x.bits(), y.bits(), op == Op::multiply ? x.bits() + y.bits() : 0);
  if (op == Op::multiply) return make_int(budget, x * y);
  if (y.zero()) raise(op == Op::divide ? "division by zero" : "integer division or modulo by zero");
  if (op == Op::divide) {
    const double d = true_divide(x, y);
    if (std::isinf(d)) raise("integer division result too large for a float", Errc::limit_exceeded);
    return Value(d);
  }
  const auto [quotient, rest] = floor_divide(x, y);
  return make_int(budget, op == Op::floor_divide ? quotient : rest);
}

// What is quick and cannot overflow; no value where it might.
std::optional<Int> of_small(Op op, Int a, Int b) {
  Int r = 0;
  switch (op) {
    case Op::add: return __builtin_add_overflow(a, b, &r) ? std::nullopt : std::optional(r);
    case Op::subtract: return __builtin_sub_overflow(a, b, &r) ? std::nullopt : std::optional(r);
    case Op::multiply: return __builtin_mul_overflow(a, b, &r) ? std::nullopt : std::optional(r);
    case Op::floor_divide:
    case Op::modulo: break;
    default: return std::nullopt;
  }
  if (b == 0 || b == -1) return std::nullopt;
  const bool down = a % b != 0 && (a % b < 0) != (b < 0);  // rounds towards minus infinity, as Python does
  return op == Op::floor_divide ? a / b - down : a % b + (down ? b : 0);
}

Value of_numbers(Budget& budget, Op op, const Value& a, const Value& b) {
  if (op == Op::power) return power(budget, a, b);
  if (const auto x = a.integer(), y = b.integer(); x && y)
    if (const auto r = of_small(op, *x, *y)) return Value(*r);
  if (!a.real() && !b.real()) return of_integers(budget, op, *a.whole(), *b.whole());
  const double p = as_real(a), q = as_real(b);
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

// + of texts; Markup escapes what it is added to.
Value joined(Interpreter& in, const Value& a, const Value& b) {
  const bool markup = a.is_markup() || b.is_markup();
  Builder out(in.budget);
  if (markup) out.add(*escaped(in.budget, a).text()).add(*escaped(in.budget, b).text());
  else out.add(*a.text()).add(*b.text());
  return markup ? in.text(out.take()).as_markup() : in.text(out.take());
}

Value repeat(Interpreter& in, const Value& v, Int times) {
  const auto n = static_cast<std::size_t>(std::max<Int>(times, 0));
  const auto too_long = [](std::size_t size, std::size_t count, std::size_t limit) {
    return size > 0 && count > limit / size;
  };
  if (const auto* s = v.text()) {
    if (too_long(s->size(), n, max_text)) raise("repeats a string to more than 64 MiB", Errc::limit_exceeded);
    return make_like(in.budget, v, Builder(in.budget).add(n, *s).take());
  }
  const auto& items = v.sequence()->items;
  if (too_long(items.size(), n, 1'000'000)) raise("repeats a list to more than a million items", Errc::limit_exceeded);
  in.budget.step(items.size() * n / 4);
  Grown<Value> out(in.budget, items.size() * n);
  for (std::size_t i = 0; i < n && !items.empty(); ++i)
    for (const Value& item : items) out.add(item);
  return in.list(out.take(), v.sequence()->flavor);
}

bool is_list(const Value& v) {
  const auto* s = v.sequence();
  return s && (s->flavor == Flavor::list || s->flavor == Flavor::tuple);
}

constexpr std::string_view symbol(Op op) {
  constexpr std::string_view symbols[] = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return symbols[static_cast<int>(op)];
}

}  // namespace

Value binary(Interpreter& in, Op op, const Value& a, const Value& b) {
  if (op == Op::modulo && a.is_text()) return make_like(in.budget, a, percent_format(in.budget, a, b));
  require_defined(a);
  require_defined(b);
  if (a.number() && b.number()) return of_numbers(in.budget, op, a, b);
  if (op == Op::add && a.is_text() && b.is_text()) return joined(in, a, b);
  if (op == Op::add && is_list(a) && is_list(b) && a.sequence()->flavor == b.sequence()->flavor) {
    const std::size_t count = a.sequence()->items.size() + b.sequence()->items.size();
    in.budget.step(count / 4);
    Grown<Value> items(in.budget, count);
    for (const Value* part : {&a, &b})
      for (const Value& item : part->sequence()->items) items.add(item);
    return in.list(items.take(), a.sequence()->flavor);
  }
  if (op == Op::multiply) {
    if ((a.is_text() || is_list(a)) && b.whole()) return repeat(in, a, require_int(b, "a repetition"));
    if ((b.is_text() || is_list(b)) && a.whole()) return repeat(in, b, require_int(a, "a repetition"));
  }
  if (op == Op::add && a.is_text()) raise(fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
  raise(fmt::format("unsupported operand types for {}: '{}' and '{}'", symbol(op), type_name(a), type_name(b)));
}

Value negative(Budget& budget, const Value& v) {
  require_defined(v);
  if (const auto i = v.integer(); i && *i != std::numeric_limits<Int>::min()) return Value(-*i);
  if (const auto i = v.whole()) return make_int(budget, -*i);
  if (const auto* d = v.real()) return Value(-*d);
  raise(fmt::format("bad operand type for unary -: '{}'", type_name(v)));
}

Value positive(const Value& v) {
  require_defined(v);
  if (const auto i = v.integer()) return Value(*i);
  if (v.is_real() || v.big()) return v;
  raise(fmt::format("bad operand type for unary +: '{}'", type_name(v)));
}

bool contains(Interpreter& in, const Value& container, const Value& item) {
  if (const auto* s = container.text()) {
    const std::string& part = require_text(item, "the left operand of 'in <string>'");
    in.budget.step((s->size() + part.size()) / 16);
    return find_first(*s, part) != s->npos;
  }
  if (const auto* m = container.mapping()) return find(in.budget, *m, item) != nullptr;
  const auto items = in.items_of(container);
  return std::any_of(items->items.begin(), items->items.end(),
                     [&](const Value& v) { return equal(in.budget, v, item); });
}

bool compare(Interpreter& in, Op op, const Value& a, const Value& b) {
  const auto ordered = [&] { return !(a.number() && b.number()) || compare_numbers(a, b); };  // NaN has no order
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
  if (const auto* o = object.object(); o && o->elements()) {
    const auto n = static_cast<Int>(o->elements()->size());
    if (i < -n || i >= n) return std::nullopt;
    return (*o->elements())[static_cast<std::size_t>(i < 0 ? i + n : i)];
  }
  if (const auto* s = object.text()) {
    in.budget.step(s->size() / 8);
    const auto n = static_cast<Int>(length(*s));
    if (i < -n || i >= n) return std::nullopt;
    const std::size_t at = byte_of(*s, static_cast<std::size_t>(i < 0 ? i + n : i));
    return make_like(in.budget, object, s->substr(at, char_bytes(*s, at)));
  }
  return std::nullopt;
}

bool can_slice(const Value& object) {
  const auto* seq = object.sequence();
  return object.is_text() || (seq && (is_list(object) || seq->flavor == Flavor::range));
}

Value slice(Interpreter& in, const Value& object, const Value& start, const Value& stop, const Value& step) {
  require_defined(object);
  const auto* seq = object.sequence();
  if (!can_slice(object)) raise(fmt::format("'{}' object is not subscriptable", type_name(object)));
  const std::string_view s = seq ? std::string_view() : *object.text();
  in.budget.step(s.size() / 8);
  const Int n = static_cast<Int>(seq ? seq->items.size() : length(s));
  const Int by = step.is_none() ? 1 : require_int(step, "a slice's step");
  if (by == 0) raise("slice step cannot be zero");
  const Int low = by < 0 ? -1 : 0, high = by < 0 ? n - 1 : n;
  const auto bound = [&](const Value& v, Int otherwise) {
    if (v.is_none()) return otherwise;
    const auto* beyond = v.big();  // as good as the end
    const Int i = !beyond ? require_int(v, "a slice's bound") : beyond->negative() ? -n - 1 : n;
    return std::clamp(i < 0 ? (i < -n ? Int{-1} - n : i) + n : i, low, high);
  };
  const Int from = bound(start, by < 0 ? high : low), to = bound(stop, by < 0 ? low : high);
  const auto more = [&](Int i) { return by > 0 ? i < to : i > to; };
  if (seq && seq->flavor == Flavor::range) {
    const auto place = [&](Int i) {
      if (__builtin_mul_overflow(i, seq->step, &i) || __builtin_add_overflow(i, seq->start, &i))
        raise("a slice of a range ends beyond 64 bits", Errc::limit_exceeded);
      return i;
    };
    Int stride = 0;
    if (__builtin_mul_overflow(seq->step, by, &stride)) raise("a slice's step is too large", Errc::limit_exceeded);
    return make_range(in, place(from), place(to), stride);
  }
  if (seq) {
    Grown<Value> items(in.budget);
    for (Int i = from; more(i);) {
      items.add(seq->items[static_cast<std::size_t>(i)]);
      if (__builtin_add_overflow(i, by, &i)) break;
    }
    in.budget.step(items.size() / 4);
    return in.list(items.take(), seq->flavor);
  }
  if (!more(from)) return make_like(in.budget, object, "");
  Builder out(in.budget);
  std::size_t at = byte_of(s, static_cast<std::size_t>(from));
  if (by == 1) {
    out.add(s.substr(at, byte_of(s.substr(at), static_cast<std::size_t>(to - from))));
    return make_like(in.budget, object, out.take());
  }
  in.budget.step(s.size() / 2);
  for (Int i = from; more(i);) {
    out.add(s.substr(at, char_bytes(s, at)));
    if (__builtin_add_overflow(i, by, &i) || !more(i)) break;
    if (by > 0) at += byte_of(s.substr(at), static_cast<std::size_t>(by));
    else
      for (Int k = by; k < 0; ++k) at = last_char(s.substr(0, at));
  }
  return make_like(in.budget, object, out.take());
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
  in.budget.step(count / 4);
  Sequence empty_range;
  empty_range.items.reserve(count);
  auto range = make_held(in.budget, std::move(empty_range), count * sizeof(Value));
  range->flavor = Flavor::range;
  range->start = start;
  range->stop = stop;
  range->step = step;
  for (std::uint64_t i = 0; i < count; ++i) range->items.emplace_back(static_cast<Int>(bits(start) + bits(step) * i));
  return Value(std::shared_ptr<const Sequence>(std::move(range)));
}

}  // namespace halyard::jinja

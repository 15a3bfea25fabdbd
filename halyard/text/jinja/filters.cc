// What may follow a pipe.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <random>

#include <fmt/format.h>

#include "halyard/text/jinja/builtins.h"
#include "halyard/text/jinja/format.h"
#include "halyard/text/jinja/operators.h"
#include "halyard/text/jinja/text_filters.h"
#include "halyard/text/jinja/text_ops.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {
namespace {

using Int = std::int64_t;

Value self_text(Call& c) { return to_text(c.in.budget, c.self); }
Value like_self(Call& c, std::string s) { return make_like(c.in.budget, c.self, std::move(s)); }
bool given(Call& c, std::size_t i) { return !c.args[i].is_missing(); }
bool flag(Call& c, std::size_t i) { return given(c, i) && truthy(c.args[i]); }
Int int_arg(Call& c, std::size_t i, Int otherwise) {
  return given(c, i) ? require_int(c.args[i], "a filter's argument") : otherwise;
}
Value count(std::size_t n) { return Value(static_cast<Int>(n)); }

// --- attributes and keys of items

// "a.b.0": each part a key, a number where it is all digits.
std::vector<Value> attribute_path(Call& c, const Value& attribute) {
  if (attribute.is_missing() || attribute.is_none()) return {};
  if (!attribute.is_text()) return {attribute};
  std::vector<Value> path;
  for (const auto part : split_text(c.in.budget, *attribute.text(), ".", -1)) {
    Int index = 0;
    const auto end = part.data() + part.size();
    c.in.budget.step(8);
    const bool number = !part.empty() && is_digit(static_cast<unsigned char>(part[0])) &&
                        std::from_chars(part.data(), end, index).ptr == end;
    path.push_back(number ? Value(index) : c.in.text(std::string(part)));
  }
  return path;
}

Value follow(Call& c, Value item, const std::vector<Value>& path, const Value& otherwise = {}) {
  for (const Value& key : path) {
    item = c.in.item(item, key);
    if (item.is_undefined() && !otherwise.is_missing() && !otherwise.is_none()) item = otherwise;
  }
  return item;
}

Value ignoring_case(Call& c, Value v, bool case_sensitive) {
  if (case_sensitive || !v.is_text()) return v;
  c.in.budget.step(v.text()->size());
  Builder out(c.in.budget);
  lower(out, *v.text());
  return c.in.text(out.take());
}

// Items with what they are sorted, grouped or told apart by.
struct Keyed {
  Value key, item;
};

Grown<Keyed> keyed(Call& c, const std::vector<Value>& items, const Value& attribute, bool case_sensitive,
                   const Value& otherwise = {}) {
  const auto path = attribute_path(c, attribute);
  Grown<Keyed> out(c.in.budget, items.size());
  for (const Value& item : items) {
    c.in.budget.step(2);
    out.add({ignoring_case(c, follow(c, item, path, otherwise), case_sensitive), item});
  }
  return out;
}

// std::stable_sort could run astray on a comparison that throws or is inconsistent (NaN); merging cannot.
template <class Less> void merge_sort(Budget& budget, std::vector<Keyed>& v, Less before) {
  const Held held(budget, v.size() * sizeof(Keyed));
  std::vector<Keyed> other(v.size());
  for (std::size_t width = 1; width < v.size(); width *= 2) {
    for (std::size_t start = 0; start < v.size(); start += 2 * width) {
      std::size_t a = start, b = std::min(start + width, v.size()), out = start;
      const std::size_t a_end = b, b_end = std::min(start + 2 * width, v.size());
      while (a < a_end && b < b_end) other[out++] = before(v[b], v[a]) ? std::move(v[b++]) : std::move(v[a++]);
      while (a < a_end) other[out++] = std::move(v[a++]);
      while (b < b_end) other[out++] = std::move(v[b++]);
    }
    v.swap(other);
  }
}

// The items in the order of their keys. `in_lists`: the keys are compared as lists of one: equal ones need no order.
std::vector<Keyed> sorted(Call& c, Grown<Keyed> unsorted, bool reverse, bool in_lists = false) {
  std::vector<Keyed> items = unsorted.take();
  const Held held(c.in.budget, items.capacity() * sizeof(Keyed));
  merge_sort(c.in.budget, items, [&](const Keyed& a, const Keyed& b) {
    const Value &x = reverse ? b.key : a.key, &y = reverse ? a.key : b.key;
    return !(in_lists && equal(c.in.budget, x, y)) && less(c.in.budget, x, y);
  });
  return items;
}

Value items_only(Call& c, std::vector<Keyed> keyed_items) {
  const Held held(c.in.budget, keyed_items.capacity() * sizeof(Keyed));
  Grown<Value> out(c.in.budget, keyed_items.size());
  for (Keyed& k : keyed_items) out.add(std::move(k.item));
  return c.in.list(out.take());
}

Value sort(Call& c) {
  const auto all = c.in.items_of(c.self);
  const bool several = given(c, 2) && c.args[2].is_text() && c.args[2].text()->find(',') != std::string::npos;
  if (!several) return items_only(c, sorted(c, keyed(c, all->items, c.args[2], flag(c, 1)), flag(c, 0), true));
  Grown<Keyed> items(c.in.budget, all->items.size());
  Grown<std::vector<Value>> paths(c.in.budget);
  for (const auto part : split_text(c.in.budget, *c.args[2].text(), ",", -1))
    paths.add(attribute_path(c, c.in.text(std::string(part))));
  for (const Value& item : all->items) {
    std::vector<Value> keys;
    for (const auto& path : paths) keys.push_back(ignoring_case(c, follow(c, item, path), flag(c, 1)));
    items.add({c.in.list(std::move(keys)), item});
  }
  return items_only(c, sorted(c, std::move(items), flag(c, 0)));
}

Value dictsort(Call& c) {
  require_defined(c.self);
  if (!c.self.mapping()) raise(fmt::format("dictsort expects a mapping, not {}", type_name(c.self)));
  const std::string by = given(c, 1) ? require_text(c.args[1], "dictsort's 'by'") : "key";
  if (by != "key" && by != "value") raise("dictsort sorts by 'key' or 'value'");
  Grown<Keyed> items(c.in.budget, c.self.mapping()->entries.size());
  for (const auto& [key, value] : c.self.mapping()->entries)
    items.add({ignoring_case(c, by == "key" ? key : value, flag(c, 0)), c.in.list({key, value}, Flavor::tuple)});
  return items_only(c, sorted(c, std::move(items), flag(c, 2)));
}

Value unique(Call& c) {
  const auto all = c.in.items_of(c.self);
  Grown<Value> seen(c.in.budget), out(c.in.budget);
  auto items = keyed(c, all->items, c.args[1], flag(c, 0));
  for (Keyed& k : items) {
    if (!hashable(c.in.budget, k.key)) raise(fmt::format("unhashable type: '{}'", type_name(k.key)));
    const bool known =
        std::any_of(seen.begin(), seen.end(), [&](const Value& v) { return equal(c.in.budget, v, k.key); });
    if (known) continue;
    seen.add(std::move(k.key));
    out.add(std::move(k.item));
  }
  return c.in.generator(out.take());
}

template <bool want_max> Value extreme(Call& c) {
  const auto all = c.in.items_of(c.self);
  auto items = keyed(c, all->items, c.args[1], flag(c, 0));
  if (items.empty()) return make_undefined(c.in.budget, "no aggregated item, sequence was empty");
  std::size_t best = 0;
  for (std::size_t i = 1; i < items.size(); ++i)
    if (want_max ? less(c.in.budget, items[best].key, items[i].key) : less(c.in.budget, items[i].key, items[best].key))
      best = i;
  return items[best].item;
}

Value groupby(Call& c) {
  const auto all = c.in.items_of(c.self);
  const bool case_sensitive = flag(c, 2);
  const auto items = sorted(c, keyed(c, all->items, c.args[0], case_sensitive, c.args[1]), false);
  const Held held(c.in.budget, items.capacity() * sizeof(Keyed));
  const auto path = attribute_path(c, c.args[0]);
  Grown<Value> groups(c.in.budget);
  for (std::size_t i = 0; i < items.size();) {
    const std::size_t start = i;
    Grown<Value> members(c.in.budget);
    for (; i < items.size() && equal(c.in.budget, items[i].key, items[start].key); ++i) members.add(items[i].item);
    if (members.empty()) members.add(items[i++].item);  // a key that does not equal itself
    Value key = case_sensitive ? items[start].key : follow(c, items[start].item, path, c.args[1]);
    groups.add(make_group(c.in.budget, std::move(key), c.in.list(members.take())));
  }
  return c.in.list(groups.take());
}

Value sum(Call& c) {
  Value total = given(c, 1) ? c.args[1] : Value(Int{0});
  const auto path = attribute_path(c, c.args[0]);
  const auto all = c.in.items_of(c.self);
  for (const Value& item : all->items) {
    c.in.budget.step();
    total = binary(c.in, Op::add, total, follow(c, item, path));
  }
  return total;
}

// --- map, select, reject

// Jinja gives nothing for anything false, none too.
std::shared_ptr<const Sequence> items_if_any(Call& c) {
  return truthy(c.self) ? c.in.items_of(c.self) : c.in.list({}).shared_sequence();
}

Value map(Call& c) {
  const auto all = items_if_any(c);
  Grown<Value> out(c.in.budget, all->items.size());
  auto& rest = c.rest;
  if (rest.positional.empty()) {
    Value attribute, otherwise;
    for (auto& [name, value] : rest.named) {
      if (name == "attribute") attribute = value;
      else if (name == "default") otherwise = value;
      else raise(fmt::format("filter 'map' takes no keyword argument '{}'", name));
    }
    if (attribute.is_missing()) raise("filter 'map' needs a filter's name or attribute=");
    const auto path = attribute_path(c, attribute);
    for (const Value& item : all->items) {
      c.in.budget.step();
      out.add(follow(c, item, path, otherwise));
    }
    return c.in.generator(out.take());
  }
  const std::string name = require_text(rest.positional[0], "map's filter");
  const auto* filter = find_builtin(filters(), name);
  if (!filter) raise(fmt::format("no filter named '{}'", name));
  rest.positional.erase(rest.positional.begin());
  const auto nesting = c.in.nest();
  const std::string what = fmt::format("filter '{}'", name);
  for (const Value& item : all->items) out.add(run_builtin(c.in, *filter, item, rest, what));
  return c.in.generator(out.take());
}

// Keeps the items (or those whose attribute) for which the test, or truth itself, is `wanted`.
template <bool wanted, bool by_attribute> Value select(Call& c) {
  const auto all = items_if_any(c);
  auto& rest = c.rest;
  std::vector<Value> path;
  if (by_attribute) {
    if (rest.positional.empty()) raise("needs the name of an attribute");
    path = attribute_path(c, rest.positional[0]);
    rest.positional.erase(rest.positional.begin());
  }
  const Builtin* test = nullptr;
  if (!rest.positional.empty()) {
    const std::string name = require_text(rest.positional[0], "the name of a test");
    test = find_builtin(tests(), name);
    if (!test) raise(fmt::format("no test named '{}'", name));
    rest.positional.erase(rest.positional.begin());
  }
  Grown<Value> out(c.in.budget);
  const std::string what = test ? fmt::format("test '{}'", test->name) : "";
  for (const Value& item : all->items) {
    c.in.budget.step();
    const Value v = follow(c, item, path);
    const bool holds = truthy(test ? run_builtin(c.in, *test, v, rest, what) : v);
    if (holds == wanted) out.add(item);
  }
  return c.in.generator(out.take());
}

// --- lists

std::size_t size_of(Call& c) {
  const Value& v = c.self;
  if (v.is_undefined()) return 0;
  if (const auto* s = v.text()) return length(*s);
  if (const auto* s = v.sequence()) return s->items.size();
  if (const auto* m = v.mapping()) return m->entries.size();
  if (const auto* o = v.object(); o && o->elements()) return o->elements()->size();
  raise(fmt::format("object of type '{}' has no length", type_name(v)));
}

Value first(Call& c) {
  if (auto* g = dynamic_cast<Generator*>(c.self.object()); g && g->next < g->items.size()) return g->items[g->next++];
  if (const auto* s = c.self.text(); s && !s->empty()) return c.in.text(s->substr(0, char_bytes(*s, 0)));
  const auto all = c.in.items_of(c.self);
  return all->items.empty() ? make_undefined(c.in.budget, "no first item, sequence was empty") : all->items.front();
}

Value last(Call& c) {
  if (c.self.object() && !c.self.object()->elements())
    raise(fmt::format("'{}' object is not reversible", type_name(c.self)));
  const auto all = c.in.items_of(c.self);
  if (c.self.is_markup() && !all->items.empty()) return all->items.back().as_markup();  // reversed() asks for elements
  return all->items.empty() ? make_undefined(c.in.budget, "no last item, sequence was empty") : all->items.back();
}

Value list(Call& c) {
  const auto all = c.in.items_of(c.self);
  if (all->flavor == Flavor::list) return Value(all);
  Grown<Value> out(c.in.budget, all->items.size());
  for (const Value& v : all->items) out.add(v);
  return c.in.list(out.take());
}

Value random_item(Call& c) {
  const std::size_t n = size_of(c);
  if (n == 0) return make_undefined(c.in.budget, "no random item, sequence was empty");
  const auto i = std::uniform_int_distribution<std::size_t>(0, n - 1)(c.in.random());
  const auto item = element(c.in, c.self, static_cast<Int>(i));
  if (!item) raise(fmt::format("'{}' object has no elements to choose from", type_name(c.self)));
  return *item;
}

Value reverse(Call& c) {
  if (c.self.is_text()) {
    const Value none = None{};
    return slice(c.in, c.self, none, none, Value(Int{-1}));
  }
  const auto all = c.in.items_of(c.self);
  Grown<Value> out(c.in.budget, all->items.size());
  for (auto it = all->items.rbegin(); it != all->items.rend(); ++it) out.add(*it);
  return c.in.generator(out.take());
}

Value join(Call& c) {
  const auto path = attribute_path(c, c.args[1]);
  const auto all = c.in.items_of(c.self);
  Grown<Value> items(c.in.budget, all->items.size());
  for (const Value& item : all->items) items.add(follow(c, item, path));
  const Value separator = given(c, 0) ? c.args[0] : c.in.text("");
  // Where nothing is escaped by itself, Markup joins as any text does.
  const bool markup =
      c.in.autoescape &&
      (separator.is_markup() || std::any_of(items.begin(), items.end(), [](const Value& v) { return v.is_markup(); }));
  const auto piece = [&](const Value& v) { return markup ? escaped(c.in.budget, v) : to_text(c.in.budget, v); };
  const Value between = piece(separator);
  Builder out(c.in.budget);
  bool is_first = true;
  for (const Value& item : items) {
    c.in.budget.step();
    if (!std::exchange(is_first, false)) out.add(*between.text());
    out.add(*piece(item).text());
  }
  return markup ? c.in.text(out.take()).as_markup() : c.in.text(out.take());
}

Value batch(Call& c) {
  const auto size = static_cast<std::size_t>(std::max<Int>(require_int(c.args[0], "batch's size"), 1));
  const auto all = c.in.items_of(c.self);
  const bool fill = given(c, 1) && !c.args[1].is_none();
  Grown<Value> out(c.in.budget, (all->items.size() + size - 1) / size);
  for (std::size_t i = 0; i < all->items.size(); i += std::min(size, all->items.size() - i)) {
    const std::size_t n = std::min(size, all->items.size() - i), whole = fill ? size : n;
    c.in.budget.step(2 + whole / 4);
    Grown<Value> row(c.in.budget, whole);
    for (std::size_t k = 0; k < whole; ++k) row.add(k < n ? all->items[i + k] : c.args[1]);
    out.add(c.in.list(row.take()));
  }
  return c.in.generator(out.take());
}

Value slice_evenly(Call& c) {
  const Int slices = require_int(c.args[0], "slice's count");
  if (slices == 0) raise("integer division or modulo by zero");
  const auto all = c.in.items_of(c.self);
  const auto n = static_cast<Int>(all->items.size());
  const bool fill = given(c, 1) && !c.args[1].is_none();
  Grown<Value> out(c.in.budget);
  std::size_t at = 0;
  for (Int i = 0; i < slices; ++i) {
    const auto size = static_cast<std::size_t>(n / slices + (i < n % slices));
    c.in.budget.step(2 + size / 4);
    Grown<Value> part(c.in.budget, size + fill);
    for (std::size_t k = 0; k < size; ++k) part.add(all->items[at++]);
    if (fill && i >= n % slices) part.add(c.args[1]);
    out.add(c.in.list(part.take()));
  }
  return c.in.generator(out.take());
}

Value items(Call& c) {
  if (c.self.is_undefined()) return c.in.generator({});
  if (!c.self.mapping()) raise("can only get item pairs from a mapping");
  Grown<Value> out(c.in.budget, c.self.mapping()->entries.size());
  for (const auto& [key, value] : c.self.mapping()->entries) out.add(c.in.list({key, value}, Flavor::tuple));
  return c.in.generator(out.take());
}

// --- numbers

Value absolute(Call& c) {
  require_defined(c.self);
  if (const auto i = c.self.whole()) return i->negative() ? negative(c.in.budget, c.self) : positive(c.self);
  if (const auto* d = c.self.real()) return Value(std::fabs(*d));
  raise(fmt::format("bad operand type for abs(): '{}'", type_name(c.self)));
}

// The digits of a number in Python's syntax, without the underscores between them.
std::optional<std::string> plain_number(std::string_view s) {
  std::string out;
  s = strip(s);
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '_') out += s[i];
    else if (i == 0 || i + 1 == s.size() || !std::isalnum(static_cast<unsigned char>(s[i - 1])) ||
             !std::isalnum(static_cast<unsigned char>(s[i + 1])))
      return std::nullopt;
  }
  return out;
}

std::optional<BigInt> parse_int(Budget& budget, std::string_view s, Int base) {
  const auto plain = plain_number(s);
  if (!plain || base < 0 || base == 1 || base > 36) return std::nullopt;
  std::string_view digits = *plain;
  const bool minus = digits.starts_with('-');
  if (minus || digits.starts_with('+')) digits.remove_prefix(1);
  const auto prefix = digits.size() > 2 && digits[0] == '0' ? digits[1] | 0x20 : 0;
  const Int own = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 0;
  if (own && (base == own || base == 0)) digits.remove_prefix(2);
  if (base == 0) base = own ? own : 10;
  if (digits.size() > max_digits) return std::nullopt;  // in Python not where the base is a power of two
  charge_integers(budget, digits.size() * 4, digits.size() * 4, 0);
  const auto n = BigInt::parse(digits, static_cast<unsigned>(base));
  return n && minus ? -*n : n;
}

std::optional<double> parse_float(std::string_view s) {
  auto plain = plain_number(s);
  if (!plain || plain->empty()) return std::nullopt;
  for (char& ch : *plain) ch = static_cast<char>(std::tolower(static_cast<unsigned char>(ch)));
  std::string_view digits = *plain;
  const bool minus = digits.starts_with('-');
  if (minus || digits.starts_with('+')) digits.remove_prefix(1);
  double d = 0;
  if (digits == "inf" || digits == "infinity") d = HUGE_VAL;
  else if (digits == "nan") d = std::nan("");
  else {
    if (digits.empty() || digits.find_first_not_of("0123456789.e+-") != digits.npos || digits[0] == '-' ||
        digits[0] == '+')
      return std::nullopt;
    const std::string copy(digits);  // strtod, unlike from_chars, gives inf and 0 beyond the range
    char* end = nullptr;
    d = std::strtod(copy.c_str(), &end);
    if (end != copy.c_str() + copy.size()) return std::nullopt;
  }
  return minus ? -d : d;
}

std::optional<BigInt> truncated(double d) {
  if (std::isnan(d) || std::isinf(d)) return std::nullopt;
  return BigInt::truncated(d);
}

Value to_int(Call& c) {
  require_defined(c.self);
  const Value otherwise = given(c, 0) ? c.args[0] : Value(Int{0});
  if (const auto i = c.self.whole()) return positive(c.self);
  std::optional<BigInt> result;
  if (const auto* d = c.self.real()) result = truncated(*d);
  if (const auto* s = c.self.text()) {
    result = parse_int(c.in.budget, *s, int_arg(c, 1, 10));
    if (!result)
      if (const auto d = parse_float(*s)) result = truncated(*d);
  }
  return result ? make_int(c.in.budget, *result) : otherwise;
}

Value to_float(Call& c) {
  require_defined(c.self);
  std::optional<double> d = c.self.number();
  if (d && std::isinf(*d) && c.self.big()) raise("int too large to convert to float", Errc::limit_exceeded);
  if (const auto* s = c.self.text()) d = parse_float(*s);
  return d ? Value(*d) : given(c, 0) ? c.args[0] : Value(0.0);
}

// Python's round(): to even, decided on the exact binary value.
double round_to(double d, Int digits) {
  if (!std::isfinite(d) || digits > 330) return d;
  if (digits >= 0) return std::strtod(fmt::format("{:.{}f}", d, digits).c_str(), nullptr);
  if (digits < -310) return 0.0 * d;
  const double scale = std::pow(10.0, static_cast<double>(-digits));
  return std::nearbyint(d / scale) * scale;
}

Value round_to(Budget& budget, const Value& i, Int digits) {
  if (digits >= 0) return positive(i);
  const BigInt whole = *i.whole();
  if (digits < -static_cast<Int>(whole.bits() / 3 + 1)) return Value(Int{0});  // 10^-digits is more than twice as large
  BigInt scale(1);
  for (Int k = digits; k < 0; ++k) scale = scale * BigInt(10);
  charge_integers(budget, whole.bits(), scale.bits(), 0);
  const auto [quotient, rest] = floor_divide(whole, scale);
  const int half = compare(rest + rest, scale);
  const BigInt rounded = half > 0 || (half == 0 && quotient.odd()) ? quotient + BigInt(1) : quotient;
  return make_int(budget, rounded * scale);
}

Value round_number(Call& c) {
  require_defined(c.self);
  const Int digits = int_arg(c, 0, 0);
  const std::string method = given(c, 1) ? require_text(c.args[1], "round's method") : "common";
  const auto d = c.self.number();
  if (!d) raise(fmt::format("round expects a number, not {}", type_name(c.self)));
  if (method == "common") return c.self.whole() ? round_to(c.in.budget, c.self, digits) : Value(round_to(*d, digits));
  if (method != "ceil" && method != "floor") raise("round's method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  return Value((method == "ceil" ? std::ceil(*d * scale) : std::floor(*d * scale)) / scale);
}

// --- text

Value escape(Call& c) { return escaped(c.in.budget, c.self); }
Value escape_again(Call& c) { return escaped(c.in.budget, self_text(c).as_plain()); }
Value mark_safe(Call& c) { return self_text(c).as_markup(); }

template <CaseMap change> Value changed(Call& c) {
  const Value s = self_text(c);
  Builder out(c.in.budget);
  change(out, *s.text());
  return like_self(c, out.take());
}

Value trim(Call& c) {
  const Value s = self_text(c);
  const bool own = given(c, 0) && !c.args[0].is_none();
  const std::string_view chars =
      own ? std::string_view(require_text(c.args[0], "trim's characters")) : std::string_view();
  return like_self(c, std::string(strip(*s.text(), own ? &chars : nullptr)));
}

Value replace_text(Call& c) {
  const Int limit = given(c, 2) && !c.args[2].is_none() ? require_int(c.args[2], "replace's count") : -1;
  Budget& budget = c.in.budget;
  const Value &from = c.args[0], &to = c.args[1];
  // Where output is escaped, Markup's replace escapes the new text.
  const bool markup = c.in.autoescape && (from.is_markup() || to.is_markup() || c.self.is_markup());
  const bool escape_self = markup && (from.is_markup() || (to.is_markup() && !c.self.is_markup()));
  const Value s = escape_self ? escaped(budget, c.self) : self_text(c);
  const Value old_part = to_text(budget, from), new_part = markup ? escaped(budget, to) : to_text(budget, to);
  const Value replaced = c.in.text(replace(budget, *s.text(), *old_part.text(), *new_part.text(), limit));
  return markup ? replaced.as_markup() : replaced;
}

Value center(Call& c) { return like_self(c, justify(c.in.budget, *self_text(c).text(), int_arg(c, 0, 80), " ", 0)); }

Value indent(Call& c) {
  const std::string& s = require_text(c.self, "indent's operand");
  Builder indention(c.in.budget);
  if (given(c, 0) && c.args[0].is_text()) indention.add(*c.args[0].text());
  else indention.add(static_cast<std::size_t>(std::max<Int>(int_arg(c, 0, 4), 0)), ' ');
  const std::string by = indention.take();
  const Held held(c.in.budget, by.capacity());
  const bool blank = flag(c, 2);
  Builder out(c.in.budget);
  if (flag(c, 1)) out.add(by);
  bool is_first = true;
  const auto add_line = [&](std::string_view line) {
    c.in.budget.step();
    if (!std::exchange(is_first, false)) {
      out.add("\n");
      if (blank || !line.empty()) out.add(by);
    }
    out.add(line);
  };
  const auto lines = split_lines(c.in.budget, s, false);
  for (const auto line : lines) add_line(line);
  // Jinja adds a \n to what it cuts, which is a line break of its own unless it follows a \r.
  const auto* const end = lines.empty() ? nullptr : lines[lines.size() - 1].data() + lines[lines.size() - 1].size();
  if (!end || (end != s.data() + s.size() && s.back() != '\r')) add_line("");
  return like_self(c, out.take());
}

Value truncate(Call& c) {
  if (c.self.is_undefined() || ((c.self.sequence() || c.self.mapping()) && size_of(c) <= 5))
    return c.self;  // short enough
  const std::string& s = require_text(c.self, "truncate's operand");
  const Int limit = int_arg(c, 0, 255);
  const std::string end = given(c, 2) ? require_text(c.args[2], "truncate's end") : "...";
  const Int leeway = given(c, 3) && !c.args[3].is_none() ? require_int(c.args[3], "truncate's leeway") : 5;
  const auto end_length = static_cast<Int>(length(end));
  if (limit < end_length) raise(fmt::format("truncate expects a length of at least {}, not {}", end_length, limit));
  if (leeway < 0) raise("truncate expects a leeway of at least 0");
  const auto n = static_cast<Int>(length(s));
  if (n <= limit || n - limit <= leeway) return c.self;
  std::string kept = s.substr(0, byte_of(s, static_cast<std::size_t>(limit - end_length)));
  if (!flag(c, 1)) kept = kept.substr(0, kept.rfind(' '));
  return like_self(c, kept + (c.self.is_markup() && given(c, 2) ? *escaped(c.in.budget, c.args[2]).text() : end));
}

Value wordcount(Call& c) {
  Int words = 0;
  bool inside = false;
  const Value s = self_text(c);
  for (const char32_t ch : code_points(*s.text())) {
    const bool word = ch == U'_' || is_alnum(ch);
    words += word && !inside;
    inside = word;
  }
  return Value(words);
}

void quote(Budget& budget, Builder& out, std::string_view s, bool query) {
  budget.step(s.size() / 4);
  std::size_t start = 0;  // of what stands for itself
  for (std::size_t at = 0; at < s.size(); ++at) {
    const char ch = s[at];
    const bool plain = (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                       std::string_view("_.-~").find(ch) != std::string_view::npos || (ch == '/' && !query);
    if (plain) continue;
    out.add(s.substr(start, at - start));
    start = at + 1;
    constexpr std::string_view hex = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(ch);
    const char coded[] = {'%', hex[byte >> 4], hex[byte & 15]};
    budget.step();
    out.add(query && ch == ' ' ? "+" : std::string_view(coded, sizeof coded));
  }
  out.add(s.substr(start));
}

Value urlencode(Call& c) {
  Builder out(c.in.budget);
  if (!c.self.mapping() && !c.self.sequence()) {
    quote(c.in.budget, out, *self_text(c).text(), false);
    return c.in.text(out.take());
  }
  const auto pairs =
      c.self.mapping() ? dict_view(c.in, *c.self.mapping(), Flavor::items).shared_sequence() : c.self.shared_sequence();
  bool is_first = true;
  for (const Value& pair : pairs->items) {
    const auto both = c.in.items_of(pair);
    if (both->items.size() != 2) raise("urlencode expects pairs");
    c.in.budget.step();
    if (!std::exchange(is_first, false)) out.add("&");
    quote(c.in.budget, out, *to_text(c.in.budget, both->items[0]).text(), true);
    out.add("=");
    quote(c.in.budget, out, *to_text(c.in.budget, both->items[1]).text(), true);
  }
  return c.in.text(out.take());
}

Value format_text(Call& c) {
  if (!c.rest.named.empty()) {
    if (!c.rest.positional.empty()) raise("format takes positional or keyword arguments, not both");
    std::vector<std::pair<Value, Value>> entries;
    for (auto& [name, value] : c.rest.named) entries.emplace_back(c.in.text(name), std::move(value));
    return like_self(c, percent_format(c.in.budget, self_text(c), make_dict(c.in.budget, std::move(entries))));
  }
  return like_self(c,
                   percent_format(c.in.budget, self_text(c), c.in.list(std::move(c.rest.positional), Flavor::tuple)));
}

// As transformers defines it: json.dumps(x, ensure_ascii, indent, separators, sort_keys).
Value tojson(Call& c) {
  JsonStyle style;
  style.ensure_ascii = flag(c, 0);
  style.sort_keys = flag(c, 3);
  if (given(c, 1) && !c.args[1].is_none()) {
    Builder indention(c.in.budget);
    if (const auto* s = c.args[1].text()) indention.add(*s);
    else indention.add(static_cast<std::size_t>(std::max<Int>(require_int(c.args[1], "tojson's indent"), 0)), ' ');
    style.indent = indention.take();
    style.item_separator = ",";
  }
  if (given(c, 2) && !c.args[2].is_none()) {
    const auto both = c.in.items_of(c.args[2]);
    if (both->items.size() != 2) raise("tojson's separators must be two");
    style.item_separator = require_text(both->items[0], "a separator");
    style.key_separator = require_text(both->items[1], "a separator");
  }
  return c.in.text(to_json(c.in.budget, c.self, style));
}

// --- any value

Value or_default(Call& c) {
  const bool use = c.self.is_undefined() || (flag(c, 1) && !truthy(c.self));
  return !use ? c.self : given(c, 0) ? c.args[0] : c.in.text("");
}

Value attr(Call& c) {
  const std::string& name = require_text(c.args[0], "attr's name");
  // an attribute only, never a key
  if (c.self.mapping() && !find_method(c.self, name))
    return make_undefined(c.in.budget, fmt::format("'dict object' has no attribute '{}'", clipped(name)));
  return c.in.attribute(c.self, name);
}

constexpr Builtin filter_table[] = {
    {"abs", "", absolute},
    {"attr", "name!", attr, looks},
    {"batch", "linecount! fill_with", batch},
    {"capitalize", "", changed<capitalize>, maps},
    {"center", "width", center},
    {"count", "", [](Call& c) { return count(size_of(c)); }},
    {"d", "default_value boolean", or_default, looks},
    {"default", "default_value boolean", or_default, looks},
    {"dictsort", "case_sensitive by reverse", dictsort},
    {"e", "", escape, looks},
    {"escape", "", escape, looks},
    {"filesizeformat", "binary", file_size_format},
    {"first", "", first, looks},
    {"float", "default", to_float},
    {"forceescape", "", escape_again, looks},
    {"format", "*", format_text},
    {"groupby", "attribute! default case_sensitive", groupby},
    {"indent", "width first blank", indent},
    {"int", "default base", to_int},
    {"items", "", items, looks},
    {"join", "d attribute", join},
    {"last", "", last},
    {"length", "", [](Call& c) { return count(size_of(c)); }},
    {"list", "", list},
    {"lower", "", changed<lower>, maps},
    {"map", "*", map},
    {"max", "case_sensitive attribute", extreme<true>},
    {"min", "case_sensitive attribute", extreme<false>},
    {"pprint", "", pretty_print, matches},
    {"random", "", random_item},
    {"reject", "*", select<false, false>},
    {"rejectattr", "*", select<false, true>},
    {"replace", "old! new! count", replace_text},
    {"reverse", "", reverse},
    {"round", "precision method", round_number},
    {"safe", "", mark_safe, looks},
    {"select", "*", select<true, false>},
    {"selectattr", "*", select<true, true>},
    {"slice", "slices! fill_with", slice_evenly},
    {"sort", "reverse case_sensitive attribute", sort},
    {"string", "", self_text, looks},
    {"striptags", "", strip_tags},
    {"sum", "attribute start", sum},
    {"title", "", [](Call& c) { return changed<title_words>(c).as_plain(); }, maps},
    {"tojson", "ensure_ascii indent separators sort_keys", tojson, looks},
    {"trim", "chars", trim},
    {"truncate", "length killwords end leeway", truncate},
    {"unique", "case_sensitive attribute", unique},
    {"upper", "", changed<upper>, maps},
    {"urlencode", "", urlencode, looks},
    {"urlize", "trim_url_limit nofollow target rel extra_schemes", urlize, matches},
    {"wordcount", "", wordcount, maps},
    {"wordwrap", "width break_long_words wrapstring break_on_hyphens", word_wrap, matches},
    {"xmlattr", "autospace", xml_attributes},
};

}  // namespace

std::span<const Builtin> filters() { return filter_table; }

}  // namespace halyard::jinja

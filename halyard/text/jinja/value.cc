#include "halyard/text/jinja/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {

std::optional<std::int64_t> Value::integer() const {
  if (const bool* b = boolean()) return *b ? 1 : 0;
  if (const auto* i = std::get_if<std::int64_t>(&v_)) return *i;
  return std::nullopt;
}

std::optional<BigInt> Value::whole() const {
  if (const auto* b = big()) return *b;
  if (const auto i = integer()) return BigInt(*i);
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (const auto* b = big()) return b->nearest();
  if (const double* d = real()) return *d;
  if (const auto i = integer()) return static_cast<double>(*i);
  return std::nullopt;
}

Value Object::call(Interpreter&, Args) { raise(fmt::format("'{}' object is not callable", type())); }

std::optional<Value> Namespace::attribute(Interpreter&, std::string_view name) {
  for (const auto& [key, value] : attributes)
    if (key == name) return value;
  return std::nullopt;
}

void Namespace::set(Budget& budget, const std::string& name, Value value) {
  if (name.starts_with('_')) raise(fmt::format("a namespace cannot hold the underscore-prefixed attribute '{}'", name));
  for (auto& [key, old] : attributes)
    if (key == name) {
      old = std::move(value);
      return;
    }
  budget.hold(name.size() + 2 * sizeof(attributes[0]));
  attributes.emplace_back(name, std::move(value));
}

Bytes::Bytes(Budget& budget, std::string all) : data(std::move(all)) {
  budget.hold(data.capacity() + data.size() * sizeof(Value));  // as every object's, until the render ends
  items_.reserve(data.size());
  for (const char c : data) items_.emplace_back(std::int64_t{static_cast<unsigned char>(c)});
}

bool Bytes::show(Budget& budget, Builder& out) const {
  const char quote = data.find('\'') != data.npos && data.find('"') == data.npos ? '"' : '\'';
  out.add("b").add(1, quote);
  for (const char c : data) {
    budget.step();
    if (c == '\\' || c == quote) out.add("\\").add(1, c);
    else if (c == '\n') out.add("\\n");
    else if (c == '\r') out.add("\\r");
    else if (c == '\t') out.add("\\t");
    else if (c >= 0x20 && c < 0x7f) out.add(1, c);
    else {
      budget.step();
      out.add(fmt::format("\\x{:02x}", static_cast<unsigned char>(c)));
    }
  }
  out.add(1, quote);
  return true;
}

// --- making values

bool hashable(Budget& budget, const Value& v) {
  budget.step();
  const auto* s = v.sequence();
  if (s && s->flavor == Flavor::tuple)
    return std::all_of(s->items.begin(), s->items.end(), [&](const Value& item) { return hashable(budget, item); });
  return !s && !v.mapping();
}

namespace {

// Bytes an allocation costs beside its content: the shared block, the Value, the allocator. Of a list its block is larger.
constexpr std::size_t overhead = 96, list_overhead = 136;

int depth_of(const Value& v) {
  if (const auto* s = v.sequence()) return s->depth;
  if (const auto* m = v.mapping()) return m->depth;
  return 0;
}

int checked_depth(int inner) {
  if (inner >= max_value_depth)
    raise(fmt::format("nests lists and dicts deeper than {} levels", max_value_depth), Errc::limit_exceeded);
  return inner + 1;
}

bool same_text(Budget& budget, std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  budget.step(a.size() / 64);
  return a == b;
}

// M is Mapping or const Mapping.
template <class M> auto find_entry(Budget& budget, M& m, const Value& key) -> decltype(m.entries.data()) {
  budget.step(m.entries.size() / 8);
  const auto* wanted = key.text();
  for (auto& entry : m.entries) {
    const auto* have = entry.first.text();
    if (wanted && have ? same_text(budget, *wanted, *have) : !wanted && !have && equal(budget, entry.first, key))
      return &entry;
  }
  return nullptr;
}

}  // namespace

Value make_text(Budget& budget, std::string s) {
  budget.bytes(s.size() + overhead);
  const std::size_t capacity = s.capacity();
  return Value(std::shared_ptr<const std::string>(make_held(budget, std::move(s), capacity + overhead)));
}

Value make_int(Budget& budget, const BigInt& i) {
  if (const auto fits = i.small()) return Value(*fits);
  if (i.bits() > max_int_bits)
    raise(fmt::format("an integer of more than {} bits", max_int_bits), Errc::limit_exceeded);
  const std::size_t held = i.bits() / 8 + overhead;
  budget.bytes(held);
  return Value(std::shared_ptr<const BigInt>(make_held(budget, i, held)));
}

void charge_integers(Budget& budget, std::size_t a_bits, std::size_t b_bits, std::size_t result_bits) {
  if (result_bits > max_int_bits + 64)
    raise(fmt::format("an integer of more than {} bits", max_int_bits), Errc::limit_exceeded);
  budget.step(4 + (a_bits / 32 + 1) * (b_bits / 32 + 1) / 24);
}

Value make_markup(Budget& budget, std::string s) { return make_text(budget, std::move(s)).as_markup(); }

Value make_like(Budget& budget, const Value& model, std::string s) {
  Value v = make_text(budget, std::move(s));
  return model.is_markup() ? v.as_markup() : v;
}

Value escaped(Budget& budget, const Value& v) {
  if (v.is_markup()) return v;
  const Value plain = to_text(budget, v);
  const std::string_view s = *plain.text();
  budget.step(s.size() / 8);
  Builder out(budget);
  for (std::size_t at = 0; at < s.size();) {
    const std::size_t special = std::min(s.find_first_of("&<>\"'", at), s.size());
    out.add(s.substr(at, special - at));
    if (special == s.size()) break;
    budget.step();
    switch (s[special]) {
      case '&': out.add("&amp;"); break;
      case '<': out.add("&lt;"); break;
      case '>': out.add("&gt;"); break;
      case '"': out.add("&#34;"); break;
      default: out.add("&#39;");
    }
    at = special + 1;
  }
  return make_markup(budget, out.take());
}

namespace {

std::shared_ptr<Sequence> new_sequence(Budget& budget, std::vector<Value> items, Flavor flavor) {
  budget.bytes(items.size() * sizeof(Value) + list_overhead);
  int inner = 0;
  for (const Value& v : items) inner = std::max(inner, depth_of(v));
  const std::size_t held = items.capacity() * sizeof(Value) + list_overhead;
  return make_held(budget, Sequence{flavor, checked_depth(inner), std::move(items)}, held);
}

}  // namespace

Value make_list(Budget& budget, std::vector<Value> items, Flavor flavor) {
  return Value(std::shared_ptr<const Sequence>(new_sequence(budget, std::move(items), flavor)));
}

Value make_group(Budget& budget, Value grouper, Value list) {
  auto group = new_sequence(budget, {std::move(grouper), std::move(list)}, Flavor::tuple);
  group->is_group = true;
  return Value(std::shared_ptr<const Sequence>(std::move(group)));
}

Value make_dict(Budget& budget, std::vector<std::pair<Value, Value>> entries) {
  budget.bytes(entries.size() * 2 * sizeof(Value) + overhead);
  const Held given(budget, entries.capacity() * 2 * sizeof(Value));
  Mapping m;
  int inner = 0;
  m.entries.reserve(entries.size());
  for (auto& [key, value] : entries) {
    if (!hashable(budget, key)) raise(fmt::format("unhashable type: '{}'", type_name(key)));
    inner = std::max({inner, depth_of(key), depth_of(value)});
    if (auto* old = find_entry(budget, m, key)) old->second = std::move(value);
    else m.entries.emplace_back(std::move(key), std::move(value));
  }
  m.depth = checked_depth(inner);
  const std::size_t held = m.entries.capacity() * 2 * sizeof(Value) + overhead;
  return Value(std::shared_ptr<const Mapping>(make_held(budget, std::move(m), held)));
}

Value make_undefined(Budget& budget, std::string why) {
  const std::size_t held = why.capacity() + overhead;
  return Undefined{make_held(budget, std::move(why), held)};
}

std::string clipped(std::string_view s) {
  constexpr std::size_t most = 200;
  const std::size_t end = byte_of(s.substr(0, std::min(s.size(), 4 * most)), most);
  return std::string(s.substr(0, end)) + (end < s.size() ? "…" : "");
}

// An integer beyond 64 bits; see JsonLimits::exact_integers.
static Value from_digits(Budget& budget, std::string_view written) {
  const bool minus = written.starts_with('-');
  const std::string_view digits = written.substr(minus);
  if (digits.size() > max_digits)
    raise(fmt::format("an integer of more than {} digits", max_digits), Errc::limit_exceeded);
  charge_integers(budget, digits.size() * 4, digits.size() * 4, digits.size() * 4);
  const auto magnitude = BigInt::parse(digits, 10);
  if (!magnitude) raise("not the digits of an integer");
  return make_int(budget, minus ? -*magnitude : *magnitude);
}

Value from_json(Budget& budget, const Json& j, int depth) {
  budget.allow_for_input(j.text().size());
  if (depth > max_value_depth) checked_depth(depth);
  switch (j.type()) {
    case Json::Type::boolean: return Value(j.get<bool>());
    case Json::Type::integer: return Value(j.get<std::int64_t>());
    case Json::Type::positive: return make_int(budget, BigInt::from_unsigned(j.get<std::uint64_t>()));
    case Json::Type::real: return Value(j.get<double>());
    case Json::Type::digits: return from_digits(budget, j.text());
    case Json::Type::string: return make_text(budget, j.get<std::string>());
    case Json::Type::array: {
      Grown<Value> items(budget, j.size());
      for (const auto& item : j) items.add(from_json(budget, item, depth + 1));
      return make_list(budget, items.take());
    }
    case Json::Type::object: {
      Grown<std::pair<Value, Value>> entries(budget, j.size());
      for (const auto& [key, value] : j.items())
        entries.add({make_text(budget, std::string(key)), from_json(budget, value, depth + 1)});
      return make_dict(budget, entries.take());
    }
    case Json::Type::null: break;
  }
  return None{};
}

// --- comparing

bool truthy(const Value& v) {
  if (v.is_undefined() || v.is_none()) return false;
  if (const auto n = v.number()) return *n != 0;
  if (const auto* s = v.text()) return !s->empty();
  if (const auto* s = v.sequence()) return !s->items.empty();
  if (const auto* m = v.mapping()) return !m->entries.empty();
  if (const auto* o = v.object(); o && o->elements()) return !o->elements()->empty();
  return true;
}

const Value* find(Budget& budget, const Mapping& m, std::string_view key) {
  budget.step(m.entries.size() / 8);
  for (const auto& [k, v] : m.entries)
    if (const auto* s = k.text(); s && same_text(budget, *s, key)) return &v;
  return nullptr;
}

namespace {

// a list equals a list and a tuple a tuple; ranges and views only compare among themselves
bool same_items(Budget& budget, const Sequence& a, const Sequence& b) {
  if (a.flavor != b.flavor || a.items.size() != b.items.size()) return false;
  for (std::size_t i = 0; i < a.items.size(); ++i)
    if (!equal(budget, a.items[i], b.items[i])) return false;
  return true;
}

bool same_entries(Budget& budget, const Mapping& a, const Mapping& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = find(budget, b, key);
    if (!other || !equal(budget, value, *other)) return false;
  }
  return true;
}

}  // namespace

const Value* find(Budget& budget, const Mapping& m, const Value& key) {
  const auto* entry = find_entry(budget, m, key);
  return entry ? &entry->second : nullptr;
}

namespace {

int order(double x, double y) { return x < y ? -1 : x > y; }

// An integer and a double, neither rounded.
int compare_exactly(const BigInt& i, double d) {
  if (std::isinf(d)) return d > 0 ? -1 : 1;
  const int whole = compare(i, BigInt::truncated(d));
  return whole ? whole : order(std::trunc(d), d);
}

}  // namespace

std::optional<int> compare_numbers(const Value& a, const Value& b) {
  if (const auto x = a.integer(), y = b.integer(); x && y) return *x < *y ? -1 : *x > *y;
  const double *p = a.real(), *q = b.real();
  if ((p && std::isnan(*p)) || (q && std::isnan(*q))) return std::nullopt;
  if (p && q) return order(*p, *q);
  if (q) return compare_exactly(*a.whole(), *q);
  if (p) return -compare_exactly(*b.whole(), *p);
  return compare(*a.whole(), *b.whole());
}

bool equal(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  if (const auto* x = a.text(), *y = b.text(); x && y) return same_text(budget, *x, *y);
  if (a.number() && b.number()) return compare_numbers(a, b) == 0;
  if (const auto* x = a.sequence(), *y = b.sequence(); x && y) return same_items(budget, *x, *y);
  if (const auto* x = a.mapping(), *y = b.mapping(); x && y) return same_entries(budget, *x, *y);
  if (const auto* x = a.object(), *y = b.object(); x && y) {
    const auto *s = dynamic_cast<const Bytes*>(x), *t = dynamic_cast<const Bytes*>(y);
    return x == y || (s && t && s->data == t->data);
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(Budget& budget, const Value& a, const Value& b) {
  budget.step();
  for (const Value* v : {&a, &b})
    if (const auto* u = v->undefined()) raise(*u->why);
  // UTF-8 sorts by code point
  if (const auto* x = a.text(), *y = b.text(); x && y) {
    budget.step(std::min(x->size(), y->size()) / 64);
    return *x < *y;
  }
  if (a.number() && b.number()) return compare_numbers(a, b).value_or(0) < 0;
  const auto *x = a.sequence(), *y = b.sequence();
  if (x && y && x->flavor == y->flavor && (x->flavor == Flavor::list || x->flavor == Flavor::tuple)) {
    const std::size_t n = std::min(x->items.size(), y->items.size());
    for (std::size_t i = 0; i < n; ++i)
      if (!equal(budget, x->items[i], y->items[i])) return less(budget, x->items[i], y->items[i]);
    return x->items.size() < y->items.size();
  }
  raise(fmt::format("'<' not supported between instances of '{}' and '{}'", type_name(a), type_name(b)));
}

// --- printing

std::string type_name(const Value& v) {
  if (v.is_undefined()) return "Undefined";
  if (v.is_none()) return "NoneType";
  if (v.is_bool()) return "bool";
  if (v.is_int()) return "int";
  if (v.is_real()) return "float";
  if (v.is_text()) return v.is_markup() ? "Markup" : "str";
  if (v.mapping()) return "dict";
  if (const auto* o = v.object()) return o->type();
  if (const auto* s = v.sequence()) {
    switch (s->flavor) {
      case Flavor::list: return "list";
      case Flavor::tuple: return "tuple";
      case Flavor::range: return "range";
      case Flavor::keys: return "dict_keys";
      case Flavor::values: return "dict_values";
      case Flavor::items: return "dict_items";
    }
  }
  return "missing";
}

std::string repr_float(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  std::array<char, 40> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), d, std::chars_format::scientific).ptr;
  const std::string s(buffer.data(), end);  // "-1.25e+03"
  const int exponent = std::atoi(s.c_str() + s.find('e') + 1);
  if (exponent < -4 || exponent >= 16) return s;
  const auto digits = static_cast<int>(std::count_if(s.begin(), s.begin() + static_cast<std::ptrdiff_t>(s.find('e')),
                                                     [](char c) { return c >= '0' && c <= '9'; }));
  return fmt::format("{:.{}f}", d, std::max(1, digits - 1 - exponent));
}

std::string repr_int(Budget& budget, const Value& v) {
  if (const auto i = v.integer()) return std::to_string(*i);
  const BigInt& b = *v.big();
  const auto refuse = [=] {
    raise(fmt::format("an integer of more than {} digits cannot be written", max_digits), Errc::limit_exceeded);
  };
  if (b.bits() > max_digits * 10 / 3) refuse();  // 10/3 > log2(10)
  charge_integers(budget, b.bits(), b.bits(), 0);
  std::string digits = b.digits();
  if (digits.size() > max_digits) refuse();
  return b.negative() ? '-' + digits : digits;
}

std::string json_float(double d) {
  if (std::isnan(d)) return "NaN";
  if (std::isinf(d)) return d < 0 ? "-Infinity" : "Infinity";
  return repr_float(d);
}

namespace {

// Texts are written run by run of what stands for itself.
void add_repr(Budget& budget, Builder& out, std::string_view s) {
  budget.step(s.size() / 4);
  const char quote = s.find('\'') != s.npos && s.find('"') == s.npos ? '"' : '\'';
  out.add(1, quote);
  std::size_t start = 0;
  for (std::size_t at = 0; at < s.size();) {
    char32_t c;
    const std::size_t n = decode(s, at, c);
    const bool marked = c == U'\\' || c == static_cast<char32_t>(quote);
    if (!marked && is_printable(c)) {
      at += n;
      continue;
    }
    out.add(s.substr(start, at - start));
    start = at += n;
    if (c == U'\n') out.add("\\n");
    else if (c == U'\r') out.add("\\r");
    else if (c == U'\t') out.add("\\t");
    else if (marked) out.add("\\").add(1, static_cast<char>(c));
    else if (c < 0x100) out.add(fmt::format("\\x{:02x}", static_cast<unsigned>(c)));
    else if (c < 0x10000) out.add(fmt::format("\\u{:04x}", static_cast<unsigned>(c)));
    else out.add(fmt::format("\\U{:08x}", static_cast<unsigned>(c)));
    budget.step(c < 0x20 || marked ? 1 : 4);
  }
  out.add(s.substr(start)).add(1, quote);
}

class Printer {
 public:
  Printer(Budget& budget, Builder& out) : budget_(budget), out_(out) {}

  void print(const Value& v, int depth = 0) {
    budget_.step();
    // namespaces can hold themselves
    if (depth > max_value_depth) raise("prints a value that contains itself", Errc::limit_exceeded);
    if (v.is_undefined()) out_.add("Undefined");
    else if (v.is_none()) out_.add("None");
    else if (const bool* b = v.boolean()) out_.add(*b ? "True" : "False");
    else if (v.is_int()) out_.add(repr_int(budget_, v));
    else if (const double* d = v.real()) out_.add(repr_float(*d));
    else if (const auto* s = v.text()) {
      if (v.is_markup()) out_.add("Markup(");
      add_repr(budget_, out_, *s);
      if (v.is_markup()) out_.add(")");
    } else if (const auto* seq = v.sequence()) print_sequence(*seq, depth);
    else if (const auto* map = v.mapping()) print_mapping(*map, depth);
    else if (const auto* ns = dynamic_cast<const Namespace*>(v.object())) print_namespace(*ns, depth);
    else if (const auto* o = v.object(); !o || !o->show(budget_, out_)) out_.add(fmt::format("<{}>", type_name(v)));
  }

 private:
  void print_sequence(const Sequence& s, int depth) {
    if (s.flavor == Flavor::range)
      return void(out_.add(s.step == 1 ? fmt::format("range({}, {})", s.start, s.stop)
                                       : fmt::format("range({}, {}, {})", s.start, s.stop, s.step)));
    const bool view = s.flavor != Flavor::list && s.flavor != Flavor::tuple;
    if (view) out_.add(type_name_of(s.flavor)).add("(");
    out_.add(s.flavor == Flavor::tuple ? "(" : "[");
    for (std::size_t i = 0; i < s.items.size(); ++i) {
      if (i) out_.add(", ");
      print(s.items[i], depth + 1);
    }
    if (s.flavor == Flavor::tuple) out_.add(s.items.size() == 1 ? ",)" : ")");
    else out_.add(view ? "])" : "]");
  }

  void print_mapping(const Mapping& m, int depth) {
    out_.add("{");
    bool first = true;
    for (const auto& [key, value] : m.entries) {
      if (!std::exchange(first, false)) out_.add(", ");
      print(key, depth + 1);
      out_.add(": ");
      print(value, depth + 1);
    }
    out_.add("}");
  }

  void print_namespace(const Namespace& ns, int depth) {
    out_.add("<Namespace {");
    bool first = true;
    for (const auto& [key, value] : ns.attributes) {
      if (!std::exchange(first, false)) out_.add(", ");
      add_repr(budget_, out_, key);
      out_.add(": ");
      print(value, depth + 1);
    }
    out_.add("}>");
  }

  static std::string_view type_name_of(Flavor f) {
    return f == Flavor::keys ? "dict_keys" : f == Flavor::values ? "dict_values" : "dict_items";
  }

  Budget& budget_;
  Builder& out_;
};

}  // namespace

std::string repr(Budget& budget, const Value& v) {
  Builder out(budget);
  Printer(budget, out).print(v);
  return out.take();
}

Value to_text(Budget& budget, const Value& v) {
  if (v.is_text()) return v;
  return make_text(budget, v.is_undefined() ? "" : repr(budget, v));
}

// --- JSON

namespace {

void add_json_unit(Builder& out, unsigned unit) { out.add(fmt::format("\\u{:04x}", unit)); }

void add_json(Budget& budget, Builder& out, std::string_view s, bool ascii) {
  budget.step(s.size() / 8);
  out.add("\"");
  std::size_t start = 0;
  for (std::size_t at = 0; at < s.size();) {
    char32_t c;
    const std::size_t n = decode(s, at, c);
    if (c >= 0x20 && c != U'"' && c != U'\\' && !(ascii && c > 0x7e)) {
      at += n;
      continue;
    }
    out.add(s.substr(start, at - start));
    start = at += n;
    budget.step();
    if (c == U'"' || c == U'\\') out.add("\\").add(1, static_cast<char>(c));
    else if (c == U'\n') out.add("\\n");
    else if (c == U'\r') out.add("\\r");
    else if (c == U'\t') out.add("\\t");
    else if (c == U'\b') out.add("\\b");
    else if (c == U'\f') out.add("\\f");
    else {
      budget.step(4);  // formatted
      if (c >= 0x10000) add_json_unit(out, 0xd800 + ((c - 0x10000) >> 10));
      add_json_unit(out, c >= 0x10000 ? 0xdc00 + ((c - 0x10000) & 0x3ff) : c);
    }
  }
  out.add(s.substr(start)).add("\"");
}

class JsonPrinter {
 public:
  JsonPrinter(Budget& budget, Builder& out, const JsonStyle& style) : budget_(budget), out_(out), style_(style) {}

  void print(const Value& v, std::size_t level = 0) {
    budget_.step();
    if (v.is_none()) out_.add("null");
    else if (const bool* b = v.boolean()) out_.add(*b ? "true" : "false");
    else if (v.is_int()) out_.add(repr_int(budget_, v));
    else if (const double* d = v.real()) out_.add(json_float(*d));
    else if (const auto* s = v.text()) add_json(budget_, out_, *s, style_.ensure_ascii);
    else if (const auto* seq = v.sequence(); seq && (seq->flavor == Flavor::list || seq->flavor == Flavor::tuple))
      print_array(seq->items, level);
    else if (const auto* map = v.mapping()) print_object(*map, level);
    else raise(fmt::format("Object of type {} is not JSON serializable", type_name(v)));
  }

 private:
  void newline(std::size_t level) {
    if (!style_.indent) return;
    budget_.step();
    out_.add("\n").add(level, *style_.indent);
  }

  void print_array(const std::vector<Value>& items, std::size_t level) {
    if (items.empty()) return void(out_.add("[]"));
    out_.add("[");
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i) out_.add(style_.item_separator);
      newline(level + 1);
      print(items[i], level + 1);
    }
    newline(level);
    out_.add("]");
  }

  std::string key_text(const Value& key) {
    if (key.is_none()) return "null";
    if (const bool* b = key.boolean()) return *b ? "true" : "false";
    if (key.is_int()) return repr_int(budget_, key);
    if (const double* d = key.real()) return json_float(*d);
    raise(fmt::format("keys must be str, int, float, bool or None, not {}", type_name(key)));
  }

  void print_object(const Mapping& m, std::size_t level) {
    if (m.entries.empty()) return void(out_.add("{}"));
    Grown<const std::pair<Value, Value>*> order(budget_, m.entries.size());
    for (const auto& entry : m.entries) order.add(&entry);
    if (style_.sort_keys)
      std::stable_sort(order.begin(), order.end(),
                       [&](const auto* a, const auto* b) { return less(budget_, a->first, b->first); });
    out_.add("{");
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i) out_.add(style_.item_separator);
      newline(level + 1);
      const auto* key = order[i]->first.text();
      add_json(budget_, out_, key ? *key : key_text(order[i]->first), style_.ensure_ascii);
      out_.add(style_.key_separator);
      print(order[i]->second, level + 1);
    }
    newline(level);
    out_.add("}");
  }

  Budget& budget_;
  Builder& out_;
  const JsonStyle& style_;
};

}  // namespace

std::string to_json(Budget& budget, const Value& v, const JsonStyle& style) {
  Builder out(budget);
  JsonPrinter(budget, out, style).print(v);
  return out.take();
}

}  // namespace halyard::jinja

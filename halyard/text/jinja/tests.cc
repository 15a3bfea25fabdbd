// What may follow `is`.
#include <algorithm>

#include <fmt/format.h>

#include "halyard/text/jinja/builtins.h"
#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/operators.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {
namespace {

// Whether self % by == rest; texts too have a %.
bool leaves(Call& c, const Value& by, std::int64_t rest) {
  return equal(c.in.budget, binary(c.in, Op::modulo, c.self, by), Value(rest));
}

bool all_cased(const Value& self, Budget& budget, bool (*wanted)(char32_t), bool (*unwanted)(char32_t)) {
  const Value text = to_text(budget, self);
  const auto points = code_points(*text.text());
  return std::any_of(points.begin(), points.end(), wanted) && std::none_of(points.begin(), points.end(), unwanted);
}

bool is_iterable(const Value& v) {
  return v.is_undefined() || v.is_text() || v.sequence() || v.mapping() || dynamic_cast<const Generator*>(v.object());
}

bool is_sequence(const Value& v) {  // what has a length and elements
  const auto* s = v.sequence();
  return v.is_undefined() || v.is_text() || v.mapping() ||
         (s && (s->flavor == Flavor::list || s->flavor == Flavor::tuple || s->flavor == Flavor::range));
}

bool is_same(Call& c) {
  const Value &a = c.self, &b = c.args[0];
  if (a.is_bool() != b.is_bool() || a.is_real() != b.is_real()) return false;
  if (a.sequence() || a.mapping()) return a.sequence() == b.sequence() && a.mapping() == b.mapping();
  return equal(c.in.budget, a, b);
}

template <Op op> Value compared(Call& c) { return Value(compare(c.in, op, c.self, c.args[0])); }

constexpr Builtin test_table[] = {
    {"boolean", "", [](Call& c) { return Value(c.self.is_bool()); }, looks},
    {"callable", "",
     [](Call& c) { return Value(c.self.is_undefined() || (c.self.object() && c.self.object()->callable())); }, looks},
    {"defined", "", [](Call& c) { return Value(!c.self.is_undefined()); }, looks},
    {"undefined", "", [](Call& c) { return Value(c.self.is_undefined()); }, looks},
    {"divisibleby", "num!", [](Call& c) { return Value(leaves(c, c.args[0], 0)); }},
    {"even", "", [](Call& c) { return Value(leaves(c, Value(std::int64_t{2}), 0)); }},
    {"odd", "", [](Call& c) { return Value(leaves(c, Value(std::int64_t{2}), 1)); }},
    {"escaped", "", [](Call& c) { return Value(c.self.is_markup()); }, looks},
    {"false", "", [](Call& c) { return Value(c.self.is_bool() && !*c.self.boolean()); }, looks},
    {"true", "", [](Call& c) { return Value(c.self.is_bool() && *c.self.boolean()); }, looks},
    {"filter", "", [](Call& c) { return Value(c.self.is_text() && find_builtin(filters(), *c.self.text())); }, looks},
    {"test", "", [](Call& c) { return Value(c.self.is_text() && find_builtin(tests(), *c.self.text())); }, looks},
    {"float", "", [](Call& c) { return Value(c.self.is_real()); }, looks},
    {"integer", "", [](Call& c) { return Value(c.self.is_int()); }, looks},
    {"number", "", [](Call& c) { return Value(c.self.number().has_value()); }, looks},
    {"in", "seq!", compared<Op::in>},
    {"iterable", "", [](Call& c) { return Value(is_iterable(c.self)); }, looks},
    {"sequence", "", [](Call& c) { return Value(is_sequence(c.self)); }, looks},
    {"mapping", "", [](Call& c) { return Value(c.self.mapping() != nullptr); }, looks},
    {"string", "", [](Call& c) { return Value(c.self.is_text()); }, looks},
    {"none", "", [](Call& c) { return Value(c.self.is_none()); }, looks},
    {"lower", "", [](Call& c) { return Value(all_cased(c.self, c.in.budget, is_lower, is_upper)); }, maps},
    {"upper", "", [](Call& c) { return Value(all_cased(c.self, c.in.budget, is_upper, is_lower)); }, maps},
    {"sameas", "other!", [](Call& c) { return Value(is_same(c)); }, looks},
    {"eq", "b!", compared<Op::eq>, looks},
    {"equalto", "b!", compared<Op::eq>, looks},
    {"==", "b!", compared<Op::eq>, looks},
    {"ne", "b!", compared<Op::ne>, looks},
    {"!=", "b!", compared<Op::ne>, looks},
    {"lt", "b!", compared<Op::lt>, looks},
    {"lessthan", "b!", compared<Op::lt>, looks},
    {"<", "b!", compared<Op::lt>, looks},
    {"le", "b!", compared<Op::le>, looks},
    {"<=", "b!", compared<Op::le>, looks},
    {"gt", "b!", compared<Op::gt>, looks},
    {"greaterthan", "b!", compared<Op::gt>, looks},
    {">", "b!", compared<Op::gt>, looks},
    {"ge", "b!", compared<Op::ge>, looks},
    {">=", "b!", compared<Op::ge>, looks},
};

}  // namespace

std::span<const Builtin> tests() { return test_table; }

}  // namespace halyard::jinja

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
  const std::string text = to_text(budget, self);
  budget.take_apart(text.size(), sizeof(char32_t));
  const auto points = code_points(text);
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

template <Op op>
Value compared(Call& c) { return Value(compare(c.in, op, c.self, c.args[0])); }

constexpr Builtin test_table[] = {
    {"boolean", "", [](Call& c) { return Value(c.self.is_bool()); }},
    {"callable", "",
     [](Call& c) { return Value(c.self.is_undefined() || (c.self.object() && c.self.object()->callable())); }},
    {"defined", "", [](Call& c) { return Value(!c.self.is_undefined()); }},
    {"undefined", "", [](Call& c) { return Value(c.self.is_undefined()); }},
    {"divisibleby", "num!", [](Call& c) { return Value(leaves(c, c.args[0], 0)); }},
    {"even", "", [](Call& c) { return Value(leaves(c, Value(std::int64_t{2}), 0)); }},
    {"odd", "", [](Call& c) { return Value(leaves(c, Value(std::int64_t{2}), 1)); }},
    {"escaped", "", [](Call& c) { return Value(c.self.is_markup()); }},
    {"false", "", [](Call& c) { return Value(c.self.is_bool() && !*c.self.boolean()); }},
    {"true", "", [](Call& c) { return Value(c.self.is_bool() && *c.self.boolean()); }},
    {"filter", "", [](Call& c) { return Value(c.self.is_text() && find_builtin(filters(), *c.self.text())); }},
    {"test", "", [](Call& c) { return Value(c.self.is_text() && find_builtin(tests(), *c.self.text())); }},
    {"float", "", [](Call& c) { return Value(c.self.is_real()); }},
    {"integer", "", [](Call& c) { return Value(c.self.is_int()); }},
    {"number", "", [](Call& c) { return Value(c.self.number().has_value()); }},
    {"in", "seq!", compared<Op::in>},
    {"iterable", "", [](Call& c) { return Value(is_iterable(c.self)); }},
    {"sequence", "", [](Call& c) { return Value(is_sequence(c.self)); }},
    {"mapping", "", [](Call& c) { return Value(c.self.mapping() != nullptr); }},
    {"string", "", [](Call& c) { return Value(c.self.is_text()); }},
    {"none", "", [](Call& c) { return Value(c.self.is_none()); }},
    {"lower", "", [](Call& c) { return Value(all_cased(c.self, c.in.budget, is_lower, is_upper)); }},
    {"upper", "", [](Call& c) { return Value(all_cased(c.self, c.in.budget, is_upper, is_lower)); }},
    {"sameas", "other!", [](Call& c) { return Value(is_same(c)); }},
    {"eq", "b!", compared<Op::eq>},
    {"equalto", "b!", compared<Op::eq>},
    {"==", "b!", compared<Op::eq>},
    {"ne", "b!", compared<Op::ne>},
    {"!=", "b!", compared<Op::ne>},
    {"lt", "b!", compared<Op::lt>},
    {"lessthan", "b!", compared<Op::lt>},
    {"<", "b!", compared<Op::lt>},
    {"le", "b!", compared<Op::le>},
    {"<=", "b!", compared<Op::le>},
    {"gt", "b!", compared<Op::gt>},
    {"greaterthan", "b!", compared<Op::gt>},
    {">", "b!", compared<Op::gt>},
    {"ge", "b!", compared<Op::ge>},
    {">=", "b!", compared<Op::ge>},
};

}  // namespace

std::span<const Builtin> tests() { return test_table; }

}  // namespace halyard::jinja

// The tables of filters, tests, globals and methods: one line each.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "halyard/text/jinja/value.h"

namespace halyard::jinja {

/// One call of a builtin: `self` is the operand of a filter or test, the object of a method, missing for a global.
struct Call {
  Interpreter& in;
  const Value& self;
  std::vector<Value> args;  ///< by the order of Builtin::parameters; missing where not given
  Args rest;                ///< what a final "*" parameter takes
};

/// What going through a text costs a builtin: steps for each 64 bytes of its operand and arguments.
enum Work : std::uint8_t {
  looks = 0,     ///< at its kind, or at a few bytes
  scans = 4,     ///< some two nanoseconds a byte
  maps = 10,     ///< each character by Unicode's tables
  matches = 32,  ///< regular expressions
};

struct Builtin {
  std::string_view name;
  /// Space-separated. "name!" must be given; a final "*" takes every other argument.
  std::string_view parameters;
  Value (*run)(Call&);
  Work work = scans;
};

std::span<const Builtin> filters();
std::span<const Builtin> tests();
std::span<const Builtin> globals();
std::span<const Builtin> text_methods();
std::span<const Builtin> markup_methods();  ///< those in which Markup differs from str
std::span<const Builtin> list_methods();
std::span<const Builtin> tuple_methods();
std::span<const Builtin> dict_methods();
std::span<const Builtin> view_methods();  ///< of a dict's keys and items
std::span<const Builtin> int_methods();
std::span<const Builtin> real_methods();
std::span<const Builtin> bytes_methods();

/// The entry of that name, or null.
const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name);
/// The method of the value's type, or null.
const Builtin* find_method(const Value& self, std::string_view name);
/// An attribute that is no method: a number's real, a range's start, a group's list.
std::optional<Value> data_attribute(const Value& self, std::string_view name);
/// Whether Python's type has this method but the immutable sandbox refuses it.
bool is_mutating_method(const Value& self, std::string_view name);

/// Runs a method of `self`: texts that a method of Markup gives are Markup.
Value run_method(Interpreter&, const Builtin&, const Value& self, Args);
/// Runs a builtin with its arguments sorted out; `what` names it in errors: "filter 'join'".
Value run_builtin(Interpreter&, const Builtin&, const Value& self, Args, std::string_view what);

}  // namespace halyard::jinja

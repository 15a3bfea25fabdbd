// Python's operators on template values.
#pragma once

#include "halyard/text/jinja/ast.h"
#include "halyard/text/jinja/value.h"

namespace halyard::jinja {

/// + - * / // % **
Value binary(Interpreter&, Op, const Value& a, const Value& b);
Value negative(Budget&, const Value&);
Value positive(const Value&);
/// == != < <= > >= in, not in
bool compare(Interpreter&, Op, const Value& a, const Value& b);
bool contains(Interpreter&, const Value& container, const Value& item);
bool can_slice(const Value&);
/// object[start:stop:step], each None where not given.
Value slice(Interpreter&, const Value& object, const Value& start, const Value& stop, const Value& step);
/// object[i] of a list, tuple, range or string; nothing where there is no such element.
std::optional<Value> element(Interpreter&, const Value& object, std::int64_t i);
/// range(start, stop, step), at most 100,000 long as Jinja's sandbox has it.
Value make_range(Interpreter&, std::int64_t start, std::int64_t stop, std::int64_t step);

}  // namespace halyard::jinja

// A parsed template: plain trees.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "halyard/text/jinja/value.h"

namespace halyard::jinja {

struct Builtin;
struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

enum class ExprKind {
  constant,  // constant
  name,      // name
  captured,  // the text a filter block or set block has captured
  tuple,
  list,       // parts
  dict,       // parts: key, value, key, value…
  attribute,  // parts[0].name
  item,       // parts[0][parts[1]]
  slice,      // parts[0][parts[1]:parts[2]:parts[3]], each may be null
  call,       // parts[0](arguments)
  filter,     // parts[0] | name(arguments)
  test,       // parts[0] is name(arguments)
  logical_not,
  negate,
  plus,     // parts[0]
  binary,   // parts[0] op parts[1]
  concat,   // parts[0] ~ parts[1] ~ …
  compare,  // parts[0] ops[0] parts[1] ops[1] parts[2]…
  logical_and,
  logical_or,   // parts[0], parts[1]
  conditional,  // parts[0] if parts[1] else parts[2] (may be null)
};

enum class Op { add, subtract, multiply, divide, floor_divide, modulo, power, eq, ne, lt, le, gt, ge, in, not_in };

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star, double_star;  // *args, **kwargs
};

struct Expr {
  ExprKind kind;
  Op op = Op::add;
  int line = 0;
  int depth = 1;  // of the tree below, this node included
  Value constant;
  std::string name;
  const Builtin* builtin = nullptr;  // the filter or test; null where there is none of that name
  std::vector<ExprPtr> parts;
  std::vector<Op> ops;
  Arguments arguments;
};

/// What an assignment writes to.
struct Target {
  enum Kind { name, attribute, tuple } kind = name;
  int line = 0;
  std::string id;              // the variable, or the namespace
  std::string attribute_name;  // of the namespace
  std::vector<Target> parts;
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct MacroDef {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
  Body body;
};

struct Branch {
  ExprPtr test;  // null: else
  Body body;
};

enum class StmtKind {
  text,        // text
  output,      // exprs
  branches,    // branches
  loop,        // for target in exprs[0] if exprs[1] (may be null): body, else otherwise
  set,         // target = exprs[0]
  set_block,   // target = exprs[0], of which the captured body is the innermost operand
  macro,       // macro
  call,        // exprs[0] is the call, macro its caller
  filter,      // exprs[0], of which the captured body is the innermost operand
  with,        // targets[i] = exprs[i]: body
  scope,       // body, in a scope of its own
  autoescape,  // body, in a scope of its own, with exprs[0] saying whether output is escaped
  block,       // text is its name, body what it writes
  loop_break,
  loop_continue,
};

struct Stmt {
  StmtKind kind;
  int line = 0;
  std::string text;
  std::vector<ExprPtr> exprs;
  std::vector<Target> targets;
  std::vector<Branch> branches;
  Body body, otherwise;
  bool recursive = false;
  bool scoped = false, required = false;  // of a block
  std::unique_ptr<MacroDef> macro;
};

using BlockTable = std::map<std::string, const Stmt*, std::less<>>;

struct Template {
  Body body;
  BlockTable blocks;  // all of the body's, nested ones too
};

}  // namespace halyard::jinja

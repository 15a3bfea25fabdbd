#include "halyard/text/jinja/interpreter.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/text/jinja/builtins.h"
#include "halyard/text/jinja/operators.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {

// Nested evaluations; each takes some hundreds of bytes of stack, some kilobytes under a sanitizer.
constexpr int max_eval_depth = 800;

Interpreter::Nesting::Nesting(Interpreter& in) : in_(in) {
  if (in.depth_ >= max_eval_depth || in.stack_.near()) raise("calls itself too deeply", Errc::limit_exceeded);
  ++in.depth_;
}

namespace {

// Sets a variable until the end of the block.
template <class T> class Swapped {
 public:
  Swapped(T& variable, T value) : variable_(variable), old_(std::exchange(variable, std::move(value))) {}
  ~Swapped() { variable_ = std::move(old_); }
  Swapped(const Swapped&) = delete;

 private:
  T& variable_;
  T old_;
};

class Macro : public Object {
 public:
  Macro(const MacroDef& def, Scope& scope, bool autoescape) : def_(def), scope_(scope), autoescape_(autoescape) {}
  std::string type() const override { return "Macro"; }
  bool callable() const override { return true; }
  Value call(Interpreter& in, Args args) override { return in.call_macro(def_, scope_, std::move(args), autoescape_); }
  std::optional<Value> attribute(Interpreter& in, std::string_view name) override {
    if (name == "name") return in.text(def_.name);
    return std::nullopt;
  }

 private:
  const MacroDef& def_;
  Scope& scope_;
  const bool autoescape_;  // where it was defined
};

class Method : public Object {
 public:
  Method(const Builtin& builtin, Value self) : builtin_(builtin), self_(std::move(self)) {}
  std::string type() const override { return "builtin_function_or_method"; }
  bool callable() const override { return true; }
  std::optional<Value> attribute(Interpreter& in, std::string_view name) override {
    if (builtin_.name != "dict" || name != "fromkeys" || !self_.is_missing()) return std::nullopt;
    return Value(in.make<Method>(*find_builtin(dict_methods(), name), make_dict(in.budget, {})));
  }
  Value call(Interpreter& in, Args args) override { return run_method(in, builtin_, self_, std::move(args)); }

 private:
  const Builtin& builtin_;
  const Value self_;
};

}  // namespace

std::optional<Value> Bytes::attribute(Interpreter& in, std::string_view name) {
  const auto* method = find_builtin(bytes_methods(), name);
  if (!method) return std::nullopt;
  return Value(in.make<Method>(*method, Value(this)));
}

namespace {

// `loop`.
class Loop : public Object {
 public:
  Loop(const Stmt& stmt, Scope& outer, int depth, std::shared_ptr<const Sequence> all)
      : stmt_(stmt), outer_(outer), depth_(depth), all_(std::move(all)) {}

  std::string type() const override { return "LoopContext"; }
  bool callable() const override { return true; }
  Value call(Interpreter& in, Args args) override {
    if (!stmt_.recursive) raise("the loop must be marked 'recursive' to be called");
    if (args.positional.size() != 1 || !args.named.empty()) raise("loop() takes one argument, what to go through");
    return in.run_loop_again(stmt_, outer_, args.positional[0], depth_ + 1);
  }

  std::optional<Value> attribute(Interpreter& in, std::string_view name) override;
  Value cycle(const Args& args) const {
    if (args.positional.empty()) raise("loop.cycle() needs values to cycle through");
    return args.positional[index % args.positional.size()];
  }
  Value changed(Budget& budget, const Args& args) {
    const Value now = make_list(budget, args.positional, Flavor::tuple);
    const bool is_new = last_.is_missing() || !equal(budget, last_, now);
    last_ = now;
    return Value(is_new);
  }

  std::size_t index = 0;

 private:
  const Stmt& stmt_;
  Scope& outer_;
  const int depth_;
  const std::shared_ptr<const Sequence> all_;
  Value last_;
};

class LoopMethod : public Object {
 public:
  LoopMethod(Loop& loop, bool cycle) : loop_(loop), cycle_(cycle) {}
  std::string type() const override { return "method"; }
  bool callable() const override { return true; }
  Value call(Interpreter& in, Args args) override {
    return cycle_ ? loop_.cycle(args) : loop_.changed(in.budget, args);
  }

 private:
  Loop& loop_;
  const bool cycle_;
};

std::optional<Value> Loop::attribute(Interpreter& in, std::string_view name) {
  const auto& items = all_->items;
  const auto number = [](std::size_t n) { return Value(static_cast<std::int64_t>(n)); };
  if (name == "index") return number(index + 1);
  if (name == "index0") return number(index);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 >= items.size());
  if (name == "length") return number(items.size());
  if (name == "revindex") return number(items.size() - index);
  if (name == "revindex0") return number(items.size() - index - 1);
  if (name == "depth") return number(static_cast<std::size_t>(depth_) + 1);
  if (name == "depth0") return number(static_cast<std::size_t>(depth_));
  if (name == "previtem") return index > 0 ? items[index - 1] : make_undefined(in.budget, "there is no previous item");
  if (name == "nextitem")
    return index + 1 < items.size() ? items[index + 1] : make_undefined(in.budget, "there is no next item");
  if (name == "cycle" || name == "changed") return Value(in.make<LoopMethod>(*this, name == "cycle"));
  return std::nullopt;
}

}  // namespace

namespace {

// `self`: the template's blocks as functions.
class Blocks : public Object {
 public:
  explicit Blocks(const BlockTable& blocks) : blocks_(blocks) {}
  std::string type() const override { return "TemplateReference"; }
  std::optional<Value> attribute(Interpreter& in, std::string_view name) override;

 private:
  const BlockTable& blocks_;
};

class Block : public Object {
 public:
  explicit Block(const Stmt& stmt) : stmt_(stmt) {}
  std::string type() const override { return "BlockReference"; }
  bool callable() const override { return true; }
  Value call(Interpreter& in, Args) override { return in.block_text(stmt_); }

 private:
  const Stmt& stmt_;
};

std::optional<Value> Blocks::attribute(Interpreter& in, std::string_view name) {
  const auto it = blocks_.find(name);
  if (it == blocks_.end()) return std::nullopt;
  return Value(in.make<Block>(*it->second));
}

}  // namespace

void require_defined(const Value& v) {
  if (const auto* u = v.undefined()) raise(*u->why);
}

std::int64_t require_int(const Value& v, std::string_view what) {
  require_defined(v);
  if (const auto i = v.integer()) return *i;
  if (v.big()) raise(fmt::format("{} is too large", what), Errc::limit_exceeded);
  raise(fmt::format("{} must be an integer, not {}", what, type_name(v)));
}

const std::string& require_text(const Value& v, std::string_view what) {
  require_defined(v);
  if (const auto* s = v.text()) return *s;
  raise(fmt::format("{} must be a string, not {}", what, type_name(v)));
}

// --- values

Value Interpreter::generator(std::vector<Value> items) {
  budget.bytes(items.size() * sizeof(Value));
  budget.step(8);
  return Value(make<Generator>(budget, std::move(items)));
}

Value Interpreter::attribute(const Value& v, std::string_view name) {
  require_defined(v);
  if (auto* object = v.object()) {
    if (auto value = object->attribute(*this, name)) return *value;
  } else if (const auto* method = find_method(v, name)) {
    return Value(make<Method>(*method, v));
  } else if (const auto data = data_attribute(v, name)) {
    return *data;
  } else if (is_mutating_method(v, name)) {
    return make_undefined(
        budget, fmt::format("access to attribute '{}' of '{}' object is unsafe", clipped(name), type_name(v)));
  }
  if (const auto* m = v.mapping())
    if (const Value* value = find(budget, *m, name)) return *value;
  budget.step(4);
  return make_undefined(budget, v.is_none()
                                    ? fmt::format("'None' has no attribute '{}'", clipped(name))
                                    : fmt::format("'{} object' has no attribute '{}'", type_name(v), clipped(name)));
}

Value Interpreter::item(const Value& v, const Value& key) {
  require_defined(v);
  if (const auto* m = v.mapping()) {
    if (const Value* value = find(budget, *m, key)) return *value;
  } else if (const auto i = key.integer()) {
    if (auto value = element(*this, v, *i)) return *value;
  }
  budget.step(4);
  if (const auto* name = key.text()) {
    // a list's or string's methods and an object's attributes can be subscribed too
    if (v.object() || data_attribute(v, *name) || find_method(v, *name) || is_mutating_method(v, *name))
      return attribute(v, *name);
    return make_undefined(budget, fmt::format("'{} object' has no attribute '{}'", type_name(v), clipped(*name)));
  }
  return make_undefined(budget, fmt::format("{} object has no element {}", type_name(v), clipped(repr(budget, key))));
}

std::shared_ptr<const Sequence> Interpreter::items_of(const Value& v) {
  if (v.sequence()) return v.shared_sequence();
  Grown<Value> items(budget);
  if (const auto* s = v.text()) {
    items.reserve(length(*s));
    for (const auto c : characters(*s)) {
      budget.step();
      items.add(text(std::string(c)));
    }
  } else if (const auto* m = v.mapping()) {
    items.reserve(m->entries.size());
    for (const auto& entry : m->entries) items.add(entry.first);
  } else if (auto* g = dynamic_cast<Generator*>(v.object())) {
    g->items.erase(g->items.begin(), g->items.begin() + static_cast<std::ptrdiff_t>(std::exchange(g->next, 0)));
    g->held.drop();
    return list(std::exchange(g->items, {})).shared_sequence();
  } else if (const auto* o = v.object(); o && o->elements()) {
    items.reserve(o->elements()->size());
    for (const Value& element : *o->elements()) items.add(element);
  } else if (!v.is_undefined()) {
    raise(fmt::format("'{}' object is not iterable", type_name(v)));
  }
  return list(items.take()).shared_sequence();
}

Value Interpreter::call(const Value& callee, Args args) {
  require_defined(callee);
  const Nesting nesting(*this);
  if (auto* object = callee.object()) return object->call(*this, std::move(args));
  raise(fmt::format("'{}' object is not callable", type_name(callee)));
}

// --- expressions

Value Interpreter::eval(const Expr& e) {
  const Nesting nesting(*this);
  budget.step();
  line_ = e.line;
  switch (e.kind) {
    case ExprKind::constant: return e.constant;
    case ExprKind::captured: return captured_;
    case ExprKind::name: return lookup(e.name);
    case ExprKind::tuple: return list(eval_all(e.parts), Flavor::tuple);
    case ExprKind::list: return list(eval_all(e.parts));
    case ExprKind::dict: return eval_dict(e);
    case ExprKind::attribute: return attribute(eval(*e.parts[0]), e.name);
    case ExprKind::item: return item(eval(*e.parts[0]), eval(*e.parts[1]));
    case ExprKind::slice: return eval_slice(e);
    case ExprKind::call: return eval_call(e);
    case ExprKind::filter: return eval_filter(e);
    case ExprKind::test: return eval_test(e);
    case ExprKind::logical_not: return Value(!truthy(eval(*e.parts[0])));
    case ExprKind::negate: return negative(budget, eval(*e.parts[0]));
    case ExprKind::plus: return positive(eval(*e.parts[0]));
    case ExprKind::binary: return binary(*this, e.op, eval(*e.parts[0]), eval(*e.parts[1]));
    case ExprKind::concat: return eval_concat(e);
    case ExprKind::compare: return eval_compare(e);
    case ExprKind::logical_and: {
      Value left = eval(*e.parts[0]);
      return truthy(left) ? eval(*e.parts[1]) : left;
    }
    case ExprKind::logical_or: {
      Value left = eval(*e.parts[0]);
      return truthy(left) ? left : eval(*e.parts[1]);
    }
    case ExprKind::conditional: return eval_conditional(e);
  }
  raise("unknown expression", Errc::internal);
}

Value Interpreter::lookup(std::string_view wanted) {
  for (const Scope* s = scope_; s; s = s->parent) {
    budget.step(s->variables.size() / 8);
    for (const auto& [name, value] : s->variables)
      if (name == wanted) return value;
  }
  if (wanted == "self") return Value(make<Blocks>(*blocks_));
  if (const auto* global = find_builtin(globals(), wanted)) return Value(make<Method>(*global, Value()));
  budget.step(4);
  return make_undefined(budget, fmt::format("'{}' is undefined", clipped(wanted)));
}

Value Interpreter::eval_dict(const Expr& e) {
  std::vector<std::pair<Value, Value>> entries;
  for (std::size_t i = 0; i < e.parts.size(); i += 2) {
    Value key = eval(*e.parts[i]);
    entries.emplace_back(std::move(key), eval(*e.parts[i + 1]));
  }
  return make_dict(budget, std::move(entries));
}

namespace {

/// Whether an expression is made of constants alone.
bool is_constant(Budget& budget, const Expr& e) {
  budget.step();
  if (e.kind == ExprKind::name || e.kind == ExprKind::captured || e.kind == ExprKind::call) return false;
  const auto all = [&](const std::vector<ExprPtr>& parts) {
    return std::all_of(parts.begin(), parts.end(), [&](const ExprPtr& p) { return !p || is_constant(budget, *p); });
  };
  return all(e.parts) && all(e.arguments.positional) && e.arguments.named.empty() && !e.arguments.star &&
         !e.arguments.double_star;
}

}  // namespace

Value Interpreter::eval_slice(const Expr& e) {
  const auto bound = [&](std::size_t i) { return e.parts[i] ? eval(*e.parts[i]) : Value(None{}); };
  const Value object = eval(*e.parts[0]), start = bound(1), stop = bound(2), step = bound(3);
  if (!can_slice(object) && is_constant(budget, *e.parts[0]))  // what Jinja folds has no error
    return make_undefined(budget, fmt::format("{} object cannot be sliced", type_name(object)));
  return slice(*this, object, start, stop, step);
}

Value Interpreter::eval_call(const Expr& e, const Value* caller) {
  const Expr& callee = *e.parts[0];
  // a method is called without making an object of it
  if (callee.kind == ExprKind::attribute && !caller) {
    const Value self = eval(*callee.parts[0]);
    const auto* method = self.object() ? nullptr : find_method(self, callee.name);
    if (method) {
      Args args = eval_arguments(e.arguments);
      line_ = e.line;
      return run_method(*this, *method, self, std::move(args));
    }
    const Value function = attribute(self, callee.name);
    Args args = eval_arguments(e.arguments);
    line_ = e.line;
    return call(function, std::move(args));
  }
  const Value function = eval(callee);
  Args args = eval_arguments(e.arguments);
  if (caller) args.named.emplace_back("caller", *caller);
  line_ = e.line;
  return call(function, std::move(args));
}

Value Interpreter::eval_filter(const Expr& e) {
  const Value self = eval(*e.parts[0]);
  Args args = eval_arguments(e.arguments);
  line_ = e.line;
  if (!e.builtin) raise(fmt::format("no filter named '{}'", e.name));
  return run_builtin(*this, *e.builtin, self, std::move(args), fmt::format("filter '{}'", e.name));
}

Value Interpreter::eval_test(const Expr& e) {
  const Value self = eval(*e.parts[0]);
  Args args = eval_arguments(e.arguments);
  line_ = e.line;
  if (!e.builtin) raise(fmt::format("no test named '{}'", e.name));
  return run_builtin(*this, *e.builtin, self, std::move(args), fmt::format("test '{}'", e.name));
}

Value Interpreter::eval_concat(const Expr& e) {
  const auto values = eval_all(e.parts);
  const bool markup =
      autoescape && std::any_of(values.begin(), values.end(), [](const Value& v) { return v.is_markup(); });
  Builder out(budget);
  for (const Value& v : values) out.add(*(markup ? escaped(budget, v) : to_text(budget, v)).text());
  return written(out, markup);
}

Value Interpreter::eval_compare(const Expr& e) {
  Value left = eval(*e.parts[0]);
  for (std::size_t i = 0; i < e.ops.size(); ++i) {
    Value right = eval(*e.parts[i + 1]);
    if (!compare(*this, e.ops[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Interpreter::eval_conditional(const Expr& e) {
  if (truthy(eval(*e.parts[1]))) return eval(*e.parts[0]);
  if (e.parts[2]) return eval(*e.parts[2]);
  return make_undefined(budget, "the inline if-expression evaluated to false and no else section was defined");
}

std::vector<Value> Interpreter::eval_all(const std::vector<ExprPtr>& exprs) {
  std::vector<Value> values;
  values.reserve(exprs.size());
  for (const auto& e : exprs) values.push_back(eval(*e));
  return values;
}

Args Interpreter::eval_arguments(const Arguments& a) {
  Args args{eval_all(a.positional), {}};
  for (const auto& [name, e] : a.named) args.named.emplace_back(name, eval(*e));
  if (a.star) {
    const auto more = items_of(eval(*a.star));
    budget.bytes(more->items.size() * sizeof(Value));
    budget.step(more->items.size());
    args.positional.insert(args.positional.end(), more->items.begin(), more->items.end());
  }
  if (a.double_star) {
    const Value more = eval(*a.double_star);
    if (!more.mapping()) raise(fmt::format("** expects a mapping, not {}", type_name(more)));
    for (const auto& [key, value] : more.mapping()->entries) {
      const std::string& name = require_text(key, "the name of an argument");
      budget.bytes(name.size() + 64);
      args.named.emplace_back(name, value);
    }
    budget.step(more.mapping()->entries.size());
  }
  return args;
}

// --- statements

void Interpreter::print(const Value& v) { out_->add(*(autoescape ? escaped(budget, v) : to_text(budget, v)).text()); }

Scope& Interpreter::push_scope(Scope* parent) {
  budget.hold(sizeof(Scope) + 64);
  return scopes_.emplace_back(Scope{parent, false, {}});
}

void Interpreter::set(std::string_view name, Value value) {
  budget.step(scope_->variables.size() / 8);
  for (auto& [have, old] : scope_->variables)
    if (have == name) {
      old = std::move(value);
      return;
    }
  scope_->variables.emplace_back(name, std::move(value));
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (target.kind == Target::name) return set(target.id, value);
  if (target.kind == Target::attribute) {
    auto* ns = dynamic_cast<Namespace*>(lookup(target.id).object());
    if (!ns)
      raise(fmt::format("cannot assign attribute '{}' of '{}', which is not a namespace", target.attribute_name,
                        target.id));
    return ns->set(budget, target.attribute_name, value);
  }
  require_defined(value);
  const auto all = items_of(value);
  if (all->items.size() != target.parts.size())
    raise(fmt::format("cannot unpack {} values into {} variables", all->items.size(), target.parts.size()));
  for (std::size_t i = 0; i < target.parts.size(); ++i) assign(target.parts[i], all->items[i]);
}

Interpreter::Flow Interpreter::run(const Body& body) {
  const Nesting nesting(*this);
  for (const auto& stmt : body)
    if (const Flow flow = run(*stmt); flow != Flow::next) return flow;
  return Flow::next;
}

Interpreter::Flow Interpreter::run(const Stmt& s) {
  budget.step();
  line_ = s.line;
  switch (s.kind) {
    case StmtKind::text: out_->add(s.text); return Flow::next;
    case StmtKind::output:
      for (const auto& e : s.exprs) print(eval(*e));
      return Flow::next;
    case StmtKind::branches: return run_branches(s);
    case StmtKind::loop: {
      const Swapped scope(scope_, scope_);
      return run_loop(s, eval(*s.exprs[0]), 0);
    }
    case StmtKind::set: assign(s.targets[0], eval(*s.exprs[0])); return Flow::next;
    case StmtKind::set_block:
    case StmtKind::filter: return run_captured(s);
    case StmtKind::macro:
      scope_->captured = true;
      set(s.macro->name, Value(make<Macro>(*s.macro, *scope_, autoescape)));
      return Flow::next;
    case StmtKind::call: return run_call(s);
    case StmtKind::with: return run_with(s);
    case StmtKind::scope: return run_in_scope(s.body);
    case StmtKind::autoescape: {
      const Swapped escaping(autoescape, truthy(eval(*s.exprs[0])));
      return run_in_scope(s.body);
    }
    case StmtKind::block: return run_block(s, s.scoped ? *scope_ : *top_);
    case StmtKind::loop_break: return Flow::loop_break;
    case StmtKind::loop_continue: return Flow::loop_continue;
  }
  raise("unknown statement", Errc::internal);
}

Interpreter::Flow Interpreter::run_branches(const Stmt& s) {
  for (const Branch& b : s.branches)
    if (!b.test || truthy(eval(*b.test))) return run(b.body);
  return Flow::next;
}

// The items that pass the loop's `if`.
Value Interpreter::filter_items(const Stmt& s, const Sequence& all) {
  const Swapped scope(scope_, &push_scope(scope_));
  Grown<Value> kept(budget);
  for (const Value& v : all.items) {
    assign(s.targets[0], v);
    if (truthy(eval(*s.exprs[1]))) kept.add(v);
  }
  return list(kept.take());
}

// Every iteration has a scope of its own. The else part runs where no iteration came to its end: Jinja's rule, by which
// `continue` in all of them or `break` in the first count as none.
Interpreter::Flow Interpreter::run_loop(const Stmt& s, const Value& iterable, int depth) {
  Scope* const outer = scope_;
  auto all = items_of(iterable);
  if (s.exprs[1]) all = filter_items(s, *all).shared_sequence();
  Loop* const loop = make<Loop>(s, *outer, depth, all);
  outer->captured = true;
  bool completed = false;
  Scope* inner = &push_scope(outer);
  for (loop->index = 0; loop->index < all->items.size(); ++loop->index) {
    budget.step(4);  // an iteration sets its scope and variables up
    if (inner->captured) inner = &push_scope(outer);
    inner->variables.clear();
    scope_ = inner;
    set("loop", Value(loop));
    assign(s.targets[0], all->items[loop->index]);
    const Flow flow = run(s.body);
    if (flow == Flow::loop_break) break;
    completed |= flow == Flow::next;
  }
  scope_ = outer;
  if (completed || s.otherwise.empty()) return Flow::next;
  return run_in_scope(s.otherwise);
}

Value Interpreter::run_loop_again(const Stmt& s, Scope& scope, const Value& items, int depth) {
  Builder captured(budget);
  const Swapped out(out_, &captured);
  const Swapped inner(scope_, &scope);
  run_loop(s, items, depth);
  return written(captured, autoescape);
}

Interpreter::Flow Interpreter::run_in_scope(const Body& body) {
  const Swapped scope(scope_, &push_scope(scope_));
  return run(body);
}

// Without `scoped` a block sees the template's own variables only.
Interpreter::Flow Interpreter::run_block(const Stmt& s, Scope& parent) {
  if (s.required) raise(fmt::format("the required block '{}' is not overridden", s.text));
  const Swapped scope(scope_, &push_scope(&parent));
  return run(s.body);
}

Value Interpreter::block_text(const Stmt& s) {
  Builder captured(budget);
  const Swapped out(out_, &captured);
  run_block(s, *top_);
  return written(captured, autoescape);
}

Value Interpreter::written(Builder& s, bool markup) {
  Value v = text(s.take());
  return markup ? v.as_markup() : v;
}

Interpreter::Flow Interpreter::run_with(const Stmt& s) {
  auto values = eval_all(s.exprs);
  const Swapped scope(scope_, &push_scope(scope_));
  for (std::size_t i = 0; i < values.size(); ++i) assign(s.targets[i], values[i]);
  return run(s.body);
}

// {% set x | filters %}…{% endset %} and {% filter filters %}…{% endfilter %}
Interpreter::Flow Interpreter::run_captured(const Stmt& s) {
  Builder body(budget);
  Value result;
  {
    const Swapped scope(scope_, &push_scope(scope_));
    {
      const Swapped out(out_, &body);
      if (const Flow flow = run(s.body); flow != Flow::next) return flow;
    }
    const Swapped captured(captured_, written(body, autoescape));
    result = eval(*s.exprs[0]);
  }
  if (s.kind == StmtKind::filter) print(result);
  else assign(s.targets[0], result);
  return Flow::next;
}

Interpreter::Flow Interpreter::run_call(const Stmt& s) {
  scope_->captured = true;
  const Value caller(make<Macro>(*s.macro, *scope_, autoescape));
  print(eval_call(*s.exprs[0], &caller));
  return Flow::next;
}

Value Interpreter::call_macro(const MacroDef& macro, Scope& scope, Args args, bool defined_autoescape) {
  const int line = line_;
  const bool markup = autoescape;
  budget.step(4);
  const Swapped escaping(autoescape, defined_autoescape);
  const Swapped inner(scope_, &push_scope(&scope));
  const std::size_t n = macro.parameters.size(), given = std::min(n, args.positional.size());
  const auto take_named = [&](std::string_view name) {
    const auto it = std::find_if(args.named.begin(), args.named.end(), [&](const auto& a) { return a.first == name; });
    if (it == args.named.end()) return Value();
    Value v = std::move(it->second);
    args.named.erase(it);
    return v;
  };

  for (std::size_t i = 0; i < n; ++i) {
    const std::string& name = macro.parameters[i];
    Value v = i < given ? args.positional[i] : take_named(name);
    const std::size_t first_default = n - macro.defaults.size();
    if (v.is_missing())
      v = i >= first_default ? eval(*macro.defaults[i - first_default])
                             : make_undefined(budget, fmt::format("parameter '{}' was not provided", name));
    set(name, std::move(v));
  }
  const auto is_parameter = [&](std::string_view name) {
    return std::find(macro.parameters.begin(), macro.parameters.end(), name) != macro.parameters.end();
  };
  if (macro.uses_caller && !is_parameter("caller")) {
    Value caller = take_named("caller");
    set("caller", caller.is_missing() ? make_undefined(budget, "no caller defined") : caller);
  }
  if (macro.uses_kwargs && !is_parameter("kwargs")) {
    std::vector<std::pair<Value, Value>> rest;
    for (auto& [name, value] : args.named) rest.emplace_back(text(name), std::move(value));
    set("kwargs", make_dict(budget, std::move(rest)));
  } else if (!args.named.empty()) {
    raise(fmt::format("macro '{}' takes no keyword argument '{}'", macro.name, args.named[0].first));
  }
  if (macro.uses_varargs && !is_parameter("varargs"))
    set("varargs",
        list({args.positional.begin() + static_cast<std::ptrdiff_t>(given), args.positional.end()}, Flavor::tuple));
  else if (args.positional.size() > n)
    raise(fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, n));

  Builder out(budget);
  {
    const Swapped to(out_, &out);
    run(macro.body);
  }
  line_ = line;
  return written(out, markup);
}

std::string Interpreter::render(const Template& t, const Json& context) {
  Builder out(budget);
  out_ = &out;
  scope_ = &push_scope(nullptr);
  for (const auto& [name, value] : context.items()) scope_->variables.emplace_back(name, from_json(budget, value));
  scope_ = top_ = &push_scope(scope_);
  blocks_ = &t.blocks;
  run(t.body);
  return out.take();
}

}  // namespace halyard::jinja

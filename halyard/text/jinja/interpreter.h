// Runs a parsed template.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "halyard/base/seeded_hash.h"
#include "halyard/text/jinja/ast.h"
#include "halyard/text/jinja/stack.h"
#include "halyard/text/jinja/value.h"

namespace halyard::jinja {

struct Scope {
  Scope* parent = nullptr;
  bool captured = false;  ///< a macro refers to it: it must not be used again for another iteration
  std::vector<std::pair<std::string_view, Value>> variables;
};

/// One render. Throws Failure; line() is then where it stood.
class Interpreter {
 public:
  std::string render(const Template&, const Json& context);
  int line() const { return line_; }

  Budget budget;
  bool autoescape = false;  ///< within {% autoescape true %}: what is printed is escaped

  /// An object that lives until the render ends.
  template <class T, class... A> T* make(A&&... a) {
    budget.hold(256);
    auto object = std::make_unique<T>(std::forward<A>(a)...);
    T* p = object.get();
    objects_.push_back(std::move(object));
    return p;
  }

  /// Numbers that differ from render to render.
  std::mt19937& random() {
    if (!random_) random_.emplace(static_cast<std::mt19937::result_type>(random_seed()));
    return *random_;
  }

  Value text(std::string s) { return make_text(budget, std::move(s)); }
  Value list(std::vector<Value> items, Flavor f = Flavor::list) { return make_list(budget, std::move(items), f); }
  Value generator(std::vector<Value> items);

  /// value.name: methods before keys, as Python's getattr. Undefined where there is none.
  Value attribute(const Value&, std::string_view name);
  /// value[key]: keys before methods.
  Value item(const Value&, const Value& key);
  /// What a for loop goes through; uses a generator up.
  std::shared_ptr<const Sequence> items_of(const Value&);
  Value call(const Value& callee, Args);
  /// Counts one level of recursion until the end of the block.
  class Nesting;
  Nesting nest();
  /// Runs `macro` in a new scope within `scope`, which must be of this render.
  Value call_macro(const MacroDef& macro, Scope& scope, Args, bool defined_autoescape);
  /// What a block writes, as self.name() gives it.
  Value block_text(const Stmt& block);
  /// The text of a recursive loop's body over `items`.
  Value run_loop_again(const Stmt& loop, Scope& scope, const Value& items, int depth);

 private:
  enum class Flow { next, loop_break, loop_continue };
  Value eval(const Expr&);
  Value lookup(std::string_view name);
  Value eval_dict(const Expr&);
  Value eval_slice(const Expr&);
  Value eval_call(const Expr&, const Value* caller = nullptr);
  Value eval_filter(const Expr&);
  Value eval_test(const Expr&);
  Value eval_concat(const Expr&);
  Value eval_compare(const Expr&);
  Value eval_conditional(const Expr&);
  std::vector<Value> eval_all(const std::vector<ExprPtr>&);
  Args eval_arguments(const Arguments&);

  Flow run(const Body&);
  Flow run(const Stmt&);
  Flow run_branches(const Stmt&);
  Flow run_loop(const Stmt&, const Value& items, int depth);
  Flow run_with(const Stmt&);
  Flow run_block(const Stmt&, Scope& parent);
  Flow run_in_scope(const Body&);
  Flow run_call(const Stmt&);
  Flow run_captured(const Stmt&);
  Value filter_items(const Stmt&, const Sequence&);

  void write(std::string_view);
  void print(const Value&);
  Value written(Builder&, bool markup);
  void assign(const Target&, const Value&);
  void set(std::string_view name, Value);
  Scope& push_scope(Scope* parent);

  int line_ = 1;
  int depth_ = 0;
  const StackLimit stack_;
  Scope* scope_ = nullptr;
  Scope* top_ = nullptr;  // the template's own variables
  const BlockTable* blocks_ = nullptr;
  Builder* out_ = nullptr;
  Value captured_;
  std::optional<std::mt19937> random_;
  std::deque<Scope> scopes_;
  std::vector<std::unique_ptr<Object>> objects_;
};

class Interpreter::Nesting {
 public:
  explicit Nesting(Interpreter& in);
  ~Nesting() { --in_.depth_; }
  Nesting(const Nesting&) = delete;

 private:
  Interpreter& in_;
};
inline Interpreter::Nesting Interpreter::nest() { return Nesting(*this); }

/// Throws what using an undefined value says, if it is one.
void require_defined(const Value&);
/// An index or count; throws with `what` where it is not an int.
std::int64_t require_int(const Value&, std::string_view what);
const std::string& require_text(const Value&, std::string_view what);

}  // namespace halyard::jinja

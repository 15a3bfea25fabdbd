#include "halyard/text/jinja/parser.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include <fmt/format.h>

#include "halyard/text/jinja/builtins.h"
#include "halyard/text/jinja/lexer.h"
#include "halyard/text/jinja/stack.h"

namespace halyard::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

struct BinaryOp {
  std::string_view text;
  Op op;
};
constexpr std::array comparisons{BinaryOp{"==", Op::eq}, BinaryOp{"!=", Op::ne}, BinaryOp{"<", Op::lt},
                                 BinaryOp{"<=", Op::le}, BinaryOp{">", Op::gt},  BinaryOp{">=", Op::ge}};
constexpr std::array sums{BinaryOp{"+", Op::add}, BinaryOp{"-", Op::subtract}};
constexpr std::array products{BinaryOp{"*", Op::multiply}, BinaryOp{"/", Op::divide}, BinaryOp{"//", Op::floor_divide},
                              BinaryOp{"%", Op::modulo}};

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}

  Template run() {
    Body body = parse_body({});
    return {std::move(body), std::move(blocks_)};
  }

 private:
  // --- tokens

  const Token& here() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }

  bool is(TokenType type) const { return here().type == type; }
  bool is_op(std::string_view op) const { return is(TokenType::op) && here().text == op; }
  bool is_name(std::string_view name) const { return is(TokenType::name) && here().text == name; }
  bool is_name_of(Names names) const {
    return is(TokenType::name) && std::find(names.begin(), names.end(), here().text) != names.end();
  }
  bool accept_op(std::string_view op) { return is_op(op) && (next(), true); }
  bool accept_name(std::string_view name) { return is_name(name) && (next(), true); }

  static std::string describe(const Token& t) {
    switch (t.type) {
      case TokenType::data: return "text";
      case TokenType::block_begin: return "'{%'";
      case TokenType::block_end: return "the end of the statement";
      case TokenType::variable_begin: return "'{{'";
      case TokenType::variable_end: return "the end of the expression";
      case TokenType::string: return "a string";
      case TokenType::integer:
      case TokenType::real: return "a number";
      case TokenType::name:
      case TokenType::op: return fmt::format("'{}'", t.text);
      case TokenType::end: break;
    }
    return "the end of the template";
  }

  [[noreturn]] void fail_at(int line, std::string message) const {
    throw Failure{Errc::bad_file, std::move(message), line};
  }
  [[noreturn]] void fail(std::string message) const { fail_at(here().line, std::move(message)); }
  [[noreturn]] void fail_expected(std::string_view what) const {
    fail(fmt::format("expected {}, not {}", what, describe(here())));
  }

  void expect_op(std::string_view op) {
    if (!accept_op(op)) fail_expected(fmt::format("'{}'", op));
  }
  void expect_keyword(std::string_view name) {
    if (!accept_name(name)) fail_expected(fmt::format("'{}'", name));
  }
  std::string expect_name() {
    if (!is(TokenType::name)) fail_expected("a name");
    return next().text;
  }
  void expect(TokenType type) {
    if (!is(type)) fail_expected(describe(Token{type, 0, {}, {}, 0}));
    next();
  }

  // Counts how deep the parser stands in statements and brackets.
  struct Nesting {
    explicit Nesting(Parser& p) : parser(p) {
      if (p.stack_.near()) p.fail_at(p.here().line, "nests deeper than the thread's stack allows");
      if (++p.depth_ > max_syntax_depth)
        p.fail_at(p.here().line, fmt::format("nests deeper than {} levels", max_syntax_depth));
    }
    ~Nesting() { --parser.depth_; }
    Nesting(const Nesting&) = delete;
    Parser& parser;
  };

  // --- statements

  // Statements up to the end of the template or to a tag of `ends`, whose name is left as the current token.
  Body parse_body(Names ends) {
    const Nesting nesting(*this);
    Body body;
    for (;;) {
      switch (here().type) {
        case TokenType::end:
          if (ends.size() > 0) fail(fmt::format("the template ends where {{% {} %}} is missing", *(ends.end() - 1)));
          return body;
        case TokenType::data:
          body.push_back(make(StmtKind::text, here().line));
          body.back()->text = next().text;
          break;
        case TokenType::variable_begin:
          next();
          body.push_back(make(StmtKind::output, here().line));
          body.back()->exprs.push_back(parse_tuple());
          expect(TokenType::variable_end);
          break;
        default:
          expect(TokenType::block_begin);
          if (is_name_of(ends)) return body;
          body.push_back(parse_statement());
          expect(TokenType::block_end);
      }
    }
  }

  // The body of a statement whose opening tag is read up to its end.
  Body parse_block(Names ends) {
    accept_op(":");
    expect(TokenType::block_end);
    return parse_body(ends);
  }
  Body parse_block_to(std::string_view end) {
    Body body = parse_block({end});
    next();
    return body;
  }

  static std::unique_ptr<Stmt> make(StmtKind kind, int line) {
    auto s = std::make_unique<Stmt>();
    s->kind = kind;
    s->line = line;
    return s;
  }

  std::unique_ptr<Stmt> parse_statement() {
    using Rule = std::unique_ptr<Stmt> (Parser::*)(int);
    static constexpr std::pair<std::string_view, Rule> rules[] = {
        {"if", &Parser::parse_if},
        {"for", &Parser::parse_for},
        {"set", &Parser::parse_set},
        {"macro", &Parser::parse_macro},
        {"call", &Parser::parse_call_block},
        {"filter", &Parser::parse_filter_block},
        {"with", &Parser::parse_with},
        {"generation", &Parser::parse_generation},
        {"print", &Parser::parse_print},
        {"break", &Parser::parse_break},
        {"continue", &Parser::parse_continue},
        {"autoescape", &Parser::parse_autoescape},
        {"block", &Parser::parse_named_block},
    };
    const int line = here().line;
    if (!is(TokenType::name)) fail_expected("a tag's name");
    for (const auto& [name, rule] : rules)
      if (is_name(name)) {
        next();
        return (this->*rule)(line);
      }
    if (is_name_of({"include", "import", "from", "extends"}))
      fail(fmt::format("{{% {} %}}: a chat template cannot load other files", here().text));
    fail(fmt::format("unknown tag {}", describe(here())));
  }

  std::unique_ptr<Stmt> parse_if(int line) {
    auto s = make(StmtKind::branches, line);
    ++conditional_;
    do {
      auto test = parse_tuple(false);
      s->branches.push_back({std::move(test), parse_block({"elif", "else", "endif"})});
    } while (accept_name("elif"));
    if (accept_name("else")) s->branches.push_back({nullptr, parse_block({"endif"})});
    next();
    --conditional_;
    return s;
  }

  std::unique_ptr<Stmt> parse_for(int line) {
    auto s = make(StmtKind::loop, line);
    s->targets.push_back(parse_target(false));
    expect_keyword("in");
    s->exprs.push_back(parse_tuple(false, "recursive"));
    s->exprs.push_back(accept_name("if") ? parse_expression() : nullptr);
    s->recursive = accept_name("recursive");
    ++loops_;
    s->body = parse_block({"else", "endfor"});
    --loops_;
    if (next().text == "else") s->otherwise = parse_block_to("endfor");
    return s;
  }

  std::unique_ptr<Stmt> parse_set(int line) {
    auto s = make(StmtKind::set, line);
    s->targets.push_back(parse_target(true));
    if (accept_op("=")) {
      s->exprs.push_back(parse_tuple());
      return s;
    }
    s->kind = StmtKind::set_block;
    s->exprs.push_back(parse_filters(node(ExprKind::captured, line)));
    s->body = parse_block_to("endset");
    return s;
  }

  std::unique_ptr<Stmt> parse_macro(int line) {
    auto s = make(StmtKind::macro, line);
    s->macro = std::make_unique<MacroDef>();
    s->macro->name = expect_name();
    parse_signature(*s->macro);
    parse_macro_body(*s->macro, "endmacro");
    return s;
  }

  std::unique_ptr<Stmt> parse_call_block(int line) {
    auto s = make(StmtKind::call, line);
    s->macro = std::make_unique<MacroDef>();
    s->macro->name = "caller";
    if (is_op("(")) parse_signature(*s->macro);
    s->exprs.push_back(parse_expression());
    if (s->exprs[0]->kind != ExprKind::call) fail_at(line, "{% call %} expects a call");
    parse_macro_body(*s->macro, "endcall");
    return s;
  }

  void parse_signature(MacroDef& macro) {
    expect_op("(");
    while (!is_op(")")) {
      if (!macro.parameters.empty()) expect_op(",");
      macro.parameters.push_back(expect_name());
      if (accept_op("=")) macro.defaults.push_back(parse_expression());
      else if (!macro.defaults.empty()) fail("a parameter without a default follows one that has one");
    }
    expect_op(")");
  }

  void parse_macro_body(MacroDef& macro, std::string_view end) {
    macros_.push_back(&macro);
    const int loops = std::exchange(loops_, 0);
    macro.body = parse_block_to(end);
    loops_ = loops;
    macros_.pop_back();
  }

  std::unique_ptr<Stmt> parse_filter_block(int line) {
    auto s = make(StmtKind::filter, line);
    s->exprs.push_back(parse_filters(parse_filter(node(ExprKind::captured, line))));
    s->body = parse_block_to("endfilter");
    return s;
  }

  std::unique_ptr<Stmt> parse_with(int line) {
    auto s = make(StmtKind::with, line);
    while (!is(TokenType::block_end)) {
      if (!s->targets.empty()) expect_op(",");
      s->targets.push_back(parse_target(false));
      expect_op("=");
      s->exprs.push_back(parse_expression());
    }
    s->body = parse_block_to("endwith");
    return s;
  }

  std::unique_ptr<Stmt> parse_generation(int line) {
    auto s = make(StmtKind::scope, line);
    s->body = parse_block_to("endgeneration");
    return s;
  }

  std::unique_ptr<Stmt> parse_autoescape(int line) {
    auto s = make(StmtKind::autoescape, line);
    s->exprs.push_back(parse_expression());
    s->body = parse_block_to("endautoescape");
    return s;
  }

  std::unique_ptr<Stmt> parse_named_block(int line) {
    auto s = make(StmtKind::block, line);
    s->text = expect_name();
    s->scoped = accept_name("scoped");
    s->required = accept_name("required");
    if (is_op("-")) fail("a block's name has no hyphens");
    if (!blocks_.emplace(s->text, s.get()).second) fail_at(line, fmt::format("block '{}' defined twice", s->text));
    const int loops = std::exchange(loops_, 0);
    s->body = parse_block_to("endblock");
    loops_ = loops;
    accept_name(s->text);
    return s;
  }

  std::unique_ptr<Stmt> parse_print(int line) {
    auto s = make(StmtKind::output, line);
    while (!is(TokenType::block_end)) {
      if (!s->exprs.empty()) expect_op(",");
      s->exprs.push_back(parse_expression());
    }
    return s;
  }

  std::unique_ptr<Stmt> parse_break(int line) { return parse_jump(StmtKind::loop_break, line); }
  std::unique_ptr<Stmt> parse_continue(int line) { return parse_jump(StmtKind::loop_continue, line); }
  std::unique_ptr<Stmt> parse_jump(StmtKind kind, int line) {
    if (loops_ == 0) fail_at(line, "break or continue outside of a loop");
    return make(kind, line);
  }

  // A variable, a tuple of targets, or where `attributes` also namespace.attribute.
  Target parse_target(bool attributes) {
    const Nesting nesting(*this);
    Target first = parse_simple_target(attributes);
    if (!is_op(",")) return first;
    Target all{Target::tuple, first.line, {}, {}, {}};
    all.parts.push_back(std::move(first));
    while (accept_op(",")) {
      if (is_name("in") || is_op("=") || is_op(")") || is(TokenType::block_end)) break;
      all.parts.push_back(parse_simple_target(attributes));
    }
    return all;
  }

  Target parse_simple_target(bool attributes) {
    const int line = here().line;
    if (accept_op("(")) {
      Target t = parse_target(attributes);
      expect_op(")");
      return t;
    }
    if (is_name_of({"true", "false", "none", "True", "False", "None"}))
      fail(fmt::format("can't assign to '{}'", here().text));
    Target t{Target::name, line, expect_name(), {}, {}};
    if (attributes && accept_op(".")) {
      t.kind = Target::attribute;
      t.attribute_name = expect_name();
    }
    return t;
  }

  // --- expressions

  static ExprPtr node(ExprKind kind, int line) {
    auto e = std::make_unique<Expr>();
    e->kind = kind;
    e->line = line;
    return e;
  }

  // Takes `part` in as an operand; chains such as a.b.c… nest without recursion of the parser, so depth is checked here.
  void add(Expr& e, ExprPtr part) {
    if (part) note_depth(e, *part);
    e.parts.push_back(std::move(part));
  }
  void note_depth(Expr& e, const Expr& part) {
    e.depth = std::max(e.depth, part.depth + 1);
    if (e.depth > max_syntax_depth)
      fail_at(e.line, fmt::format("an expression nests deeper than {} levels", max_syntax_depth));
  }

  template <class... Parts> ExprPtr node(ExprKind kind, int line, Parts... parts) {
    auto e = node(kind, line);
    (add(*e, std::move(parts)), ...);
    return e;
  }

  // a or a, b, c: one expression, or a tuple of them.
  ExprPtr parse_tuple(bool conditional = true, std::string_view end_name = {}, bool parenthesised = false) {
    const int line = here().line;
    auto tuple = node(ExprKind::tuple, line);
    bool comma = false;
    for (;;) {
      if (comma || parenthesised) {
        if (is(TokenType::variable_end) || is(TokenType::block_end) || is_op(")") ||
            (!end_name.empty() && is_name(end_name)))
          break;
      }
      auto item = conditional ? parse_expression() : parse_or();
      if (!is_op(",") && !comma) return item;
      add(*tuple, std::move(item));
      if (!accept_op(",")) break;
      comma = true;
    }
    return tuple;
  }

  ExprPtr parse_expression() {
    const Nesting nesting(*this);
    int line = here().line;
    auto e = parse_or();
    while (accept_name("if")) {
      ++conditional_;
      auto test = parse_or();
      ExprPtr otherwise = accept_name("else") ? parse_expression() : nullptr;
      --conditional_;
      e = node(ExprKind::conditional, line, std::move(e), std::move(test), std::move(otherwise));
      line = here().line;
    }
    return e;
  }

  ExprPtr parse_or() {
    auto e = parse_and();
    for (int line = here().line; accept_name("or"); line = here().line)
      e = node(ExprKind::logical_or, line, std::move(e), parse_and());
    return e;
  }

  ExprPtr parse_and() {
    auto e = parse_not();
    for (int line = here().line; accept_name("and"); line = here().line)
      e = node(ExprKind::logical_and, line, std::move(e), parse_not());
    return e;
  }

  ExprPtr parse_not() {
    const Nesting nesting(*this);
    const int line = here().line;
    if (accept_name("not")) return node(ExprKind::logical_not, line, parse_not());
    return parse_compare();
  }

  ExprPtr parse_compare() {
    auto first = parse_sum();
    ExprPtr e;
    Op op;
    for (int line = here().line; accept_comparison(op); line = here().line) {
      if (!e) e = node(ExprKind::compare, line, std::move(first));
      e->ops.push_back(op);
      add(*e, parse_sum());
    }
    return e ? std::move(e) : std::move(first);
  }

  bool accept_comparison(Op& op) {
    if (accept_name("in")) return op = Op::in, true;
    if (is_name("not") && ahead().type == TokenType::name && ahead().text == "in") {
      next();
      next();
      return op = Op::not_in, true;
    }
    return accept_operator(comparisons, op);
  }

  template <class Table> bool accept_operator(const Table& table, Op& op) {
    for (const BinaryOp& b : table)
      if (accept_op(b.text)) return op = b.op, true;
    return false;
  }

  ExprPtr parse_sum() {
    auto e = parse_concat();
    Op op;
    for (int line = here().line; accept_operator(sums, op); line = here().line) {
      e = node(ExprKind::binary, line, std::move(e), parse_concat());
      e->op = op;
    }
    return e;
  }

  ExprPtr parse_concat() {
    const int line = here().line;
    auto first = parse_product();
    if (!is_op("~")) return first;
    auto e = node(ExprKind::concat, line, std::move(first));
    while (accept_op("~")) add(*e, parse_product());
    return e;
  }

  ExprPtr parse_product() {
    auto e = parse_power();
    Op op;
    for (int line = here().line; accept_operator(products, op); line = here().line) {
      e = node(ExprKind::binary, line, std::move(e), parse_power());
      e->op = op;
    }
    return e;
  }

  ExprPtr parse_power() {
    auto e = parse_unary(true);
    for (int line = here().line; accept_op("**"); line = here().line) {
      e = node(ExprKind::binary, line, std::move(e), parse_unary(true));
      e->op = Op::power;
    }
    return e;
  }

  ExprPtr parse_unary(bool with_filters) {
    const Nesting nesting(*this);
    const int line = here().line;
    ExprPtr e;
    if (accept_op("-")) e = node(ExprKind::negate, line, parse_unary(false));
    else if (accept_op("+")) e = node(ExprKind::plus, line, parse_unary(false));
    else e = parse_primary();
    e = parse_postfix(std::move(e));
    return with_filters ? parse_filters_and_tests(std::move(e)) : std::move(e);
  }

  ExprPtr parse_primary() {
    const Token& t = here();
    switch (t.type) {
      case TokenType::name: next(); return parse_name(t);
      case TokenType::string: return parse_string();
      case TokenType::integer: next(); return constant(whole_number(t), t.line);
      case TokenType::real: next(); return constant(Value(t.real), t.line);
      default: break;
    }
    if (accept_op("(")) {
      auto e = parse_tuple(true, {}, true);
      expect_op(")");
      return e;
    }
    if (accept_op("[")) return parse_list(t.line);
    if (accept_op("{")) return parse_dict(t.line);
    fail_expected("an expression");
  }

  static Value whole_number(const Token& t) {
    if (const auto fits = t.integer->small()) return Value(*fits);
    return Value(std::make_shared<const BigInt>(*t.integer));
  }

  static ExprPtr constant(Value v, int line) {
    auto e = node(ExprKind::constant, line);
    e->constant = std::move(v);
    return e;
  }

  ExprPtr parse_name(const Token& t) {
    if (t.text == "true" || t.text == "True") return constant(Value(true), t.line);
    if (t.text == "false" || t.text == "False") return constant(Value(false), t.line);
    if (t.text == "none" || t.text == "None") return constant(None{}, t.line);
    for (MacroDef* macro : macros_) {
      macro->uses_caller |= t.text == "caller";
      macro->uses_kwargs |= t.text == "kwargs";
      macro->uses_varargs |= t.text == "varargs";
    }
    auto e = node(ExprKind::name, t.line);
    e->name = t.text;
    return e;
  }

  ExprPtr parse_string() {
    const int line = here().line;
    std::string text;
    while (is(TokenType::string)) text += next().text;
    return constant(Value(std::make_shared<const std::string>(std::move(text))), line);
  }

  ExprPtr parse_list(int line) {
    auto e = node(ExprKind::list, line);
    while (!is_op("]")) {
      if (!e->parts.empty()) expect_op(",");
      if (is_op("]")) break;
      add(*e, parse_expression());
    }
    expect_op("]");
    return e;
  }

  ExprPtr parse_dict(int line) {
    auto e = node(ExprKind::dict, line);
    while (!is_op("}")) {
      if (!e->parts.empty()) expect_op(",");
      if (is_op("}")) break;
      add(*e, parse_expression());
      expect_op(":");
      add(*e, parse_expression());
    }
    expect_op("}");
    return e;
  }

  ExprPtr parse_postfix(ExprPtr e) {
    for (;;) {
      if (is_op(".")) e = parse_attribute(std::move(e));
      else if (is_op("[")) e = parse_subscript(std::move(e));
      else if (is_op("(")) e = parse_call(std::move(e));
      else return e;
    }
  }

  ExprPtr parse_attribute(ExprPtr object) {
    const int line = next().line;
    if (is(TokenType::integer))
      return node(ExprKind::item, line, std::move(object), constant(whole_number(next()), line));
    auto e = node(ExprKind::attribute, line, std::move(object));
    e->name = expect_name();
    return e;
  }

  ExprPtr parse_subscript(ExprPtr object) {
    const int line = next().line;
    auto e = node(ExprKind::item, line, std::move(object));
    if (is_op(":")) return parse_slice(std::move(e), nullptr);
    auto key = parse_expression();
    if (is_op(":")) return parse_slice(std::move(e), std::move(key));
    if (is_op(",")) {
      auto tuple = node(ExprKind::tuple, line, std::move(key));
      while (accept_op(",")) add(*tuple, parse_expression());
      key = std::move(tuple);
    }
    add(*e, std::move(key));
    expect_op("]");
    return e;
  }

  ExprPtr parse_slice(ExprPtr e, ExprPtr start) {
    e->kind = ExprKind::slice;
    add(*e, std::move(start));
    for (int i = 0; i < 2; ++i) {
      const bool given = accept_op(":") && !is_op(":") && !is_op("]");
      add(*e, given ? parse_expression() : nullptr);
    }
    expect_op("]");
    return e;
  }

  ExprPtr parse_call(ExprPtr callee) {
    auto e = node(ExprKind::call, here().line, std::move(callee));
    parse_arguments(*e);
    return e;
  }

  void parse_arguments(Expr& e) {
    expect_op("(");
    Arguments& a = e.arguments;
    for (bool first = true; !is_op(")"); first = false) {
      if (!first) expect_op(",");
      if (is_op(")")) break;
      const bool named = is(TokenType::name) && ahead().type == TokenType::op && ahead().text == "=";
      const bool late = a.double_star || (!named && !is_op("**") && (a.star || !a.named.empty()));
      if (late) fail("invalid order of arguments in a call");
      if (accept_op("*")) a.star = noted(e, parse_expression());
      else if (accept_op("**")) a.double_star = noted(e, parse_expression());
      else if (named) {
        std::string name = next().text;
        next();
        a.named.emplace_back(std::move(name), noted(e, parse_expression()));
      } else a.positional.push_back(noted(e, parse_expression()));
    }
    expect_op(")");
  }

  ExprPtr noted(Expr& e, ExprPtr part) {
    note_depth(e, *part);
    return part;
  }

  ExprPtr parse_filters_and_tests(ExprPtr e) {
    for (;;) {
      if (is_op("|")) e = parse_filters(std::move(e));
      else if (is_name("is")) e = parse_test(std::move(e));
      else if (is_op("(")) e = parse_call(std::move(e));
      else return e;
    }
  }

  ExprPtr parse_filters(ExprPtr e) {
    while (accept_op("|")) e = parse_filter(std::move(e));
    return e;
  }

  ExprPtr parse_filter(ExprPtr operand) {
    auto e = node(ExprKind::filter, here().line, std::move(operand));
    e->name = expect_name();
    e->builtin = find_builtin(filters(), e->name);
    check_known(*e, "filter");
    if (is_op("(")) parse_arguments(*e);
    return e;
  }

  // Jinja lets an unknown name pass where a condition may keep it from being used.
  void check_known(const Expr& e, std::string_view what) const {
    if (!e.builtin && conditional_ == 0) fail_at(e.line, fmt::format("no {} named '{}'", what, e.name));
  }

  ExprPtr parse_test(ExprPtr operand) {
    const int line = next().line;
    const bool negated = accept_name("not");
    auto e = node(ExprKind::test, line, std::move(operand));
    e->name = expect_name();
    e->builtin = find_builtin(tests(), e->name);
    check_known(*e, "test");
    const bool argument = is(TokenType::name) || is(TokenType::string) || is(TokenType::integer) ||
                          is(TokenType::real) || is_op("[") || is_op("{");
    if (is_op("(")) parse_arguments(*e);
    else if (is_name("is")) fail("tests cannot be chained with 'is'");
    else if (argument && !is_name_of({"else", "or", "and"}))
      e->arguments.positional.push_back(noted(*e, parse_postfix(parse_primary())));
    return negated ? node(ExprKind::logical_not, line, std::move(e)) : std::move(e);
  }

  const std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  const StackLimit stack_;
  int conditional_ = 0;            // ifs now open
  int loops_ = 0;                  // loops now open in this macro
  std::vector<MacroDef*> macros_;  // now open
  BlockTable blocks_;
};

}  // namespace

Template parse(std::string_view source) { return Parser(source).run(); }

}  // namespace halyard::jinja

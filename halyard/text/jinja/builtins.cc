#include "halyard/text/jinja/builtins.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <random>

#include <fmt/format.h>

#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/operators.h"

namespace halyard::jinja {

const Builtin* find_builtin(std::span<const Builtin> table, std::string_view name) {
  for (const Builtin& b : table)
    if (b.name == name) return &b;
  return nullptr;
}

const Builtin* find_method(const Value& self, std::string_view name) {
  if (self.is_markup())
    if (const auto* own = find_builtin(markup_methods(), name)) return own;
  if (self.is_text()) return find_builtin(text_methods(), name);
  if (self.mapping()) return find_builtin(dict_methods(), name);
  const auto* s = self.sequence();
  if (s && s->flavor == Flavor::list) return find_builtin(list_methods(), name);
  if (s && (s->flavor == Flavor::tuple || s->flavor == Flavor::range)) return find_builtin(tuple_methods(), name);
  if (s && s->flavor != Flavor::values) return find_builtin(view_methods(), name);
  if (self.is_int() || self.is_bool()) return find_builtin(int_methods(), name);
  if (self.is_real()) return find_builtin(real_methods(), name);
  return nullptr;
}

bool is_mutating_method(const Value& self, std::string_view name) {
  static constexpr std::string_view of_list[] = {"append", "clear",  "extend",  "insert",
                                                 "pop",    "remove", "reverse", "sort"};
  static constexpr std::string_view of_dict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  const auto* s = self.sequence();
  if (s && s->flavor == Flavor::list)
    return std::find(std::begin(of_list), std::end(of_list), name) != std::end(of_list);
  return self.mapping() && std::find(std::begin(of_dict), std::end(of_dict), name) != std::end(of_dict);
}

namespace {

// The words of a Builtin's parameters.
class Parameters {
 public:
  explicit Parameters(std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find(' '), text.size());
      words_.push_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    open_ = !words_.empty() && words_.back() == "*";
    if (open_) words_.pop_back();
  }

  bool open() const { return open_; }
  std::size_t size() const { return words_.size(); }
  bool required(std::size_t i) const { return words_[i].ends_with('!'); }
  std::string_view name(std::size_t i) const { return words_[i].substr(0, words_[i].size() - (required(i) ? 1 : 0)); }
  std::size_t index(std::string_view wanted) const {
    std::size_t i = 0;
    while (i < size() && name(i) != wanted) ++i;
    return i;
  }

 private:
  std::vector<std::string_view> words_;
  bool open_ = false;
};

std::size_t text_size(const Value& v) {
  const auto* s = v.text();
  return s ? s->size() : 0;
}

}  // namespace

Value run_builtin(Interpreter& in, const Builtin& builtin, const Value& self, Args given, std::string_view what) {
  in.budget.step(4);
  const Parameters parameters(builtin.parameters);
  Call call{in, self, std::vector<Value>(parameters.size()), {}};
  for (std::size_t i = 0; i < given.positional.size(); ++i) {
    if (i < parameters.size()) call.args[i] = std::move(given.positional[i]);
    else if (parameters.open()) call.rest.positional.push_back(std::move(given.positional[i]));
    else raise(fmt::format("{} takes at most {} arguments, not {}", what, parameters.size(), given.positional.size()));
  }
  for (auto& [name, value] : given.named) {
    const std::size_t i = parameters.index(name);
    if (i < parameters.size() && call.args[i].is_missing()) call.args[i] = std::move(value);
    else if (parameters.open()) call.rest.named.emplace_back(std::move(name), std::move(value));
    else raise(fmt::format("{} takes no keyword argument '{}'", what, name));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (parameters.required(i) && call.args[i].is_missing())
      raise(fmt::format("{} needs the argument '{}'", what, parameters.name(i)));
  // The one place where texts are paid for; what a builtin makes is charged as it grows, elements as they are visited.
  std::size_t bytes = text_size(self);
  for (const Value& v : call.args) bytes += text_size(v);
  for (const Value& v : call.rest.positional) bytes += text_size(v);
  for (const auto& [name, v] : call.rest.named) bytes += text_size(v);
  in.budget.step(bytes * builtin.work / 64);
  return builtin.run(call);
}

Value run_method(Interpreter& in, const Builtin& method, const Value& self, Args args) {
  const Value result = run_builtin(in, method, self, std::move(args), fmt::format("{}()", method.name));
  if (!self.is_markup()) return result;
  if (result.is_text()) return result.as_markup();
  const auto* parts = result.sequence();  // of split or partition
  if (!parts) return result;
  Grown<Value> items(in.budget, parts->items.size());
  for (const Value& v : parts->items) items.add(v.is_text() ? v.as_markup() : v);
  return in.list(items.take(), parts->flavor);
}

// --- globals

namespace {

Value range(Call& c) {
  const std::int64_t first = require_int(c.args[0], "range()'s argument");
  const bool one = c.args[1].is_missing();
  const std::int64_t stop = one ? first : require_int(c.args[1], "range()'s stop");
  const std::int64_t step = c.args[2].is_missing() ? 1 : require_int(c.args[2], "range()'s step");
  return make_range(c.in, one ? 0 : first, stop, step);
}

// dict(pairs or mapping, key=value…)
Grown<std::pair<Value, Value>> dict_entries(Call& c) {
  Grown<std::pair<Value, Value>> entries(c.in.budget);
  if (c.rest.positional.size() > 1) raise("dict expects at most one argument");
  for (const Value& v : c.rest.positional) {
    require_defined(v);
    if (const auto* m = v.mapping()) {
      for (const auto& entry : m->entries) entries.add(entry);
      continue;
    }
    const auto pairs = c.in.items_of(v);
    for (const Value& pair : pairs->items) {
      const auto both = c.in.items_of(pair);
      if (both->items.size() != 2) raise("dict expects pairs");
      c.in.budget.step();
      entries.add({both->items[0], both->items[1]});
    }
  }
  for (auto& [name, value] : c.rest.named) entries.add({c.in.text(name), std::move(value)});
  return entries;
}

Value dict(Call& c) { return make_dict(c.in.budget, dict_entries(c).take()); }

Value new_namespace(Call& c) {
  auto* ns = c.in.make<Namespace>();
  auto entries = dict_entries(c);
  for (auto& [key, value] : entries) {
    c.in.budget.step(ns->attributes.size() / 8);
    ns->set(c.in.budget, require_text(key, "a namespace's attribute"), std::move(value));
  }
  return Value(ns);
}

// A function that belongs to an object of the render.
template <class Object_> class Bound : public Object {
 public:
  using Run = Value (Object_::*)();
  Bound(Object_& object, Run run) : object_(object), run_(run) {}
  std::string type() const override { return "method"; }
  bool callable() const override { return true; }
  Value call(Interpreter&, Args) override { return (object_.*run_)(); }

 private:
  Object_& object_;
  const Run run_;
};

class Cycler : public Object {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {}
  std::string type() const override { return "Cycler"; }
  std::optional<Value> attribute(Interpreter& in, std::string_view name) override {
    if (name == "current") return items_[at_];
    if (name == "next") return Value(in.make<Bound<Cycler>>(*this, &Cycler::next));
    if (name == "reset") return Value(in.make<Bound<Cycler>>(*this, &Cycler::reset));
    return std::nullopt;
  }

 private:
  Value next() { return items_[std::exchange(at_, (at_ + 1) % items_.size())]; }
  Value reset() {
    at_ = 0;
    return None{};
  }
  const std::vector<Value> items_;
  std::size_t at_ = 0;
};

class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) {}
  std::string type() const override { return "Joiner"; }
  bool callable() const override { return true; }
  Value call(Interpreter& in, Args) override { return std::exchange(used_, true) ? separator_ : in.text(""); }

 private:
  const Value separator_;
  bool used_ = false;
};

Value cycler(Call& c) {
  if (c.rest.positional.empty()) raise("cycler() needs at least one item");
  return Value(c.in.make<Cycler>(std::move(c.rest.positional)));
}

Value joiner(Call& c) { return Value(c.in.make<Joiner>(c.args[0].is_missing() ? c.in.text(", ") : c.args[0])); }

// Paragraphs of filler, different each time.
Value lipsum(Call& c) {
  static constexpr std::string_view words[] = {"lorem", "ipsum", "dolor", "sit",   "amet",
                                               "nulla", "eget",  "magna", "felis", "augue"};
  const auto whole = [&](std::size_t i, std::int64_t otherwise) {
    return c.args[i].is_missing() ? otherwise : require_int(c.args[i], "lipsum()'s argument");
  };
  const std::int64_t paragraphs = whole(0, 5), least = whole(2, 20), most = whole(3, 100);
  const bool html = c.args[1].is_missing() || truthy(c.args[1]);
  if (least >= most || least < 1) raise("lipsum() needs 1 <= min < max");
  std::mt19937& random = c.in.random();
  Builder out(c.in.budget);
  for (std::int64_t i = 0; i < paragraphs; ++i) {
    if (i) out.add(html ? "\n" : "\n\n");
    out.add(html ? "<p>Lorem" : "Lorem");
    const std::int64_t n = std::uniform_int_distribution<std::int64_t>(least, most - 1)(random);
    for (std::int64_t k = 1; k < n; ++k) {
      c.in.budget.step();
      out.add(" ").add(words[random() % std::size(words)]);
    }
    out.add(html ? ".</p>" : ".");
  }
  Value v = c.in.text(out.take());
  return html ? v.as_markup() : v;
}

Value raise_exception(Call& c) { raise(*to_text(c.in.budget, c.args[0]).text()); }

Value strftime_now(Call& c) {
  const std::string& format = require_text(c.args[0], "strftime_now()'s format");
  if (format.empty()) return c.in.text("");
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(std::size_t{4096}, '\0');
  // a space at the end tells an empty result from one that does not fit
  const std::size_t n = std::strftime(out.data(), out.size(), (format + ' ').c_str(), &local);
  if (n == 0) raise("strftime_now() makes more than 4 KiB", Errc::limit_exceeded);
  out.resize(n - 1);
  return c.in.text(std::move(out));
}

constexpr Builtin global_table[] = {
    {"range", "start! stop step", range},
    {"dict", "*", dict},
    {"namespace", "*", new_namespace},
    {"cycler", "*", cycler},
    {"joiner", "sep", joiner},
    {"lipsum", "n html min max", lipsum},
    {"raise_exception", "message!", raise_exception},
    {"strftime_now", "format!", strftime_now},
};

}  // namespace

std::span<const Builtin> globals() { return global_table; }

}  // namespace halyard::jinja

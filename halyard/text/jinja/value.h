// The values a template computes with. Strings, lists and dicts are immutable and shared; everything that changes or has
// an identity (namespaces, loops, macros, generators) is an Object that lives until the render ends, so that no cycle
// of values can leak.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/text/jinja/bigint.h"
#include "halyard/text/jinja/budget.h"

namespace halyard::jinja {

/// How deep lists and dicts may nest: bounds every walk over a value, its destruction included.
inline constexpr int max_value_depth = 200;

class Interpreter;
class Object;
struct Sequence;
struct Mapping;
struct Args;

struct Missing {};  ///< an argument that was not given; no expression has this value
struct None {};
/// A name or attribute that is not there; `why` is what using it says.
struct Undefined {
  std::shared_ptr<const std::string> why;
};

/// Text that counts as HTML already: markupsafe's Markup, a str whose operators escape their other operand.
struct Markup {
  std::shared_ptr<const std::string> text;
};

class Value {
 public:
  Value() = default;
  Value(None) : v_(None{}) {}
  Value(Undefined u) : v_(std::move(u)) {}
  explicit Value(bool b) : v_(b) {}
  explicit Value(std::int64_t i) : v_(i) {}
  explicit Value(std::shared_ptr<const BigInt> b) : v_(std::move(b)) {}  ///< beyond std::int64_t: see make_int
  explicit Value(double d) : v_(d) {}
  explicit Value(std::shared_ptr<const std::string> s) : v_(std::move(s)) {}
  explicit Value(Markup m) : v_(std::move(m)) {}
  explicit Value(std::shared_ptr<const Sequence> s) : v_(std::move(s)) {}
  explicit Value(std::shared_ptr<const Mapping> m) : v_(std::move(m)) {}
  explicit Value(Object* o) : v_(o) {}

  bool is_missing() const { return holds<Missing>(); }
  bool is_undefined() const { return holds<Undefined>(); }
  bool is_none() const { return holds<None>(); }
  bool is_bool() const { return holds<bool>(); }
  bool is_int() const { return holds<std::int64_t>() || big(); }  ///< not a bool
  bool is_real() const { return holds<double>(); }
  bool is_text() const { return text() != nullptr; }  ///< Markup too
  bool is_markup() const { return holds<Markup>(); }

  /// The alternative, or null.
  const bool* boolean() const { return std::get_if<bool>(&v_); }
  const BigInt* big() const { return pointee<BigInt>(); }
  const double* real() const { return std::get_if<double>(&v_); }
  const Undefined* undefined() const { return std::get_if<Undefined>(&v_); }
  const std::string* text() const {
    const auto* m = std::get_if<Markup>(&v_);
    return m ? m->text.get() : pointee<std::string>();
  }
  const Sequence* sequence() const { return pointee<Sequence>(); }
  const Mapping* mapping() const { return pointee<Mapping>(); }
  Object* object() const { return holds<Object*>() ? std::get<Object*>(v_) : nullptr; }
  std::shared_ptr<const Sequence> shared_sequence() const { return std::get<std::shared_ptr<const Sequence>>(v_); }

  /// This text as Markup, or as a plain str.
  Value as_markup() const {
    return is_markup() ? *this : Value(Markup{std::get<std::shared_ptr<const std::string>>(v_)});
  }
  Value as_plain() const { return is_markup() ? Value(std::get<Markup>(v_).text) : *this; }

  /// An int that fits, or a bool as Python counts it: 0 or 1.
  std::optional<std::int64_t> integer() const;
  /// Any int, or a bool.
  std::optional<BigInt> whole() const;
  /// Any number as a double, infinite where an int is beyond its range.
  std::optional<double> number() const;

 private:
  template <class T> bool holds() const { return std::holds_alternative<T>(v_); }
  template <class T> const T* pointee() const {
    const auto* p = std::get_if<std::shared_ptr<const T>>(&v_);
    return p ? p->get() : nullptr;
  }

  std::variant<Missing, Undefined, None, bool, std::int64_t, std::shared_ptr<const BigInt>, double,
               std::shared_ptr<const std::string>, Markup, std::shared_ptr<const Sequence>,
               std::shared_ptr<const Mapping>, Object*>
      v_;
};

enum class Flavor { list, tuple, range, keys, values, items };

struct Sequence {
  Flavor flavor = Flavor::list;
  int depth = 1;
  std::vector<Value> items;
  std::int64_t start = 0, stop = 0, step = 1;  ///< of a range
  bool is_group = false;  ///< a tuple of groupby's: its two items also have the names grouper and list
};

struct Mapping {
  int depth = 1;
  std::vector<std::pair<Value, Value>> entries;  ///< in the order of insertion, keys unique
};

/// What a call passes.
struct Args {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

class Object {
 public:
  virtual ~Object() = default;
  /// Python's name of the type, for messages.
  virtual std::string type() const = 0;
  virtual std::optional<Value> attribute(Interpreter&, std::string_view) { return std::nullopt; }
  virtual bool callable() const { return false; }
  /// What it can be gone through, measured and indexed as; null where it cannot.
  virtual const std::vector<Value>* elements() const { return nullptr; }
  /// Adds its repr; false where it is <type>.
  virtual bool show(Budget&, Builder&) const { return false; }
  virtual Value call(Interpreter&, Args);
};

/// `namespace(...)`: the only thing a template can assign attributes of.
class Namespace : public Object {
 public:
  std::string type() const override { return "Namespace"; }
  std::optional<Value> attribute(Interpreter&, std::string_view name) override;
  /// The name is held until the render ends.
  void set(Budget&, const std::string& name, Value value);
  std::vector<std::pair<std::string, Value>> attributes;
};

/// What `map`, `select` and their like return: items that can be gone through once. They are computed eagerly.
class Generator : public Object {
 public:
  Generator(Budget& budget, std::vector<Value> all)
      : held(budget, all.capacity() * sizeof(Value)), items(std::move(all)) {}
  std::string type() const override { return "generator"; }
  Held held;
  std::vector<Value> items;
  std::size_t next = 0;
};

/// Python's bytes.
class Bytes : public Object {
 public:
  Bytes(Budget&, std::string all);
  std::string type() const override { return "bytes"; }
  const std::vector<Value>* elements() const override { return &items_; }
  bool show(Budget&, Builder&) const override;
  std::optional<Value> attribute(Interpreter&, std::string_view name) override;
  const std::string data;

 private:
  std::vector<Value> items_;
};

Value make_text(Budget&, std::string);
/// Bits of the greatest integer: some 39,000 digits.
inline constexpr std::size_t max_int_bits = std::size_t{1} << 17;
/// An integer of any size up to max_int_bits.
Value make_int(Budget&, const BigInt&);
/// Charges for work on integers of so many bits that takes their product, and refuses a result beyond max_int_bits.
void charge_integers(Budget&, std::size_t a_bits, std::size_t b_bits, std::size_t result_bits);
Value make_markup(Budget&, std::string);
/// Text of the kind that `model` is: Markup where it is Markup.
Value make_like(Budget&, const Value& model, std::string);
/// markupsafe.escape: Markup of the value's text with & < > " ' escaped; Markup as it is.
Value escaped(Budget&, const Value&);
Value make_list(Budget&, std::vector<Value>, Flavor = Flavor::list);
/// What groupby gives: the tuple (grouper, list).
Value make_group(Budget&, Value grouper, Value list);
/// Entries in order; of equal keys the first keeps its place and the last its value, as in Python.
Value make_dict(Budget&, std::vector<std::pair<Value, Value>>);
Value make_undefined(Budget&, std::string why);
/// The start of a text that a message names.
std::string clipped(std::string_view);
/// JSON as Python's json.loads gives it. Throws where it nests too deep.
Value from_json(Budget&, const Json&, int depth = 0);

/// Whether it may be a key. Charges the budget, as == does, because shared tuples can be exponentially large to walk.
bool hashable(Budget&, const Value&);
bool truthy(const Value&);
/// Python's == .
bool equal(Budget&, const Value&, const Value&);
/// How two numbers compare, exactly: below, at or above 0; no value where one is NaN.
std::optional<int> compare_numbers(const Value&, const Value&);
/// Python's < ; throws where the types have no order.
bool less(Budget&, const Value&, const Value&);
/// The value under `key`, or null.
const Value* find(Budget&, const Mapping&, const Value& key);
const Value* find(Budget&, const Mapping&, std::string_view key);

/// Python's name of the type: "str", "NoneType", "dict".
std::string type_name(const Value&);
/// Python's str(): a text as it is, Markup too. Of undefined it is empty.
Value to_text(Budget&, const Value&);
/// Python's repr().
std::string repr(Budget&, const Value&);
/// Python's repr of a float: shortest that reads back, "1.0", "1e+16", "inf".
std::string repr_float(double);
/// Python's str() of an int or bool as a number; throws beyond 4300 digits, as Python does.
std::string repr_int(Budget&, const Value&);
/// json.dumps of a float: as repr, but NaN, Infinity, -Infinity.
std::string json_float(double);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  ///< one level's text
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
/// Python's json.dumps.
std::string to_json(Budget&, const Value&, const JsonStyle&);

}  // namespace halyard::jinja

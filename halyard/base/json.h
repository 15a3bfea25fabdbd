// JSON as a tree of values. json_reader.h has it as events, for long lists that need no tree.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "halyard/base/result.h"

namespace halyard {

/// One JSON value, with all that is in it. Objects keep their members in the order written; look-up by key takes the same
/// time however many there are. Only copying and adding ask for memory: to move, to swap and to destroy never does, nor
/// throws. Destruction and dump() recurse as deep as the value nests, which JsonLimits::max_depth bounds for what is read.
class Json {
 public:
  enum class Type : std::uint8_t {
    null,
    boolean,
    integer,   ///< fits std::int64_t
    positive,  ///< an integer that only std::uint64_t holds
    real,
    digits,  ///< an integer beyond 64 bits, as written; see JsonLimits::exact_integers
    string,
    array,
    object,
  };
  struct Pair;
  struct Member;
  template <class V> struct Item {
    std::string_view key;
    V& value;
  };
  template <class M, class V> class Items;

  Json() noexcept = default;  ///< null
  Json(std::nullptr_t) noexcept {}
  template <std::same_as<bool> B> Json(B b) noexcept : Json(Type::boolean, std::uint64_t{b}) {}
  template <std::integral I>
  requires(!std::same_as<I, bool> && !std::same_as<I, char>) Json(I i)
  noexcept
      : Json(std::is_signed_v<I> || std::uint64_t(i) >> 63 == 0 ? Type::integer : Type::positive, std::uint64_t(i)) {}
  template <std::floating_point F> Json(F x) noexcept : Json(Type::real, static_cast<double>(x)) {}
  template <class S>
  requires std::convertible_to<const S&, std::string_view> Json(const S& text)
      : Json(Type::string, std::string_view(text)) {}
  template <class T> Json(const std::vector<T>& list) : Json(array()) {
    for (const T& element : list) push_back(element);
  }
  static Json array(std::initializer_list<Json> = {});
  static Json object(std::initializer_list<Pair> = {});
  /// Of a map's entries.
  template <class Map> static Json object_of(const Map& map) {
    Json json = object();
    for (const auto& [key, value] : map) json[key] = value;
    return json;
  }
  /// An integer beyond 64 bits.
  static Json from_digits(std::string_view digits) { return Json(Type::digits, digits); }

  Json(const Json&);
  Json(Json&& from) noexcept { swap(from); }
  Json& operator=(Json from) noexcept {
    swap(from);
    return *this;
  }
  ~Json() {
    if (type() >= Type::digits) free();
  }
  void swap(Json& other) noexcept { std::swap(bytes_, other.bytes_); }

  Type type() const noexcept { return static_cast<Type>(bytes_[0]); }
  /// "null", "boolean", "number", "string", "array", "object".
  std::string_view type_name() const noexcept;
  bool is_null() const noexcept { return type() == Type::null; }
  bool is_boolean() const noexcept { return type() == Type::boolean; }
  bool is_integer() const noexcept { return type() == Type::integer || type() == Type::positive; }  ///< of 64 bits
  bool is_real() const noexcept { return type() == Type::real; }
  bool is_number() const noexcept { return is_integer() || is_real(); }
  bool is_string() const noexcept { return type() == Type::string; }
  bool is_array() const noexcept { return type() == Type::array; }
  bool is_object() const noexcept { return type() == Type::object; }

  /// The value as a bool, an integer or a floating-point number, a std::string or a view of it, a std::vector of any of
  /// these. Numbers are converted; T() where the value is nothing of the kind.
  template <class T> T get() const;
  /// Of a string or of digits; lives until the value is changed or moved. Else empty.
  std::string_view text() const noexcept;

  /// Of an array or object; else 0.
  std::size_t size() const noexcept;
  bool empty() const noexcept { return size() == 0; }

  /// The elements of an array; of anything else none.
  const Json* begin() const noexcept;
  const Json* end() const noexcept { return begin() + (is_array() ? size() : 0); }
  Json* begin() noexcept { return const_cast<Json*>(std::as_const(*this).begin()); }
  Json* end() noexcept { return const_cast<Json*>(std::as_const(*this).end()); }
  /// Null where there is none.
  const Json& operator[](std::size_t) const noexcept;
  Json& operator[](std::size_t i) noexcept { return begin()[i]; }  ///< must be there
  /// Makes an array of what is none.
  Json& push_back(Json);

  /// The members of an object as (key, value), in order; of anything else none.
  Items<const Member, const Json> items() const noexcept;
  Items<Member, Json> items() noexcept;
  /// The member of that key, or null where there is none, or this is no object.
  const Json* find(std::string_view key) const noexcept;
  Json* find(std::string_view key) noexcept { return const_cast<Json*>(std::as_const(*this).find(key)); }
  bool contains(std::string_view key) const noexcept { return find(key) != nullptr; }
  const Json& operator[](std::string_view key) const noexcept;
  /// Adds the member where it is not there, which may move the others; makes an object of what is none.
  Json& operator[](std::string_view key) { return *add(key).first; }
  /// The same, and whether it was added.
  std::pair<Json*, bool> add(std::string_view key);
  void erase(std::string_view key) noexcept;

  /// Numbers by their value, objects whatever the order of their members.
  friend bool operator==(const Json&, const Json&) noexcept;

  /// As text: UTF-8, with U+FFFD for bytes of strings that are not, and null for numbers that are not finite. On one line
  /// without spaces, or, with an indent, a line for each value.
  std::string dump(int indent = -1) const;
  friend std::ostream& operator<<(std::ostream&, const Json&);

 private:
  struct Object;
  using Array = std::vector<Json>;

  Json(Type, std::string_view text);
  template <class T> Json(Type type, T value) noexcept {
    bytes_[0] = static_cast<char>(type);
    std::memcpy(bytes_ + 8, &value, sizeof value);
  }
  template <class T> T as() const noexcept {
    T value;
    std::memcpy(&value, bytes_ + 8, sizeof value);
    return value;
  }
  void set_pointer(const void* p) noexcept { std::memcpy(bytes_ + 8, &p, sizeof p); }
  void free() noexcept;
  Array& as_array();
  Object& as_object();
  void dump(std::string& out, int indent, int by) const;

  // The type; in the last 8 bytes a number, or a pointer: to a string's size and bytes, an Array, an Object, or null where
  // nothing is in it. A string of up to 14 bytes lies here itself, behind its size; that of others is kLong.
  static constexpr std::size_t kShort = 14;
  static constexpr char kLong = 127;
  alignas(8) char bytes_[16] = {};
};

struct Json::Member {
  Json key, value;
};

struct Json::Pair {
  template <class K, class V>
  requires std::convertible_to<const K&, std::string_view> Pair(const K& k, V&& v)
      : key(k), value(std::forward<V>(v)) {}
  std::string_view key;
  Json value;
};

template <class M, class V> class Json::Items {
 public:
  Items(M* begin, M* end) : begin_{begin}, end_{end} {}
  struct Iterator {
    M* at;
    Item<V> operator*() const { return {at->key.text(), at->value}; }
    Iterator& operator++() {
      ++at;
      return *this;
    }
    bool operator==(const Iterator&) const = default;
  };
  Iterator begin() const { return begin_; }
  Iterator end() const { return end_; }

 private:
  Iterator begin_, end_;
};

template <class T> T Json::get() const {
  if constexpr (std::is_same_v<T, bool>) {
    return is_boolean() && bytes_[8] != 0;
  } else if constexpr (std::is_arithmetic_v<T>) {
    if (is_real()) return static_cast<T>(as<double>());
    if (type() == Type::positive) return static_cast<T>(as<std::uint64_t>());
    return is_integer() ? static_cast<T>(as<std::int64_t>()) : T{};
  } else if constexpr (std::is_constructible_v<T, std::string_view>) {
    return T(is_string() ? text() : std::string_view());
  } else {
    T list;
    for (const Json& element : *this) list.push_back(element.get<typename T::value_type>());
    return list;
  }
}

struct JsonLimits {
  int max_depth = 128;
  bool unique_keys = true;  ///< a key that stands twice in one object is an error (else the last one wins)
  /// Values in the whole tree: a value takes up to 100 bytes, and as few as two of the text.
  std::size_t max_values = std::size_t{2} << 20;
  bool exact_integers = false;  ///< integers beyond 64 bits keep their digits (else they become the nearest double)
};

/// Parses one JSON value: RFC 8259, valid UTF-8, nothing after it. O(n) in time whatever the text. The error says where and
/// what, not in which file: the caller adds that.
Result<Json> parse_json(std::string_view text, JsonLimits = {});

}  // namespace halyard

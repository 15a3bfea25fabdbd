#include "halyard/base/json.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <new>
#include <ostream>
#include <stdexcept>

#include "halyard/base/seeded_hash.h"
#include "halyard/base/utf8.h"

namespace halyard {
namespace {

constinit const Json kNull;

std::uint64_t hash_of(std::string_view key) noexcept {
  static const SeededHash hash;
  return hash(key);
}

}  // namespace

static_assert(sizeof(Json) == 16 && std::is_nothrow_move_constructible_v<Json> && std::is_nothrow_swappable_v<Json>);

struct Json::Object {
  static constexpr std::size_t kManyKeys = 16;
  std::vector<Member> members;
  // A hash table of the members' places, plus one; 0 is free. Empty while members are few, and after one was erased: they
  // are then gone through.
  std::vector<std::uint32_t> slots;

  const Member* find(std::string_view key) const noexcept {
    if (slots.empty()) {
      for (const Member& m : members)
        if (m.key.text() == key) return &m;
      return nullptr;
    }
    const std::uint32_t place = slots[slot_of(key)];
    return place ? &members[place - 1] : nullptr;
  }

  // Of memory that runs out nothing is left but a larger table.
  std::pair<Json*, bool> add(std::string_view key) {
    if (members.size() >= kManyKeys && members.size() >= slots.size() / 4 * 3) make_slots();
    const std::size_t slot = slots.empty() ? 0 : slot_of(key);
    const Member* known = slots.empty() ? find(key) : slots[slot] ? &members[slots[slot] - 1] : nullptr;
    if (known) return {const_cast<Json*>(&known->value), false};
    Member fresh{key, nullptr};  // first: the key may lie within a member
    // By half, not to twice as many: for a moment both are there.
    if (members.size() == members.capacity() && !slots.empty()) members.reserve(members.size() + members.size() / 2);
    members.push_back(std::move(fresh));
    if (!slots.empty()) slots[slot] = static_cast<std::uint32_t>(members.size());
    return {&members.back().value, true};
  }

 private:
  // Where the key is, or would be.
  std::size_t slot_of(std::string_view key) const noexcept {
    std::size_t i = hash_of(key) & (slots.size() - 1);
    while (slots[i] != 0 && members[slots[i] - 1].key.text() != key) i = (i + 1) & (slots.size() - 1);
    return i;
  }
  void make_slots() {
    if (members.size() >= std::numeric_limits<std::uint32_t>::max() / 2) throw std::length_error("Json");
    std::vector<std::uint32_t> more(std::bit_ceil(members.size() + members.size() / 2));
    for (std::size_t place = 0; place < members.size();) {
      std::size_t i = hash_of(members[place].key.text()) & (more.size() - 1);
      while (more[i] != 0) i = (i + 1) & (more.size() - 1);
      more[i] = static_cast<std::uint32_t>(++place);
    }
    slots = std::move(more);
  }
};

// ------------------------------------------------------------------------------------------------------- making, freeing

Json::Json(Type type, std::string_view text) {
  if (text.size() <= kShort) {
    bytes_[1] = static_cast<char>(text.size());
    std::copy(text.begin(), text.end(), bytes_ + 2);
  } else {
    auto* const stored = static_cast<char*>(::operator new(sizeof(std::size_t) + text.size()));
    const std::size_t size = text.size();
    std::memcpy(stored, &size, sizeof size);
    std::memcpy(stored + sizeof size, text.data(), size);
    bytes_[1] = kLong;
    set_pointer(stored);
  }
  bytes_[0] = static_cast<char>(type);
}

Json::Json(const Json& from) {
  const bool has_text = from.is_string() || from.type() == Type::digits;
  if (has_text && from.bytes_[1] == kLong) {
    Json(from.type(), from.text()).swap(*this);
    return;
  }
  const void* copy = nullptr;
  if (from.is_array() && from.as<void*>()) copy = new Array(*from.as<Array*>());
  if (from.is_object() && from.as<void*>()) copy = new Object(*from.as<Object*>());
  std::memcpy(bytes_, from.bytes_, sizeof bytes_);
  if (copy) set_pointer(copy);
}

void Json::free() noexcept {
  if (is_array()) delete as<Array*>();
  else if (is_object()) delete as<Object*>();
  else if (bytes_[1] == kLong) ::operator delete(as<void*>());
}

Json Json::array(std::initializer_list<Json> elements) {
  Json json(Type::array, std::uint64_t{0});
  if (elements.size()) json.as_array() = elements;
  return json;
}

Json Json::object(std::initializer_list<Pair> members) {
  Json json(Type::object, std::uint64_t{0});
  for (const Pair& p : members) json[p.key] = p.value;
  return json;
}

Json::Array& Json::as_array() {
  if (!is_array()) *this = array();
  if (!as<Array*>()) set_pointer(new Array);
  return *as<Array*>();
}

Json::Object& Json::as_object() {
  if (!is_object()) *this = object();
  if (!as<Object*>()) set_pointer(new Object);
  return *as<Object*>();
}

// ------------------------------------------------------------------------------------------------------------ what is in it

std::string_view Json::type_name() const noexcept {
  switch (type()) {
    case Type::null: return "null";
    case Type::boolean: return "boolean";
    case Type::string: return "string";
    case Type::array: return "array";
    case Type::object: return "object";
    default: return "number";
  }
}

std::string_view Json::text() const noexcept {
  if (!is_string() && type() != Type::digits) return {};
  if (bytes_[1] != kLong) return {bytes_ + 2, static_cast<std::size_t>(bytes_[1])};
  const char* const stored = as<const char*>();
  std::size_t size = 0;
  std::memcpy(&size, stored, sizeof size);
  return {stored + sizeof size, size};
}

std::size_t Json::size() const noexcept {
  if (is_array() && as<Array*>()) return as<Array*>()->size();
  if (is_object() && as<Object*>()) return as<Object*>()->members.size();
  return 0;
}

const Json* Json::begin() const noexcept { return is_array() && as<Array*>() ? as<Array*>()->data() : nullptr; }

const Json& Json::operator[](std::size_t i) const noexcept { return is_array() && i < size() ? begin()[i] : kNull; }

Json& Json::push_back(Json element) {
  Array& elements = as_array();
  elements.push_back(std::move(element));
  return elements.back();
}

Json::Items<const Json::Member, const Json> Json::items() const noexcept {
  const Member* const first = size() && is_object() ? as<Object*>()->members.data() : nullptr;
  return {first, first + (first ? size() : 0)};
}

Json::Items<Json::Member, Json> Json::items() noexcept {
  Member* const first = size() && is_object() ? as<Object*>()->members.data() : nullptr;
  return {first, first + (first ? size() : 0)};
}

const Json* Json::find(std::string_view key) const noexcept {
  const Member* m = is_object() && as<Object*>() ? std::as_const(*as<Object*>()).find(key) : nullptr;
  return m ? &m->value : nullptr;
}

const Json& Json::operator[](std::string_view key) const noexcept {
  const Json* found = find(key);
  return found ? *found : kNull;
}

std::pair<Json*, bool> Json::add(std::string_view key) { return as_object().add(key); }

void Json::erase(std::string_view key) noexcept {
  if (!is_object() || !as<Object*>()) return;
  Object& o = *as<Object*>();
  if (std::erase_if(o.members, [&](const Member& m) { return m.key.text() == key; })) o.slots.clear();
}

bool operator==(const Json& a, const Json& b) noexcept {
  if (a.is_number() && b.is_number()) {
    if (a.is_real() || b.is_real()) return a.get<double>() == b.get<double>();
    return a.type() == b.type() && a.as<std::uint64_t>() == b.as<std::uint64_t>();
  }
  if (a.type() != b.type() || a.size() != b.size()) return false;
  if (a.is_array()) return std::equal(a.begin(), a.end(), b.begin());
  if (a.is_object()) {
    for (const auto& [key, value] : a.items())
      if (const Json* other = b.find(key); !other || !(*other == value)) return false;
    return true;
  }
  return a.is_boolean() ? a.get<bool>() == b.get<bool>() : a.text() == b.text();
}

// ------------------------------------------------------------------------------------------------------------------- as text

namespace {

void append_string(std::string& out, std::string_view text) {
  constexpr std::string_view escaped = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt", hex = "0123456789abcdef";
  out += '"';
  std::size_t done = 0;
  const auto instead = [&](std::size_t at, std::size_t bytes) {
    out += text.substr(done, at - done);
    done = at + bytes;
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const Utf8Step step = utf8_step(text, at);
    if (step.kind != Utf8Step::whole) {
      instead(at, step.length);
      out += "\xef\xbf\xbd";
    } else if (byte < 0x20 || byte == '"' || byte == '\\') {
      instead(at, 1);
      out += '\\';
      if (const std::size_t i = escaped.find(text[at]); i != escaped.npos) out += letters[i];
      else out.append("u00") += {hex[byte >> 4], hex[byte & 15]};
    }
    at += step.length;
  }
  out.append(text.substr(done)) += '"';
}

// The fewest digits that read back as the same number. From 1e-4 to 1e15 without an exponent, and then always with a point.
void append_real(std::string& out, double x) {
  if (!std::isfinite(x)) {
    out += "null";
    return;
  }
  char buffer[32];
  const char* const end = std::to_chars(std::begin(buffer), std::end(buffer), x, std::chars_format::scientific).ptr;
  std::string_view written(buffer, static_cast<std::size_t>(end - buffer));  // 1.2345e+02
  if (written[0] == '-') {
    out += '-';
    written.remove_prefix(1);
  }
  const std::size_t e = written.find('e');
  int exponent = 0;
  std::from_chars(written.data() + e + (written[e + 1] == '+' ? 2 : 1), end, exponent);
  std::string digits(1, written[0]);
  if (e > 2) digits += written.substr(2, e - 2);
  const auto size = static_cast<int>(digits.size());
  const auto zeros = [](int n) { return std::string(static_cast<std::size_t>(n), '0'); };
  if (exponent < -4 || exponent >= 15) out += written;
  else if (exponent < 0) out += "0." + zeros(-exponent - 1) + digits;
  else if (exponent + 1 >= size) out += digits + zeros(exponent + 1 - size) + ".0";
  else out += digits.insert(static_cast<std::size_t>(exponent) + 1, 1, '.');
}

void append_integer(std::string& out, auto value) {
  char buffer[24];
  out.append(buffer, std::to_chars(std::begin(buffer), std::end(buffer), value).ptr);
}

}  // namespace

void Json::dump(std::string& out, int indent, int by) const {
  const auto line = [&](int at) {
    if (by >= 0) out.append(1, '\n').append(static_cast<std::size_t>(at), ' ');
  };
  switch (type()) {
    case Type::null: out += "null"; break;
    case Type::boolean: out += get<bool>() ? "true" : "false"; break;
    case Type::integer: append_integer(out, as<std::int64_t>()); break;
    case Type::positive: append_integer(out, as<std::uint64_t>()); break;
    case Type::digits: out += text(); break;
    case Type::real: append_real(out, as<double>()); break;
    case Type::string: append_string(out, text()); break;
    case Type::array:
    case Type::object: {
      const std::string_view brackets = is_array() ? "[]" : "{}";
      bool first = true;
      const auto start = [&] {
        out += std::exchange(first, false) ? brackets[0] : ',';
        line(indent + by);
      };
      for (const Json& element : *this) start(), element.dump(out, indent + by, by);
      for (const auto& [key, value] : items()) {
        start();
        append_string(out, key);
        out += by >= 0 ? ": " : ":";
        value.dump(out, indent + by, by);
      }
      if (first) out += brackets[0];
      else line(indent);
      out += brackets[1];
    }
  }
}

std::string Json::dump(int indent) const {
  std::string out;
  dump(out, 0, indent);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Json& json) { return out << json.dump(); }

}  // namespace halyard

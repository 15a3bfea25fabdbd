#include "halyard/text/jinja/format.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {
namespace {

constexpr std::int64_t max_precision = 1000;

// One field's layout, common to both ways.
struct Spec {
  char32_t fill = U' ';
  char align = '\0';  // < > ^, = pads after the sign, \0: the type's own
  char sign = '-';    // - + or space
  bool alternate = false;
  char group = '\0';  // , or _
  std::int64_t width = 0;
  std::int64_t precision = -1;  // -1: not given
  char type = '\0';
};

std::int64_t read_number(std::string_view s, std::size_t& at) {
  std::int64_t n = 0;
  for (; at < s.size() && s[at] >= '0' && s[at] <= '9'; ++at)
    if ((n = n * 10 + (s[at] - '0')) > static_cast<std::int64_t>(max_text))
      raise("a format's width is too large", Errc::limit_exceeded);
  return n;
}

void add_padded(Builder& out, std::string_view prefix, std::string_view body, const Spec& spec, char own_align) {
  if (spec.width == 0) return void(out.add(prefix).add(body));
  const char align = spec.align ? spec.align : own_align;
  const auto have = static_cast<std::int64_t>(length(prefix) + length(body));
  const auto missing = static_cast<std::size_t>(std::max<std::int64_t>(spec.width - have, 0));
  const std::size_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string fill;
  append_char(fill, spec.fill);
  const auto pad = [&](std::size_t n) { out.add(n, fill); };
  if (align == '=') out.add(prefix);
  pad(left);
  if (align != '=') out.add(prefix);
  out.add(body);
  pad(missing - left);
}

std::string grouped(std::string digits, char separator, std::size_t every) {
  const std::size_t end = std::min(digits.find_first_of(".e"), digits.size());
  for (std::size_t i = end; i > every; i -= every) digits.insert(i - every, 1, separator);
  return digits;
}

std::string sign_of(bool negative, const Spec& spec) {
  return negative ? "-" : spec.sign == '-' ? "" : std::string(1, spec.sign);
}

void add_integer(Budget& budget, Builder& out, const BigInt& i, const Spec& spec) {
  std::string digits, prefix = sign_of(i.negative(), spec);
  const unsigned base = spec.type == 'x' || spec.type == 'X' ? 16 : spec.type == 'o' ? 8 : spec.type == 'b' ? 2 : 10;
  if (base == 10) {
    digits = repr_int(budget, make_int(budget, i.negative() ? -i : i));
  } else {
    charge_integers(budget, i.bits(), i.bits(), 0);
    digits = i.digits(base);
    if (spec.type == 'X')
      std::transform(digits.begin(), digits.end(), digits.begin(),
                     [](char c) { return c >= 'a' ? static_cast<char>(c - 32) : c; });
    if (spec.alternate) (prefix += '0') += spec.type;
  }
  if (spec.precision > static_cast<std::int64_t>(digits.size()))
    digits.insert(0, static_cast<std::size_t>(std::min(spec.precision, max_precision)) - digits.size(), '0');
  if (spec.group) digits = grouped(std::move(digits), spec.group, spec.type == '\0' || spec.type == 'd' ? 3 : 4);
  add_padded(out, prefix, digits, spec, '>');
}

double as_real(const Value& v) {
  const double d = *v.number();
  if (v.big() && std::isinf(d)) raise("int too large to convert to float", Errc::limit_exceeded);
  return d;
}

std::string float_digits(double d, const Spec& spec) {
  const auto precision = static_cast<int>(std::min(spec.precision < 0 ? 6 : spec.precision, max_precision));
  switch (spec.type) {
    case 'e': return fmt::format("{:.{}e}", d, precision);
    case 'E': return fmt::format("{:.{}E}", d, precision);
    case 'g': return fmt::format("{:.{}g}", d, std::max(precision, 1));
    case 'G': return fmt::format("{:.{}G}", d, std::max(precision, 1));
    case '%': return fmt::format("{:.{}f}%", d * 100, precision);
    case 'f':
    case 'F': return fmt::format("{:.{}f}", d, precision);
    default: return spec.precision < 0 ? repr_float(d) : fmt::format("{:.{}g}", d, std::max(precision, 1));
  }
}

void add_float(Budget& budget, Builder& out, double d, const Spec& spec) {
  const bool negative = std::signbit(d) && !std::isnan(d);
  std::string digits = std::isnan(d) ? "nan" : std::isinf(d) ? "inf" : float_digits(std::fabs(d), spec);
  budget.step(digits.size());
  if (spec.group && std::isfinite(d)) digits = grouped(std::move(digits), spec.group, 3);
  add_padded(out, sign_of(negative, spec), digits, spec, '>');
}

void add_text(Budget& budget, Builder& out, std::string_view s, const Spec& spec) {
  if (spec.width || spec.precision >= 0) budget.step(s.size() / 16);
  if (spec.precision >= 0) s = s.substr(0, byte_of(s, static_cast<std::size_t>(spec.precision)));
  add_padded(out, {}, s, spec, '<');
}

// --- "%s" % args

class PercentFormatter {
 public:
  PercentFormatter(Budget& budget, const Value& format, const Value& args)
      : budget_(budget), f_(*format.text()), args_(args), out_(budget), markup_(format.is_markup()) {
    const auto* s = args.sequence();
    tuple_ = s && s->flavor == Flavor::tuple ? s : nullptr;
  }

  std::string run() {
    for (; at_ < f_.size();) {
      const std::size_t percent = std::min(f_.find('%', at_), f_.size());
      out_.add(f_.substr(at_, percent - at_));
      at_ = percent + 1;
      if (percent < f_.size()) field();
    }
    const bool leftover = tuple_ ? used_ < tuple_->items.size()
                                 : used_ == 0 && !args_.mapping() && !args_.sequence() && !args_.is_undefined();
    if (leftover) raise("not all arguments converted during string formatting");
    return out_.take();
  }

 private:
  char peek() const { return at_ < f_.size() ? f_[at_] : '\0'; }

  void field() {
    budget_.step(2);
    const Value* named = nullptr;
    if (peek() == '(') {
      const auto end = f_.find(')', at_);
      if (end == f_.npos) raise("incomplete format key");
      if (!args_.mapping()) raise("format requires a mapping");
      const auto key = f_.substr(at_ + 1, end - at_ - 1);
      named = find(budget_, *args_.mapping(), key);
      if (!named) raise(fmt::format("the format's key '{}' is not there", key));
      at_ = end + 1;
    }
    Spec spec;
    bool left = false, zero = false;
    for (; std::string_view("-+ #0").find(peek()) != std::string_view::npos && peek(); ++at_) {
      if (peek() == '-') left = true;
      else if (peek() == '0') zero = true;
      else if (peek() == '#') spec.alternate = true;
      else if (spec.sign != '+') spec.sign = peek();
    }
    spec.width = count(left);
    if (peek() == '.') {
      ++at_;
      bool ignored = false;
      spec.precision = count(ignored);
    }
    while (peek() == 'l' || peek() == 'h' || peek() == 'L') ++at_;
    if (at_ >= f_.size()) raise("incomplete format");
    spec.type = f_[at_++];
    if (spec.type == '%') return void(out_.add("%"));
    spec.align = left ? '<' : '>';
    convert(named ? *named : next(), spec, zero && !left);
  }

  // digits, or * for the next argument
  std::int64_t count(bool& left) {
    if (peek() != '*') return read_number(f_, at_);
    ++at_;
    const std::int64_t n = require_int(next(), "a format's *");
    left |= n < 0;
    if (n > static_cast<std::int64_t>(max_text) || n < -static_cast<std::int64_t>(max_text))
      raise("a format's width is too large", Errc::limit_exceeded);
    return std::abs(n);
  }

  const Value& next() {
    const std::size_t n = tuple_ ? tuple_->items.size() : 1;
    if (used_ >= n) raise("not enough arguments for format string");
    return tuple_ ? tuple_->items[used_++] : (++used_, args_);
  }

  void convert(const Value& v, Spec spec, bool zero) {
    const auto numeric = [&] {
      require_defined(v);
      if (!v.number()) raise(fmt::format("%{} format: a number is required, not {}", spec.type, type_name(v)));
      if (zero) {
        spec.fill = U'0';
        spec.align = '=';
      }
    };
    switch (spec.type) {
      case 's': return add_text(budget_, out_, *(markup_ ? escaped(budget_, v) : to_text(budget_, v)).text(), spec);
      case 'r':
      case 'a': {
        const Value shown = make_text(budget_, repr(budget_, v));
        return add_text(budget_, out_, *(markup_ ? escaped(budget_, shown) : shown).text(), spec);
      }
      case 'c': return add_text(budget_, out_, character(v), spec);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': {
        numeric();
        const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
        if (!decimal && !v.whole()) raise(fmt::format("%{} format: an integer is required, not float", spec.type));
        if (v.real() && !std::isfinite(*v.real())) raise("cannot convert a float that is not finite to an integer");
        if (decimal) spec.type = '\0';
        return add_integer(budget_, out_, v.real() ? BigInt::truncated(*v.real()) : *v.whole(), spec);
      }
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': numeric(); return add_float(budget_, out_, as_real(v), spec);
      default: raise(fmt::format("unsupported format character '{}'", spec.type));
    }
  }

  static std::string character(const Value& v) {
    if (v.is_text() && length(*v.text()) == 1) return *v.text();
    const std::int64_t c = require_int(v, "%c");
    if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) raise("%c: not a character");
    std::string s;
    append_char(s, static_cast<char32_t>(c));
    return s;
  }

  Budget& budget_;
  std::string_view f_;
  const Value& args_;
  Builder out_;
  const bool markup_;
  const Sequence* tuple_;
  std::size_t at_ = 0, used_ = 0;
};

// --- "{}".format(args)

Spec parse_spec(std::string_view s) {
  Spec spec;
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  std::size_t at = 0;
  const auto peek = [&] { return at < s.size() ? s[at] : '\0'; };
  const std::size_t first = s.empty() ? 0 : char_bytes(s, 0);
  if (first < s.size() && is_align(s[first])) {
    spec.fill = char_at(s, 0);
    spec.align = s[first];
    at = first + 1;
  } else if (is_align(peek())) {
    spec.align = s[at++];
  }
  if (peek() == '+' || peek() == '-' || peek() == ' ') spec.sign = s[at++];
  if (peek() == '#') spec.alternate = true, ++at;
  if (peek() == '0') {
    if (!spec.align) spec.fill = U'0', spec.align = '=';
    ++at;
  }
  spec.width = read_number(s, at);
  if (peek() == ',' || peek() == '_') spec.group = s[at++];
  if (peek() == '.') spec.precision = read_number(s, ++at);
  if (at < s.size()) spec.type = s[at++];
  if (at < s.size()) raise(fmt::format("invalid format specifier '{}'", s));
  return spec;
}

void add_formatted(Interpreter& in, Builder& out, const Value& v, std::string_view text) {
  if (text.empty()) return void(out.add(*to_text(in.budget, v).text()));
  Spec spec = parse_spec(text);
  const auto is_type = [&](std::string_view types) { return spec.type == '\0' || types.find(spec.type) != types.npos; };
  if (v.is_text() && is_type("s")) {
    if (spec.align == '=') spec.align = '<';
    return add_text(in.budget, out, *v.text(), spec);
  }
  if (v.whole() && is_type("dxXobn")) {
    if (spec.precision >= 0) raise("precision not allowed in integer format specifier");
    return add_integer(in.budget, out, *v.whole(), spec);
  }
  if (v.number() && is_type("eEfFgGn%")) return add_float(in.budget, out, as_real(v), spec);
  raise(fmt::format("unsupported format '{}' for a value of type {}", text, type_name(v)));
}

class BraceFormatter {
 public:
  BraceFormatter(Interpreter& in, const Value& format, const Args& args)
      : in_(in), format_(format), args_(args), out_(in.budget) {}

  std::string run() {
    const std::string_view f = *format_.text();
    for (std::size_t at = 0; at < f.size();) {
      const std::size_t brace = std::min(f.find_first_of("{}", at), f.size());
      out_.add(f.substr(at, brace - at));
      at = brace + 1;
      if (brace == f.size()) break;
      in_.budget.step(4);
      if (at < f.size() && f[at] == f[brace]) out_.add(f.substr(at++, 1));
      else if (f[brace] == '}') raise("single '}' encountered in format string");
      else at = field(f, at);
    }
    return out_.take();
  }

 private:
  std::size_t field(std::string_view f, std::size_t at) {
    const std::size_t end = f.find('}', at);
    if (end == f.npos) raise("expected '}' before end of string");
    auto name = f.substr(at, end - at);
    if (name.find('{') != name.npos) raise("nested format fields are not supported");
    std::string_view spec;
    if (const auto colon = name.find(':'); colon != name.npos) {
      spec = name.substr(colon + 1);
      name = name.substr(0, colon);
    }
    char conversion = '\0';
    if (const auto bang = name.find('!'); bang != name.npos) {
      if (bang + 2 != name.size() || (name.back() != 'r' && name.back() != 's'))
        raise("unknown conversion in a format");
      conversion = name.back();
      name = name.substr(0, bang);
    }
    Value v = lookup(name);
    if (conversion == 'r') v = in_.text(repr(in_.budget, v));
    if (conversion == 's') v = to_text(in_.budget, v).as_plain();
    if (!format_.is_markup()) {
      add_formatted(in_, out_, v, spec);
      return end + 1;
    }
    if (v.is_markup() && !spec.empty()) raise("Unsupported format specification for Markup.");
    Builder one(in_.budget);
    if (v.is_markup()) one.add(*v.text());
    else add_formatted(in_, one, v, spec);
    const Value piece = in_.text(one.take());
    out_.add(*(v.is_markup() ? piece : escaped(in_.budget, piece)).text());
    return end + 1;
  }

  // 0, name or nothing, then any of .name and [key]
  Value lookup(std::string_view name) {
    std::size_t end = std::min(name.find_first_of(".["), name.size());
    Value v = argument(name.substr(0, end));
    while (end < name.size()) {
      const bool dot = name[end] == '.';
      const std::size_t start = end + 1;
      end = std::min(dot ? name.find_first_of(".[", start) : name.find(']', start), name.size());
      const auto key = name.substr(start, end - start);
      std::int64_t index = 0;
      const auto parsed = std::from_chars(key.data(), key.data() + key.size(), index);
      if (dot) v = in_.attribute(v, key);
      else if (!key.empty() && parsed.ptr == key.data() + key.size()) v = in_.item(v, Value(index));
      else v = in_.item(v, in_.text(std::string(key)));
      if (!dot && end < name.size()) ++end;
      if (!dot && end < name.size() && name[end] != '.' && name[end] != '[') raise("malformed format field");
    }
    return v;
  }

  const Value& argument(std::string_view name) {
    std::size_t index = automatic_;
    const bool numbered = !name.empty() && name.find_first_not_of("0123456789") == name.npos;
    if (numbered ? automatic_ > 0 : name.empty() && manual_)
      raise("cannot switch between automatic and manual field numbering");
    manual_ |= numbered;
    if (name.empty()) ++automatic_;
    else if (std::from_chars(name.data(), name.data() + name.size(), index).ptr != name.data() + name.size()) {
      for (const auto& [key, value] : args_.named)
        if (key == name) return value;
      raise(fmt::format("the format's key '{}' is not there", name));
    }
    if (index >= args_.positional.size()) raise("replacement index out of range for positional args");
    return args_.positional[index];
  }

  Interpreter& in_;
  const Value& format_;
  const Args& args_;
  Builder out_;
  std::size_t automatic_ = 0;
  bool manual_ = false;
};

}  // namespace

std::string percent_format(Budget& budget, const Value& format, const Value& args) {
  return PercentFormatter(budget, format, args).run();
}

std::string brace_format(Interpreter& in, const Value& format, const Args& args) {
  return BraceFormatter(in, format, args).run();
}

}  // namespace halyard::jinja

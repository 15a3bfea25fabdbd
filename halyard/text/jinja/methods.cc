// Python's methods of str, list, tuple and dict that do not change their object.
#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "halyard/base/utf8.h"
#include "halyard/text/jinja/builtins.h"
#include "halyard/text/jinja/format.h"
#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/search.h"
#include "halyard/text/jinja/text_filters.h"
#include "halyard/text/jinja/text_ops.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard::jinja {
namespace {

using Int = std::int64_t;

const std::string& self_text(Call& c) { return *c.self.text(); }
const std::string& text_arg(Call& c, std::size_t i) { return require_text(c.args[i], "the argument"); }
Int int_arg(Call& c, std::size_t i, Int otherwise) {
  return c.args[i].is_missing() || c.args[i].is_none() ? otherwise : require_int(c.args[i], "the argument");
}

Value views(Call& c, const Grown<std::string_view>& parts) {
  c.in.budget.step(2 * parts.size());
  Grown<Value> items(c.in.budget, parts.size());
  for (const auto part : parts) items.add(c.in.text(std::string(part)));
  return c.in.list(items.take());
}

// --- str

using Strip = std::string_view (*)(std::string_view, const std::string_view*);

template <Strip strip_side> Value stripped(Call& c) {
  const bool own = !c.args[0].is_missing() && !c.args[0].is_none();
  const std::string_view chars = own ? std::string_view(text_arg(c, 0)) : std::string_view();
  return c.in.text(std::string(strip_side(self_text(c), own ? &chars : nullptr)));
}

template <bool from_right> Value split(Call& c) {
  const std::string_view s = self_text(c);
  const Int limit = int_arg(c, 1, -1);
  Budget& budget = c.in.budget;
  if (c.args[0].is_missing() || c.args[0].is_none())
    return views(c, from_right ? rsplit_spaces(budget, s, limit) : split_spaces(budget, s, limit));
  const std::string_view separator = text_arg(c, 0);
  if (separator.empty()) raise("empty separator");
  return views(c, from_right ? rsplit_text(budget, s, separator, limit) : split_text(budget, s, separator, limit));
}

template <bool from_right> Value partition(Call& c) {
  const std::string& s = self_text(c);
  const std::string& separator = text_arg(c, 0);
  if (separator.empty()) raise("empty separator");
  const auto at = from_right ? find_last(s, separator) : find_first(s, separator);
  const auto part = [&](std::string text) { return c.in.text(std::move(text)); };
  if (at == s.npos)
    return c.in.list(
        from_right ? std::vector<Value>{part(""), part(""), c.self} : std::vector<Value>{c.self, part(""), part("")},
        Flavor::tuple);
  return c.in.list({part(s.substr(0, at)), c.args[0], part(s.substr(at + separator.size()))}, Flavor::tuple);
}

// The bytes that s[start:end] spans; nothing where start lies beyond the end.
std::optional<std::pair<std::size_t, std::size_t>> span_args(Call& c, std::size_t first) {
  const std::string& s = self_text(c);
  if (c.args[first].is_missing() && c.args[first + 1].is_missing()) return std::pair(std::size_t{0}, s.size());
  const Int n = static_cast<Int>(length(s));
  const auto bound = [&](std::size_t i, Int otherwise) {
    const Int v = int_arg(c, i, otherwise);
    return v < 0 ? std::max<Int>(v < -n ? 0 : v + n, 0) : v;
  };
  const Int start = bound(first, 0), end = std::min(bound(first + 1, n), n);
  if (start > end) return std::nullopt;
  return std::pair(byte_of(s, static_cast<std::size_t>(start)), byte_of(s, static_cast<std::size_t>(end)));
}

template <bool from_right> Int find_text(Call& c) {
  const auto span = span_args(c, 1);
  if (!span) return -1;
  const std::string_view s(self_text(c)), within = s.substr(span->first, span->second - span->first);
  const std::string& wanted = text_arg(c, 0);
  const auto at = from_right ? find_last(within, wanted) : find_first(within, wanted);
  return at == within.npos ? -1 : static_cast<Int>(length(s.substr(0, span->first + at)));
}

template <bool from_right> Value find(Call& c) { return Value(find_text<from_right>(c)); }

template <bool from_right> Value index(Call& c) {
  const Int at = find_text<from_right>(c);
  if (at < 0) raise("substring not found");
  return Value(at);
}

Value count_parts(Call& c) {
  const auto span = span_args(c, 1);
  if (!span) return Value(Int{0});
  const auto within = std::string_view(self_text(c)).substr(span->first, span->second - span->first);
  const std::string& wanted = text_arg(c, 0);
  if (wanted.empty()) return Value(static_cast<Int>(length(within)) + 1);
  return Value(static_cast<Int>(count_text(c.in.budget, within, wanted)));
}

// startswith and endswith take a string or a tuple of them.
template <bool at_end> Value has_affix(Call& c) {
  const auto span = span_args(c, 1);
  if (!span) return Value(false);
  const auto within = std::string_view(self_text(c)).substr(span->first, span->second - span->first);
  const auto matches = [&](const Value& v) {
    const std::string& affix = require_text(v, "a prefix or suffix");
    return at_end ? within.ends_with(affix) : within.starts_with(affix);
  };
  const auto* several = c.args[0].sequence();
  if (!several || several->flavor != Flavor::tuple) return Value(matches(c.args[0]));
  return Value(std::any_of(several->items.begin(), several->items.end(), matches));
}

template <bool at_end> Value without_affix(Call& c) {
  const std::string &s = self_text(c), &affix = text_arg(c, 0);
  if (at_end) return s.ends_with(affix) ? c.in.text(s.substr(0, s.size() - affix.size())) : c.self;
  return s.starts_with(affix) ? c.in.text(s.substr(affix.size())) : c.self;
}

template <bool (*predicate)(char32_t)> Value all_are(Call& c) {
  const auto points = code_points(self_text(c));
  return Value(!points.empty() && std::all_of(points.begin(), points.end(), predicate));
}

template <bool (*wanted)(char32_t), bool (*unwanted)(char32_t)> Value cased(Call& c) {
  const auto points = code_points(self_text(c));
  return Value(std::any_of(points.begin(), points.end(), wanted) &&
               std::none_of(points.begin(), points.end(), unwanted));
}

template <CaseMap map> Value mapped(Call& c) {
  Builder out(c.in.budget);
  map(out, self_text(c));
  return c.in.text(out.take());
}

template <int side>  // -1 text at the left, 0 in the middle, 1 at the right
Value justified(Call& c) {
  const Int width = require_int(c.args[0], "the width");
  const std::string_view fill = c.args[1].is_missing() ? std::string_view(" ") : std::string_view(text_arg(c, 1));
  if (length(fill) != 1) raise("the fill character must be exactly one character long");
  return c.in.text(justify(c.in.budget, self_text(c), width, fill, side));
}

Value zfill(Call& c) {
  const std::string_view s = self_text(c);
  const bool sign = s.starts_with('-') || s.starts_with('+');
  const Int missing = require_int(c.args[0], "the width") - static_cast<Int>(length(s));
  Builder out(c.in.budget);
  out.add(s.substr(0, sign ? 1 : 0))
      .add(static_cast<std::size_t>(std::max<Int>(missing, 0)), '0')
      .add(s.substr(sign ? 1 : 0));
  return c.in.text(out.take());
}

Value split_into_lines(Call& c) {
  return views(c, split_lines(c.in.budget, self_text(c), !c.args[0].is_missing() && truthy(c.args[0])));
}

/// The items of the argument with self between them, each as `text_of` writes it.
template <class TextOf> Value join_items(Call& c, TextOf text_of) {
  Builder out(c.in.budget);
  bool first = true;
  const auto items = c.in.items_of(c.args[0]);
  for (const Value& v : items->items) {
    c.in.budget.step();
    if (!std::exchange(first, false)) out.add(self_text(c));
    out.add(*text_of(v).text());
  }
  return c.in.text(out.take());
}

Value join_texts(Call& c) {
  return join_items(c, [](const Value& v) -> const Value& {
    require_text(v, "join()'s item");
    return v;
  });
}

Value replace_text(Call& c) {
  return c.in.text(replace(c.in.budget, self_text(c), text_arg(c, 0), text_arg(c, 1), int_arg(c, 2, -1)));
}

Value format_text(Call& c) { return make_like(c.in.budget, c.self, brace_format(c.in, c.self, c.rest)); }

Value expand_tabs(Call& c) {
  const Int size = int_arg(c, 0, 8);
  Builder out(c.in.budget);
  Int column = 0;
  for (const auto ch : characters(self_text(c))) {
    c.in.budget.step();
    if (ch == "\t") {
      const Int n = size > 0 ? size - column % size : 0;
      out.add(static_cast<std::size_t>(n), ' ');
      column += n;
    } else {
      out.add(ch);
      column = ch == "\n" || ch == "\r" ? 0 : column + 1;
    }
  }
  return c.in.text(out.take());
}

// The bytes of a text in one of the encodings that templates name.
Value encode(Call& c) {
  std::string name = c.args[0].is_missing() ? "utf-8" : ascii_lower(text_arg(c, 0));
  std::replace(name.begin(), name.end(), '_', '-');
  const std::string errors = c.args[1].is_missing() ? "strict" : text_arg(c, 1);
  if (name == "utf-8" || name == "utf8") return Value(c.in.make<Bytes>(c.in.budget, self_text(c)));
  const bool ascii = name == "ascii" || name == "us-ascii";
  if (!ascii && name != "latin-1" && name != "latin1" && name != "iso-8859-1")
    raise(fmt::format("unknown encoding: {}", name));
  Builder out(c.in.budget);
  for (const char32_t ch : code_points(self_text(c))) {
    c.in.budget.step();
    if (ch < (ascii ? 0x80U : 0x100U)) out.add(1, static_cast<char>(ch));
    else if (errors == "replace") out.add("?");
    else if (errors == "xmlcharrefreplace") out.add(fmt::format("&#{};", static_cast<unsigned>(ch)));
    else if (errors != "ignore")
      raise(fmt::format("'{}' codec can't encode character U+{:04X}", name, static_cast<unsigned>(ch)));
  }
  return Value(c.in.make<Bytes>(c.in.budget, out.take()));
}

// str.translate: a table of code points, each to a text, a code point or nothing.
Value translate(Call& c) {
  const auto* table = c.args[0].mapping();
  if (!table) raise("translate() expects a dict");
  Builder out(c.in.budget);
  for (const auto ch : characters(self_text(c))) {
    c.in.budget.step();
    const Value* to = halyard::jinja::find(c.in.budget, *table, Value(static_cast<Int>(char_at(ch, 0))));
    if (!to) out.add(ch);
    else if (to->is_text()) out.add(*to->text());
    else if (!to->is_none()) {
      const Int code = require_int(*to, "what a character is translated to");
      if (code < 0 || code > 0x10ffff) raise("character mapping must be in range(0x110000)");
      std::string one;
      append_char(one, static_cast<char32_t>(code));
      out.add(one);
    }
  }
  return c.in.text(out.take());
}

Value make_translation(Call& c) {
  Grown<std::pair<Value, Value>> entries(c.in.budget);
  const auto code = [](char32_t ch) { return Value(static_cast<Int>(ch)); };
  if (c.args[1].is_missing()) {
    if (!c.args[0].mapping()) raise("if you give only one argument to maketrans it must be a dict");
    for (const auto& [key, value] : c.args[0].mapping()->entries) {
      if (key.is_text() && length(*key.text()) != 1) raise("string keys in translate table must be of length 1");
      entries.add({key.is_text() ? code(char_at(*key.text(), 0)) : key, value});
    }
    return make_dict(c.in.budget, entries.take());
  }
  const auto from = code_points(text_arg(c, 0)), to = code_points(text_arg(c, 1));
  if (length(text_arg(c, 0)) != length(text_arg(c, 1)))
    raise("the first two maketrans arguments must have equal length");
  for (auto a = from.begin(), b = to.begin(); !(a == from.end()); ++a, ++b) entries.add({code(*a), code(*b)});
  if (!c.args[2].is_missing())
    for (const char32_t ch : code_points(text_arg(c, 2))) entries.add({code(ch), None{}});
  return make_dict(c.in.budget, entries.take());
}

Value format_map(Call& c) {
  const auto* m = c.args[0].mapping();
  if (!m) raise("format_map() expects a mapping");
  Args args;
  for (const auto& [key, value] : m->entries)
    if (key.is_text()) args.named.emplace_back(*key.text(), value);
  return c.in.text(brace_format(c.in, c.self, args));
}

constexpr Builtin text_table[] = {
    {"capitalize", "", mapped<capitalize>, maps},
    {"casefold", "", mapped<casefold>, maps},
    {"center", "width! fillchar", justified<0>},
    {"count", "sub! start end", count_parts},
    {"encode", "encoding errors", encode},
    {"endswith", "suffix! start end", has_affix<true>},
    {"expandtabs", "tabsize", expand_tabs},
    {"find", "sub! start end", find<false>},
    {"format", "*", format_text},
    {"format_map", "mapping!", format_map},
    {"index", "sub! start end", index<false>},
    {"isalnum", "", all_are<is_alnum>, maps},
    {"isalpha", "", all_are<is_alpha>, maps},
    {"isascii", "",
     [](Call& c) {
       return Value(std::none_of(self_text(c).begin(), self_text(c).end(), [](char b) { return b < 0; }));
     }},
    {"isdecimal", "", all_are<is_decimal>, maps},
    {"isdigit", "", all_are<is_digit>, maps},
    {"isidentifier", "", [](Call& c) { return Value(is_identifier(self_text(c))); }, maps},
    {"islower", "", cased<is_lower, is_upper>, maps},
    {"isnumeric", "", all_are<is_numeric>, maps},
    {"isprintable", "", [](Call& c) { return Value(self_text(c).empty() || truthy(all_are<is_printable>(c))); }, maps},
    {"isspace", "", all_are<is_space>, maps},
    {"istitle", "", [](Call& c) { return Value(is_titled(self_text(c))); }, maps},
    {"isupper", "", cased<is_upper, is_lower>, maps},
    {"join", "iterable!", join_texts},
    {"ljust", "width! fillchar", justified<-1>},
    {"lower", "", mapped<lower>, maps},
    {"lstrip", "chars", stripped<strip_left>},
    {"maketrans", "x! y z", make_translation},
    {"partition", "sep!", partition<false>},
    {"removeprefix", "prefix!", without_affix<false>},
    {"removesuffix", "suffix!", without_affix<true>},
    {"replace", "old! new! count", replace_text},
    {"rfind", "sub! start end", find<true>},
    {"rindex", "sub! start end", index<true>},
    {"rjust", "width! fillchar", justified<1>},
    {"rpartition", "sep!", partition<true>},
    {"rsplit", "sep maxsplit", split<true>},
    {"rstrip", "chars", stripped<strip_right>},
    {"split", "sep maxsplit", split<false>},
    {"splitlines", "keepends", split_into_lines},
    {"startswith", "prefix! start end", has_affix<false>},
    {"strip", "chars", stripped<strip>},
    {"swapcase", "", mapped<swap_case>, maps},
    {"title", "", mapped<title>, maps},
    {"translate", "table!", translate},
    {"upper", "", mapped<upper>, maps},
    {"zfill", "width!", zfill},
};

// --- Markup: what differs from str's methods

Value join_markup(Call& c) {
  return join_items(c, [&c](const Value& v) { return escaped(c.in.budget, v); });
}

// Runs a method of str with one argument escaped.
template <Value (*run)(Call&), std::size_t argument> Value with_escaped(Call& c) {
  if (!c.args[argument].is_missing()) c.args[argument] = escaped(c.in.budget, c.args[argument]).as_plain();
  return run(c);
}

Value escape_argument(Call& c) { return escaped(c.in.budget, c.args[0]); }

constexpr Builtin markup_table[] = {
    {"center", "width! fillchar", with_escaped<justified<0>, 1>},
    {"escape", "s!", escape_argument},
    {"join", "iterable!", join_markup},
    {"ljust", "width! fillchar", with_escaped<justified<-1>, 1>},
    {"replace", "old! new! count", with_escaped<replace_text, 1>},
    {"rjust", "width! fillchar", with_escaped<justified<1>, 1>},
    {"striptags", "", [](Call& c) { return c.in.text(without_tags(c.in.budget, self_text(c))); }},
    {"unescape", "", [](Call& c) { return c.in.text(unescape_html(c.in.budget, self_text(c))); }},
};

// --- list, tuple

Value index_of(Call& c) {
  const auto& items = c.self.sequence()->items;
  const auto n = static_cast<Int>(items.size());
  const auto bound = [&](std::size_t i, Int otherwise) {
    const Int v = int_arg(c, i, otherwise);
    return static_cast<std::size_t>(std::clamp<Int>(v < 0 ? std::max<Int>(v, -n) + n : v, 0, n));
  };
  for (std::size_t i = bound(1, 0); i < bound(2, n); ++i)
    if (equal(c.in.budget, items[i], c.args[0])) return Value(static_cast<Int>(i));
  raise(fmt::format("{} is not in the list", repr(c.in.budget, c.args[0])));
}

Value count_items(Call& c) {
  const auto& items = c.self.sequence()->items;
  return Value(static_cast<Int>(
      std::count_if(items.begin(), items.end(), [&](const Value& v) { return equal(c.in.budget, v, c.args[0]); })));
}

Value itself(Call& c) { return c.self; }

constexpr Builtin list_table[] = {
    {"copy", "", itself},
    {"count", "value!", count_items},
    {"index", "value! start stop", index_of},
};
constexpr Builtin tuple_table[] = {
    {"count", "value!", count_items},
    {"index", "value! start stop", index_of},
};

// --- dict

Value get(Call& c) {
  if (const Value* v = halyard::jinja::find(c.in.budget, *c.self.mapping(), c.args[0])) return *v;
  return c.args[1].is_missing() ? Value(None{}) : c.args[1];
}

template <Flavor flavor> Value view(Call& c) { return dict_view(c.in, *c.self.mapping(), flavor); }

Value from_keys(Call& c) {
  const auto keys = c.in.items_of(c.args[0]);
  Grown<std::pair<Value, Value>> entries(c.in.budget, keys->items.size());
  for (const Value& key : keys->items) entries.add({key, c.args[1].is_missing() ? Value(None{}) : c.args[1]});
  return make_dict(c.in.budget, entries.take());
}

Value is_disjoint(Call& c) {
  const auto others = c.in.items_of(c.args[0]);
  const auto& items = c.self.sequence()->items;
  return Value(std::none_of(others->items.begin(), others->items.end(), [&](const Value& other) {
    return std::any_of(items.begin(), items.end(), [&](const Value& v) { return equal(c.in.budget, v, other); });
  }));
}

constexpr Builtin view_table[] = {{"isdisjoint", "other!", is_disjoint}};

constexpr Builtin dict_table[] = {
    {"copy", "", itself},
    {"fromkeys", "iterable! value", from_keys},
    {"get", "key! default", get},
    {"items", "", view<Flavor::items>},
    {"keys", "", view<Flavor::keys>},
    {"values", "", view<Flavor::values>},
};

// --- int, float

BigInt whole(Call& c) { return *c.self.whole(); }

Value pair(Call& c, Value a, Value b) { return c.in.list({std::move(a), std::move(b)}, Flavor::tuple); }

Value int_ratio(Call& c) { return pair(c, make_int(c.in.budget, whole(c)), Value(Int{1})); }

Value bit_count(Call& c) { return Value(static_cast<Int>(whole(c).ones())); }

Value to_bytes(Call& c) {
  const Int n = int_arg(c, 0, 1);
  const std::string order = c.args[1].is_missing() ? "big" : text_arg(c, 1);
  const bool is_signed = !c.args[2].is_missing() && truthy(c.args[2]);
  if (n < 0 || n > (1 << 20)) raise("to_bytes() takes a length from 0 to 1048576");
  if (order != "big" && order != "little") raise("byteorder must be either 'little' or 'big'");
  BigInt rest = whole(c);
  if (rest.negative() && !is_signed) raise("can't convert negative int to unsigned");
  const BigInt size = rest.negative() ? -rest - BigInt(1) : rest;
  if (static_cast<Int>(size.bits()) + is_signed > 8 * n) raise("int too big to convert");
  std::string out;
  for (Int i = 0; i < n; ++i) {
    c.in.budget.step(2);
    auto [quotient, byte] = floor_divide(rest, BigInt(256));
    out += static_cast<char>(*byte.small());
    rest = std::move(quotient);
  }
  if (order == "big") std::reverse(out.begin(), out.end());
  return Value(c.in.make<Bytes>(c.in.budget, std::move(out)));
}

constexpr Builtin int_table[] = {
    {"as_integer_ratio", "", int_ratio},
    {"bit_count", "", bit_count},
    {"bit_length", "", [](Call& c) { return Value(static_cast<Int>(whole(c).bits())); }},
    {"conjugate", "", [](Call& c) { return make_int(c.in.budget, whole(c)); }},
    {"to_bytes", "length byteorder signed", to_bytes},
};

Value real_ratio(Call& c) {
  int exponent = 0;
  const double d = *c.self.real();
  if (!std::isfinite(d)) raise("cannot convert a float that is not finite to an integer ratio");
  auto mantissa = static_cast<Int>(std::ldexp(std::frexp(d, &exponent), 53));
  for (exponent -= 53; mantissa && mantissa % 2 == 0 && exponent < 0; ++exponent) mantissa /= 2;
  if (mantissa == 0) exponent = 0;
  BigInt scale(1);
  for (int i = std::abs(exponent); i > 0; --i) scale = scale * BigInt(2);
  const BigInt m(mantissa);
  return exponent < 0 ? pair(c, Value(mantissa), make_int(c.in.budget, scale))
                      : pair(c, make_int(c.in.budget, m * scale), Value(Int{1}));
}

// "-0x1.999999999999ap-4"
Value real_hex(Call& c) {
  const double d = *c.self.real();
  if (!std::isfinite(d)) return c.in.text(repr_float(d));
  if (d == 0) return c.in.text(std::signbit(d) ? "-0x0.0p+0" : "0x0.0p+0");
  const auto bits = std::bit_cast<std::uint64_t>(d);
  const auto exponent = static_cast<int>(bits >> 52 & 0x7ff);
  return c.in.text(fmt::format("{}0x{}.{:013x}p{:+d}", std::signbit(d) ? "-" : "", exponent ? 1 : 0,
                               bits & 0xfffffffffffff, exponent ? exponent - 1023 : -1022));
}

constexpr Builtin real_table[] = {
    {"as_integer_ratio", "", real_ratio},
    {"conjugate", "", itself},
    {"hex", "", real_hex},
    {"is_integer", "",
     [](Call& c) { return Value(std::isfinite(*c.self.real()) && std::trunc(*c.self.real()) == *c.self.real()); }},
};

// --- bytes

Value bytes_hex(Call& c) {
  constexpr std::string_view digits = "0123456789abcdef";
  Builder out(c.in.budget);
  for (const char b : static_cast<const Bytes*>(c.self.object())->data) {
    c.in.budget.step();
    const auto byte = static_cast<unsigned char>(b);
    out.add(1, digits[byte >> 4]).add(1, digits[byte & 15]);
  }
  return c.in.text(out.take());
}

Value decode(Call& c) {
  const std::string& data = static_cast<const Bytes*>(c.self.object())->data;
  c.in.budget.step(data.size() / 4);
  std::string name = c.args[0].is_missing() ? "utf-8" : ascii_lower(text_arg(c, 0));
  std::replace(name.begin(), name.end(), '_', '-');
  if (name == "latin-1" || name == "latin1" || name == "iso-8859-1") {
    std::string out;
    const Held held(c.in.budget, 2 * data.size());
    out.reserve(2 * data.size());
    for (const char b : data) append_char(out, static_cast<unsigned char>(b));
    return c.in.text(std::move(out));
  }
  if (name != "utf-8" && name != "utf8" && name != "ascii") raise(fmt::format("unknown encoding: {}", name));
  if (!is_utf8(data)) raise("the bytes are not valid UTF-8");
  return c.in.text(data);
}

constexpr Builtin bytes_table[] = {{"decode", "encoding errors", decode}, {"hex", "", bytes_hex}};

}  // namespace

std::span<const Builtin> bytes_methods() { return bytes_table; }

std::optional<Value> data_attribute(const Value& v, std::string_view name) {
  if (v.number()) {
    if (name == "real" || (name == "numerator" && !v.is_real())) return v.is_bool() ? Value(*v.integer()) : v;
    if (name == "imag") return v.is_real() ? Value(0.0) : Value(Int{0});
    if (name == "denominator" && !v.is_real()) return Value(Int{1});
  }
  const auto* s = v.sequence();
  if (s && s->is_group && (name == "grouper" || name == "list")) return s->items[name == "list" ? 1 : 0];
  if (s && s->flavor == Flavor::range && (name == "start" || name == "stop" || name == "step"))
    return Value(name == "start" ? s->start : name == "stop" ? s->stop : s->step);
  return std::nullopt;
}

std::span<const Builtin> text_methods() { return text_table; }
std::span<const Builtin> markup_methods() { return markup_table; }
std::span<const Builtin> list_methods() { return list_table; }
std::span<const Builtin> tuple_methods() { return tuple_table; }
std::span<const Builtin> view_methods() { return view_table; }
std::span<const Builtin> int_methods() { return int_table; }
std::span<const Builtin> real_methods() { return real_table; }
std::span<const Builtin> dict_methods() { return dict_table; }

}  // namespace halyard::jinja

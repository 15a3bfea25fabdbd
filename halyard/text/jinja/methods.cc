// Python's methods of str, list, tuple and dict that do not change their object.
#include <algorithm>

#include <fmt/format.h>

#include "halyard/text/jinja/builtins.h"
#include "halyard/text/jinja/format.h"
#include "halyard/text/jinja/interpreter.h"
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

Value views(Call& c, const std::vector<std::string_view>& parts) {
  c.in.budget.step(parts.size());
  c.in.budget.room_for(parts.size() * (sizeof(Value) + 2 * sizeof(std::string_view)));
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const auto part : parts) items.push_back(c.in.text(std::string(part)));
  return c.in.list(std::move(items));
}

// --- str

using Strip = std::string_view (*)(std::string_view, const std::string_view*);

template <Strip strip_side>
Value stripped(Call& c) {
  c.in.budget.step(self_text(c).size() / 64);
  if (c.args[0].is_missing() || c.args[0].is_none()) return c.in.text(std::string(strip_side(self_text(c), nullptr)));
  const std::string_view chars = text_arg(c, 0);
  c.in.budget.step(self_text(c).size() / 64 * (chars.size() + 1));
  return c.in.text(std::string(strip_side(self_text(c), &chars)));
}

template <bool from_right>
Value split(Call& c) {
  const std::string_view s = self_text(c);
  const Int limit = int_arg(c, 1, -1);
  c.in.budget.step(s.size() / 16);
  c.in.budget.bytes(s.size());
  const char* cut = c.args[0].is_text() && !c.args[0].text()->empty() ? c.args[0].text()->data() : nullptr;
  const auto parts = cut ? std::count(s.begin(), s.end(), *cut)
                         : std::count_if(s.begin(), s.end(), [](unsigned char b) { return b <= 0x20 || b >= 0x80; });
  c.in.budget.room_for((static_cast<std::size_t>(parts) + 1) * 3 * sizeof(std::string_view));  // a list that grows
  if (c.args[0].is_missing() || c.args[0].is_none())
    return views(c, from_right ? rsplit_spaces(s, limit) : split_spaces(s, limit));
  const std::string_view separator = text_arg(c, 0);
  if (separator.empty()) raise("empty separator");
  return views(c, from_right ? rsplit_text(s, separator, limit) : split_text(s, separator, limit));
}

template <bool from_right>
Value partition(Call& c) {
  const std::string& s = self_text(c);
  const std::string& separator = text_arg(c, 0);
  if (separator.empty()) raise("empty separator");
  const auto at = from_right ? s.rfind(separator) : s.find(separator);
  const auto part = [&](std::string text) { return c.in.text(std::move(text)); };
  if (at == s.npos)
    return c.in.list(from_right ? std::vector<Value>{part(""), part(""), c.self} : std::vector<Value>{c.self, part(""), part("")},
                     Flavor::tuple);
  return c.in.list({part(s.substr(0, at)), c.args[0], part(s.substr(at + separator.size()))}, Flavor::tuple);
}

// The bytes that s[start:end] spans; nothing where start lies beyond the end.
std::optional<std::pair<std::size_t, std::size_t>> span_args(Call& c, std::size_t first) {
  const std::string& s = self_text(c);
  c.in.budget.step(s.size() / 16);
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

template <bool from_right>
Int find_text(Call& c) {
  const auto span = span_args(c, 1);
  if (!span) return -1;
  const std::string_view s(self_text(c)), within = s.substr(span->first, span->second - span->first);
  const std::string& wanted = text_arg(c, 0);
  c.in.budget.step(within.size() / 64);
  const auto at = from_right ? within.rfind(wanted) : within.find(wanted);
  return at == within.npos ? -1 : static_cast<Int>(length(s.substr(0, span->first + at)));
}

template <bool from_right>
Value find(Call& c) { return Value(find_text<from_right>(c)); }

template <bool from_right>
Value index(Call& c) {
  const Int at = find_text<from_right>(c);
  if (at < 0) raise("substring not found");
  return Value(at);
}

Value count_text(Call& c) {
  const auto span = span_args(c, 1);
  if (!span) return Value(Int{0});
  const auto within = std::string_view(self_text(c)).substr(span->first, span->second - span->first);
  const std::string& wanted = text_arg(c, 0);
  if (wanted.empty()) return Value(static_cast<Int>(length(within)) + 1);
  return Value(static_cast<Int>(split_text(within, wanted, -1).size()) - 1);
}

// startswith and endswith take a string or a tuple of them.
template <bool at_end>
Value has_affix(Call& c) {
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

template <bool at_end>
Value without_affix(Call& c) {
  const std::string &s = self_text(c), &affix = text_arg(c, 0);
  if (at_end) return s.ends_with(affix) ? c.in.text(s.substr(0, s.size() - affix.size())) : c.self;
  return s.starts_with(affix) ? c.in.text(s.substr(affix.size())) : c.self;
}

template <bool (*predicate)(char32_t)>
Value all_are(Call& c) {
  c.in.budget.step(self_text(c).size() / 16);
  const auto points = code_points(self_text(c));
  return Value(!points.empty() && std::all_of(points.begin(), points.end(), predicate));
}

template <bool (*wanted)(char32_t), bool (*unwanted)(char32_t)>
Value cased(Call& c) {
  c.in.budget.step(self_text(c).size() / 16);
  const auto points = code_points(self_text(c));
  return Value(std::any_of(points.begin(), points.end(), wanted) && std::none_of(points.begin(), points.end(), unwanted));
}

template <std::string (*map)(std::string_view)>
Value mapped(Call& c) {
  c.in.budget.room_for(self_text(c).size() * (sizeof(std::string_view) + 3));
  c.in.budget.step(self_text(c).size() / 16);
  return c.in.text(map(self_text(c)));
}

std::string swap_case(std::string_view s) {
  std::string out;
  for (const auto c : characters(s)) out += is_upper(char_at(c, 0)) ? lower(c) : upper(c);
  return out;
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
  out.add(s.substr(0, sign ? 1 : 0)).add(static_cast<std::size_t>(std::max<Int>(missing, 0)), '0').add(s.substr(sign ? 1 : 0));
  return c.in.text(out.take());
}

Value split_into_lines(Call& c) {
  c.in.budget.step(self_text(c).size() / 16);
  room_for_lines(c.in.budget, self_text(c));
  return views(c, split_lines(self_text(c), !c.args[0].is_missing() && truthy(c.args[0])));
}

Value join_texts(Call& c) {
  Builder out(c.in.budget);
  bool first = true;
  const auto items = c.in.items_of(c.args[0]);
  for (const Value& v : items->items) {
    c.in.budget.step();
    if (!std::exchange(first, false)) out.add(self_text(c));
    out.add(require_text(v, "join()'s item"));
  }
  return c.in.text(out.take());
}

Value replace_text(Call& c) {
  return c.in.text(replace(c.in.budget, self_text(c), text_arg(c, 0), text_arg(c, 1), int_arg(c, 2, -1)));
}

Value format_text(Call& c) { return c.in.text(brace_format(c.in, self_text(c), c.rest)); }

Value expand_tabs(Call& c) {
  const Int size = int_arg(c, 0, 8);
  Builder out(c.in.budget);
  c.in.budget.room_for(self_text(c).size() * sizeof(std::string_view));
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

constexpr Builtin text_table[] = {
    {"capitalize", "", mapped<capitalize>},
    {"casefold", "", mapped<lower>},
    {"center", "width! fillchar", justified<0>},
    {"count", "sub! start end", count_text},
    {"endswith", "suffix! start end", has_affix<true>},
    {"expandtabs", "tabsize", expand_tabs},
    {"find", "sub! start end", find<false>},
    {"format", "*", format_text},
    {"index", "sub! start end", index<false>},
    {"isalnum", "", all_are<is_alnum>},
    {"isalpha", "", all_are<is_alpha>},
    {"isdecimal", "", all_are<is_digit>},
    {"isdigit", "", all_are<is_digit>},
    {"islower", "", cased<is_lower, is_upper>},
    {"isnumeric", "", all_are<is_digit>},
    {"isspace", "", all_are<is_space>},
    {"isupper", "", cased<is_upper, is_lower>},
    {"join", "iterable!", join_texts},
    {"ljust", "width! fillchar", justified<-1>},
    {"lower", "", mapped<lower>},
    {"lstrip", "chars", stripped<strip_left>},
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
    {"swapcase", "", mapped<swap_case>},
    {"title", "", mapped<title>},
    {"upper", "", mapped<upper>},
    {"zfill", "width!", zfill},
};

// --- list, tuple

Value index_of(Call& c) {
  const auto& items = c.self.sequence()->items;
  for (std::size_t i = 0; i < items.size(); ++i)
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
    {"index", "value!", index_of},
};
constexpr Builtin tuple_table[] = {
    {"count", "value!", count_items},
    {"index", "value!", index_of},
};

// --- dict

Value get(Call& c) {
  if (const Value* v = halyard::jinja::find(c.in.budget, *c.self.mapping(), c.args[0])) return *v;
  return c.args[1].is_missing() ? Value(None{}) : c.args[1];
}

template <Flavor flavor>
Value view(Call& c) { return dict_view(c.in, *c.self.mapping(), flavor); }

constexpr Builtin dict_table[] = {
    {"copy", "", itself},
    {"get", "key! default", get},
    {"items", "", view<Flavor::items>},
    {"keys", "", view<Flavor::keys>},
    {"values", "", view<Flavor::values>},
};

}  // namespace

std::span<const Builtin> text_methods() { return text_table; }
std::span<const Builtin> list_methods() { return list_table; }
std::span<const Builtin> tuple_methods() { return tuple_table; }
std::span<const Builtin> dict_methods() { return dict_table; }

}  // namespace halyard::jinja

#include "halyard/text/jinja/unicode.h"

#include <algorithm>
#include <array>
#include <utility>

#include <utf8proc.h>

#include "halyard/text/jinja/tables.h"

namespace halyard::jinja {
namespace {

// The character at `at` and its bytes; a byte that is not UTF-8 stands for itself.
std::size_t decode(std::string_view s, std::size_t at, char32_t& c) {
  const auto first = static_cast<unsigned char>(s[at]);
  if (first < 0x80) {
    c = first;
    return 1;
  }
  utf8proc_int32_t code = 0;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(s.data()) + at,
                                  static_cast<utf8proc_ssize_t>(std::min<std::size_t>(s.size() - at, 4)), &code);
  c = n > 0 ? static_cast<char32_t>(code) : first;
  return n > 0 ? static_cast<std::size_t>(n) : 1;
}

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

// Unicode's SpecialCasing: the letters whose upper case is longer than themselves and which turn up in text.
std::string_view long_upper(char32_t c) {
  switch (c) {
    case 0xdf: return "SS";
    case 0x149: return "\xca\xbcN";
    case 0x1f0: return "J\xcc\x8c";
    case 0xfb00: return "FF";
    case 0xfb01: return "FI";
    case 0xfb02: return "FL";
    case 0xfb03: return "FFI";
    case 0xfb04: return "FFL";
    case 0xfb05: case 0xfb06: return "ST";
    default: return {};
  }
}

void append_upper(std::string& out, char32_t c) {
  if (c < 0x80) out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  else if (const auto s = long_upper(c); !s.empty()) out += s;
  else append_char(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void append_title(std::string& out, char32_t c) {
  const auto s = long_upper(c);
  if (s.empty()) append_char(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  else if (c >= 0xfb00 || c == 0xdf) (out += s.substr(0, 1)) += lower(s.substr(1));
  else out += s;
}

// A sigma that ends a word has its own small form.
bool final_sigma(const std::vector<char32_t>& s, std::size_t i) {
  return i > 0 && is_cased(s[i - 1]) && (i + 1 == s.size() || !is_cased(s[i + 1]));
}

void append_lower(std::string& out, const std::vector<char32_t>& s, std::size_t i) {
  const char32_t c = s[i];
  if (c == 0x3a3) append_char(out, final_sigma(s, i) ? 0x3c2 : 0x3c3);
  else if (c == 0x130) out += "i\xcc\x87";
  else append_char(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

}  // namespace

std::size_t char_bytes(std::string_view s, std::size_t at) {
  char32_t c;
  return decode(s, at, c);
}

char32_t char_at(std::string_view s, std::size_t at) {
  char32_t c;
  decode(s, at, c);
  return c;
}

void append_char(std::string& out, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
}

bool valid_utf8(std::string_view s) {
  for (std::size_t at = 0; at < s.size();) {
    const std::size_t n = char_bytes(s, at);
    if (n == 1 && static_cast<unsigned char>(s[at]) >= 0x80) return false;
    at += n;
  }
  return true;
}

std::size_t length(std::string_view s) {
  std::size_t n = 0;
  for (std::size_t at = 0; at < s.size(); at += char_bytes(s, at)) ++n;
  return n;
}

std::size_t byte_of(std::string_view s, std::size_t n) {
  std::size_t at = 0;
  for (; n > 0 && at < s.size(); --n) at += char_bytes(s, at);
  return at;
}

std::vector<std::string_view> characters(std::string_view s) {
  std::vector<std::string_view> out;
  out.reserve(length(s));
  for (std::size_t at = 0; at < s.size(); at += out.back().size()) out.push_back(s.substr(at, char_bytes(s, at)));
  return out;
}

std::vector<char32_t> code_points(std::string_view s) {
  std::vector<char32_t> out;
  out.reserve(length(s));
  char32_t c;
  for (std::size_t at = 0; at < s.size(); out.push_back(c)) at += decode(s, at, c);
  return out;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_alpha(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

namespace {

template <std::size_t n> bool in_ranges(const char32_t (&ranges)[n][2], char32_t c) {
  const auto* end = ranges + n;
  const auto* it = std::partition_point(ranges, end, [c](const auto& r) { return r[1] < c; });
  return it != end && c >= (*it)[0];
}

}  // namespace

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) { return is_decimal(c) || in_ranges(digit_ranges, c); }
bool is_numeric(char32_t c) {
  const auto k = category(c);
  return (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) || in_ranges(numeric_ranges, c);
}
bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }

bool is_identifier(std::string_view s) {
  bool first = true;
  for (const char32_t c : code_points(s)) {
    const auto k = category(c);
    const bool start = c == U'_' || is_alpha(c) || k == UTF8PROC_CATEGORY_NL;
    const bool later = k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ND ||
                       k == UTF8PROC_CATEGORY_PC;
    if (!start && (std::exchange(first, false) || !later)) return false;
    first = false;
  }
  return !first;
}

bool is_titled(std::string_view s) {
  bool any = false, inside = false;  // inside a word
  for (const char32_t c : code_points(s)) {
    if (is_upper(c) || is_title(c)) {
      if (inside) return false;
      any = inside = true;
    } else if (is_lower(c)) {
      if (!inside) return false;
    } else {
      inside = false;
    }
  }
  return any;
}

bool is_upper(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU || in_ranges(upper_ranges, c); }
bool is_lower(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LL || in_ranges(lower_ranges, c); }

bool is_printable(char32_t c) {
  if (c == U' ') return true;
  const auto k = category(c);
  return k != UTF8PROC_CATEGORY_CN && k < UTF8PROC_CATEGORY_ZS;
}

std::string upper(std::string_view s) {
  std::string out;
  for (const char32_t c : code_points(s)) append_upper(out, c);
  return out;
}

std::string lower(std::string_view s) {
  const auto points = code_points(s);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) append_lower(out, points, i);
  return out;
}

std::string casefold(std::string_view s) {
  std::string out;
  for (const char32_t c : code_points(s)) {
    std::array<utf8proc_int32_t, 8> folded{};
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded.data(), folded.size(),
                                           UTF8PROC_CASEFOLD, nullptr);
    if (n < 1) append_char(out, c);
    for (utf8proc_ssize_t i = 0; i < n; ++i)
      append_char(out, static_cast<char32_t>(folded[static_cast<std::size_t>(i)]));
  }
  return out;
}

std::string capitalize(std::string_view s) {
  const auto points = code_points(s);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i == 0) append_title(out, points[i]);
    else append_lower(out, points, i);
  }
  return out;
}

std::string title(std::string_view s) {
  const auto points = code_points(s);
  std::string out;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (i == 0 || !is_cased(points[i - 1])) append_title(out, points[i]);
    else append_lower(out, points, i);
  }
  return out;
}

namespace {

// Whether the character whose bytes these are is to be stripped.
bool stripped(std::string_view c, const std::string_view* chars) {
  if (!chars) return is_space(char_at(c, 0));
  for (std::size_t at = 0; at < chars->size();) {
    const std::size_t n = char_bytes(*chars, at);
    if (chars->substr(at, n) == c) return true;
    at += n;
  }
  return false;
}

std::size_t last_char(std::string_view s) {
  std::size_t at = s.size() - 1;
  while (at > 0 && s.size() - at < 4 && (static_cast<unsigned char>(s[at]) & 0xc0) == 0x80) --at;
  return char_bytes(s, at) == s.size() - at ? at : s.size() - 1;
}

}  // namespace

std::string_view strip_left(std::string_view s, const std::string_view* chars) {
  while (!s.empty()) {
    const std::size_t n = char_bytes(s, 0);
    if (!stripped(s.substr(0, n), chars)) break;
    s.remove_prefix(n);
  }
  return s;
}

std::string_view strip_right(std::string_view s, const std::string_view* chars) {
  while (!s.empty()) {
    const std::size_t at = last_char(s);
    if (!stripped(s.substr(at), chars)) break;
    s = s.substr(0, at);
  }
  return s;
}

std::vector<std::string_view> split_spaces(std::string_view s, long long limit) {
  std::vector<std::string_view> out;
  for (s = strip_left(s); !s.empty(); s = strip_left(s)) {
    if (limit >= 0 && static_cast<long long>(out.size()) >= limit) {
      out.push_back(s);
      break;
    }
    std::size_t end = 0;
    while (end < s.size() && !is_space(char_at(s, end))) end += char_bytes(s, end);
    out.push_back(s.substr(0, end));
    s.remove_prefix(end);
  }
  return out;
}

std::vector<std::string_view> rsplit_spaces(std::string_view s, long long limit) {
  std::vector<std::string_view> out;
  for (s = strip_right(s); !s.empty(); s = strip_right(s)) {
    if (limit >= 0 && static_cast<long long>(out.size()) >= limit) {
      out.push_back(s);
      break;
    }
    std::size_t start = s.size();
    while (start > 0) {
      const std::size_t at = last_char(s.substr(0, start));
      if (is_space(char_at(s, at))) break;
      start = at;
    }
    out.push_back(s.substr(start));
    s = s.substr(0, start);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> split_lines(std::string_view s, bool keep_ends) {
  std::vector<std::string_view> out;
  std::size_t start = 0;
  for (std::size_t at = 0; at < s.size();) {
    const char32_t c = char_at(s, at);
    std::size_t next = at + char_bytes(s, at);
    const bool ends = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (c == U'\r' && next < s.size() && s[next] == '\n') ++next;
    if (ends) {
      out.push_back(s.substr(start, (keep_ends ? next : at) - start));
      start = next;
    }
    at = next;
  }
  if (start < s.size()) out.push_back(s.substr(start));
  return out;
}

}  // namespace halyard::jinja

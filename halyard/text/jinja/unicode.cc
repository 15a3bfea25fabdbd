#include "halyard/text/jinja/unicode.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <utf8proc.h>

#include "halyard/text/jinja/tables.h"

namespace halyard::jinja {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || (c >= 0x80 && is_title(c)); }

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
    case 0xfb05:
    case 0xfb06: return "ST";
    default: return {};
  }
}

void append_upper(std::string& out, char32_t c) {
  if (c < 0x80) out += static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  else if (const auto s = long_upper(c); !s.empty()) out += s;
  else append_char(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void append_title(std::string& out, char32_t c) {
  if (c < 0x80) return append_upper(out, c);
  const auto s = long_upper(c);
  if (s.empty()) append_char(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  else if (c >= 0xfb00 || c == 0xdf) (out += s.substr(0, 1)) += ascii_lower(s.substr(1));
  else out += s;
}

// `before`: the character before it, 0 at the start; `after`: what follows. A sigma that ends a word has its own small
// form.
void append_lower(std::string& out, char32_t c, char32_t before, std::string_view after) {
  if (c < 0x80) out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  else if (c == 0x3a3)
    append_char(out, is_cased(before) && (after.empty() || !is_cased(char_at(after, 0))) ? 0x3c2 : 0x3c3);
  else if (c == 0x130) out += "i\xcc\x87";
  else append_char(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

// Calls change(out, character, the one before it, what follows it) for each character, and adds what it makes in pieces.
template <class Change> void each_changed(Builder& builder, std::string_view s, Change change) {
  constexpr std::size_t piece = 4096;
  std::string out;
  char32_t c, before = 0;
  builder.reserve(builder.size() + s.size());
  for (std::size_t at = 0; at < s.size(); before = c) {
    at += decode(s, at, c);
    change(out, c, before, s.substr(at));
    if (out.size() < piece) continue;
    builder.add(out);
    out.clear();
  }
  builder.add(out);
}

}  // namespace

// A byte that is not UTF-8 stands for itself.
std::size_t decode_beyond_ascii(std::string_view s, std::size_t at, char32_t& c) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[at + i]); };
  const auto follows = [&](std::size_t i) { return at + i < s.size() && (byte(i) & 0xc0) == 0x80; };
  // most texts' characters take this short way
  if (byte(0) >= 0xc2 && byte(0) < 0xe0 && follows(1)) {
    c = (byte(0) & 0x1fU) << 6 | (byte(1) & 0x3fU);
    return 2;
  }
  if (byte(0) > 0xe0 && byte(0) < 0xed && follows(1) && follows(2)) {
    c = (byte(0) & 0xfU) << 12 | (byte(1) & 0x3fU) << 6 | (byte(2) & 0x3fU);
    return 3;
  }
  utf8proc_int32_t code = 0;
  const auto n = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(s.data()) + at,
                                  static_cast<utf8proc_ssize_t>(std::min<std::size_t>(s.size() - at, 4)), &code);
  c = n > 0 ? static_cast<char32_t>(code) : static_cast<unsigned char>(s[at]);
  return n > 0 ? static_cast<std::size_t>(n) : 1;
}

std::size_t last_char(std::string_view s) {
  std::size_t at = s.size() - 1;
  while (at > 0 && s.size() - at < 4 && (static_cast<unsigned char>(s[at]) & 0xc0) == 0x80) --at;
  return char_bytes(s, at) == s.size() - at ? at : s.size() - 1;
}

void append_char(std::string& out, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(n));
}

namespace {

// Whether the next eight bytes are there and ASCII.
bool eight_ascii(std::string_view s, std::size_t at) {
  if (s.size() - at < 8) return false;
  std::uint64_t word;
  std::memcpy(&word, s.data() + at, 8);
  return (word & 0x8080808080808080) == 0;
}

}  // namespace

std::size_t length(std::string_view s) {
  std::size_t n = 0;
  for (std::size_t at = 0; at < s.size();) {
    const bool eight = eight_ascii(s, at);
    at += eight ? 8 : char_bytes(s, at);
    n += eight ? 8 : 1;
  }
  return n;
}

std::size_t byte_of(std::string_view s, std::size_t n) {
  std::size_t at = 0;
  while (n > 0 && at < s.size()) {
    const bool eight = n >= 8 && eight_ascii(s, at);
    at += eight ? 8 : char_bytes(s, at);
    n -= eight ? 8 : 1;
  }
  return at;
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
bool is_alnum(char32_t c) {
  if (c < 0x80) return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
  return is_alpha(c) || is_numeric(c);
}

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

bool is_upper(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z';
  return category(c) == UTF8PROC_CATEGORY_LU || in_ranges(upper_ranges, c);
}
bool is_lower(char32_t c) {
  if (c < 0x80) return c >= 'a' && c <= 'z';
  return category(c) == UTF8PROC_CATEGORY_LL || in_ranges(lower_ranges, c);
}

bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c != 0x7f;
  const auto k = category(c);
  return k != UTF8PROC_CATEGORY_CN && k < UTF8PROC_CATEGORY_ZS;
}

void upper(Builder& builder, std::string_view s) {
  each_changed(builder, s, [](std::string& out, char32_t c, char32_t, std::string_view) { append_upper(out, c); });
}

void lower(Builder& builder, std::string_view s) { each_changed(builder, s, append_lower); }

void swap_case(Builder& builder, std::string_view s) {
  each_changed(builder, s, [](std::string& out, char32_t c, char32_t before, std::string_view after) {
    if (is_upper(c)) append_lower(out, c, before, after);
    else if (is_lower(c)) append_upper(out, c);
    else append_char(out, c);
  });
}

void casefold(Builder& builder, std::string_view s) {
  each_changed(builder, s, [](std::string& out, char32_t c, char32_t, std::string_view) {
    std::array<utf8proc_int32_t, 8> folded{};
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded.data(), folded.size(),
                                           UTF8PROC_CASEFOLD, nullptr);
    if (n < 1) append_char(out, c);
    for (utf8proc_ssize_t i = 0; i < n; ++i)
      append_char(out, static_cast<char32_t>(folded[static_cast<std::size_t>(i)]));
  });
}

void capitalize(Builder& builder, std::string_view s) {
  bool first = true;
  each_changed(builder, s, [&](std::string& out, char32_t c, char32_t before, std::string_view after) {
    if (std::exchange(first, false)) append_title(out, c);
    else append_lower(out, c, before, after);
  });
}

void title(Builder& builder, std::string_view s) {
  each_changed(builder, s, [](std::string& out, char32_t c, char32_t before, std::string_view after) {
    if (!is_cased(before)) append_title(out, c);
    else append_lower(out, c, before, after);
  });
}

namespace {

bool ends_word(char32_t c) {
  return is_space(c) || (c < 0x80 && std::string_view("-({[<").find(static_cast<char>(c)) != std::string_view::npos);
}

}  // namespace

// A word's first letter is taken apart from the rest: where a sigma is the second, it has nothing before it.
void title_words(Builder& builder, std::string_view s) {
  bool first = true, second = false;
  each_changed(builder, s, [&](std::string& out, char32_t c, char32_t before, std::string_view after) {
    if (ends_word(c)) {
      append_char(out, c);
      first = true;
    } else if (first) {
      append_upper(out, c);
      first = false;
      second = true;
    } else {
      append_lower(out, c, std::exchange(second, false) ? 0 : before, after);
    }
  });
}

std::string ascii_lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

namespace {

// What is to be stripped: spaces, or the characters of a set.
class Stripped {
 public:
  explicit Stripped(const std::string_view* chars) : spaces_(!chars) {
    if (!chars) return;
    for (const char32_t c : code_points(*chars))
      if (c < ascii_.size()) ascii_[c] = true;
      else others_.push_back(c);
    std::sort(others_.begin(), others_.end());
    others_.erase(std::unique(others_.begin(), others_.end()), others_.end());
  }
  bool operator()(char32_t c) const {
    if (spaces_) return is_space(c);
    return c < ascii_.size() ? ascii_[c] : std::binary_search(others_.begin(), others_.end(), c);
  }

 private:
  const bool spaces_;
  std::array<bool, 128> ascii_{};
  std::vector<char32_t> others_;
};

}  // namespace

std::string_view strip_left(std::string_view s, const std::string_view* chars) {
  const Stripped stripped(chars);
  char32_t c;
  while (!s.empty()) {
    const std::size_t n = decode(s, 0, c);
    if (!stripped(c)) break;
    s.remove_prefix(n);
  }
  return s;
}

std::string_view strip_right(std::string_view s, const std::string_view* chars) {
  const Stripped stripped(chars);
  while (!s.empty()) {
    const std::size_t at = last_char(s);
    if (!stripped(char_at(s, at))) break;
    s = s.substr(0, at);
  }
  return s;
}

Grown<std::string_view> split_spaces(Budget& budget, std::string_view s, long long limit) {
  Grown<std::string_view> out(budget);
  for (s = strip_left(s); !s.empty(); s = strip_left(s)) {
    if (limit >= 0 && static_cast<long long>(out.size()) >= limit) {
      out.add(s);
      break;
    }
    std::size_t end = 0;
    while (end < s.size() && !is_space(char_at(s, end))) end += char_bytes(s, end);
    out.add(s.substr(0, end));
    s.remove_prefix(end);
  }
  return out;
}

Grown<std::string_view> rsplit_spaces(Budget& budget, std::string_view s, long long limit) {
  Grown<std::string_view> out(budget);
  for (s = strip_right(s); !s.empty(); s = strip_right(s)) {
    if (limit >= 0 && static_cast<long long>(out.size()) >= limit) {
      out.add(s);
      break;
    }
    std::size_t start = s.size();
    while (start > 0) {
      const std::size_t at = last_char(s.substr(0, start));
      if (is_space(char_at(s, at))) break;
      start = at;
    }
    out.add(s.substr(start));
    s = s.substr(0, start);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

Grown<std::string_view> split_lines(Budget& budget, std::string_view s, bool keep_ends) {
  Grown<std::string_view> out(budget);
  std::size_t start = 0;
  for (std::size_t at = 0; at < s.size();) {
    const char32_t c = char_at(s, at);
    std::size_t next = at + char_bytes(s, at);
    const bool ends = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (c == U'\r' && next < s.size() && s[next] == '\n') ++next;
    if (ends) {
      out.add(s.substr(start, (keep_ends ? next : at) - start));
      start = next;
    }
    at = next;
  }
  if (start < s.size()) out.add(s.substr(start));
  return out;
}

}  // namespace halyard::jinja

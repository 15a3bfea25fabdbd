#include "halyard/text/unicode.h"

#include <algorithm>
#include <array>
#include <vector>

#include <utf8proc.h>

#include "halyard/text/unicode_exceptions.h"

namespace halyard::text {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t i) { return static_cast<std::uint8_t>(text[i]); }
utf8proc_category_t category(CodePoint c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }
bool between(CodePoint c, CodePoint low, CodePoint high) { return c >= low && c <= high; }
bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<std::uint8_t>(c) < 0x80; });
}

// The tokenizers library's answer for `c` where it depends on the version of Unicode: that of utf8proc is not the same.
template <std::size_t n> const CodePointRange* exception(const CodePointRange (&table)[n], CodePoint c) {
  const auto* it =
      std::lower_bound(table, table + n, c, [](const CodePointRange& r, CodePoint p) { return r.last < p; });
  return it != table + n && it->first <= c ? it : nullptr;
}

// Unassigned in the version whose normal forms the tokenizers library has: a starter that nothing happens to.
bool unassigned(CodePoint c) { return c >= 0x300 && exception(unassigned_exceptions, c); }

struct StandIns {
  std::array<CodePoint, 256> of_byte{};
  std::array<std::int16_t, 0x180> to_byte{};
  StandIns() {
    to_byte.fill(-1);
    CodePoint next = 0x100;
    for (CodePoint b = 0; b < 256; ++b) {
      const bool printable = between(b, 0x21, 0x7e) || between(b, 0xa1, 0xac) || between(b, 0xae, 0xff);
      of_byte[b] = printable ? b : next++;
      to_byte[of_byte[b]] = static_cast<std::int16_t>(b);
    }
  }
};
const StandIns& stand_ins() {
  static const StandIns table;
  return table;
}

// Canonical ordering: each run of marks sorted by combining class, stably.
void order_marks(std::vector<utf8proc_int32_t>& points) {
  const auto combining = [](utf8proc_int32_t c) {
    return unassigned(static_cast<CodePoint>(c)) ? 0 : utf8proc_get_property(c)->combining_class;
  };
  for (auto it = points.begin(); it != points.end();) {
    if (*it < 0x300 || combining(*it) == 0) {
      ++it;
      continue;
    }
    const auto end = std::find_if(it, points.end(), [&](auto c) { return combining(c) == 0; });
    std::stable_sort(it, end, [&](auto a, auto b) { return combining(a) < combining(b); });
    it = end;
  }
}

// Canonical composition; nothing is composed with an unassigned character or across it.
void compose_between_unassigned(std::vector<utf8proc_int32_t>& points) {
  const auto is_late = [](utf8proc_int32_t c) { return unassigned(static_cast<CodePoint>(c)); };
  auto out = points.begin();
  for (auto it = points.begin(); it != points.end();) {
    const auto end = std::find_if(it, points.end(), is_late);
    const auto count =
        utf8proc_normalize_utf32(&*it, end - it, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    out = std::copy(it, it + count, out);
    it = end;
    while (it != points.end() && is_late(*it)) *out++ = *it++;
  }
  points.erase(out, points.end());
}

}  // namespace

CodePoint next_code_point(std::string_view text, std::size_t& pos) {
  const std::uint8_t first = byte_at(text, pos++);
  if (first < 0x80) return first;
  const int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
  CodePoint c = first & (0x3f >> more);
  for (int i = 0; i < more && pos < text.size(); ++i) c = (c << 6) | (byte_at(text, pos++) & 0x3f);
  return c;
}

CodePoint previous_code_point(std::string_view text, std::size_t& pos) {
  do --pos;
  while (pos > 0 && (byte_at(text, pos) & 0xc0) == 0x80);
  std::size_t at = pos;
  return next_code_point(text, at);
}

void append_utf8(std::string& out, CodePoint c) {
  utf8proc_uint8_t bytes[4];
  const auto n = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  for (int i = 0; i < n; ++i) out += static_cast<char>(bytes[i]);
}

bool is_white_space(CodePoint c) {
  return between(c, 0x9, 0xd) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || between(c, 0x2000, 0x200a) ||
         c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_numeric(CodePoint c) {
  if (c < 0x80) return between(c, '0', '9');
  if (const auto* e = exception(numeric_exceptions, c)) return e->answer;
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(CodePoint c) {
  if (c < 0x80)
    return between(c, 0x21, 0x2f) || between(c, 0x3a, 0x40) || between(c, 0x5b, 0x60) || between(c, 0x7b, 0x7e);
  if (const auto* e = exception(punctuation_exceptions, c)) return e->answer;
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

bool is_mark(CodePoint c) {
  if (c < 0x300) return false;
  if (const auto* e = exception(mark_exceptions, c)) return e->answer;
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ME;
}

bool is_word(CodePoint c) {
  if (c < 0x80) return between(c, '0', '9') || between(c, 'A', 'Z') || between(c, 'a', 'z') || c == '_';
  if (const auto* e = exception(word_exceptions, c)) return e->answer;
  const auto k = category(c);
  if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) return true;  // L*, M*, Nd, Nl stand in this order
  if (k == UTF8PROC_CATEGORY_PC || c == 0x200c || c == 0x200d) return true;
  // the symbols that are Alphabetic: circled and squared letters
  return between(c, 0x24b6, 0x24e9) || between(c, 0x1f130, 0x1f149) || between(c, 0x1f150, 0x1f169) ||
         between(c, 0x1f170, 0x1f189);
}

static CodePoint to_lower(CodePoint c) {
  const auto* end = std::end(lowercase_exceptions);
  const auto* it =
      std::lower_bound(std::begin(lowercase_exceptions), end, c, [](const auto& e, CodePoint p) { return e[0] < p; });
  if (it != end && (*it)[0] == c) return (*it)[1];
  return static_cast<CodePoint>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

std::string lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const CodePoint c = next_code_point(text, pos);
    if (c == 0x130) out += "i\xcc\x87";  // the one character whose lower case is two
    else append_utf8(out, to_lower(c));
  }
  return out;
}

std::string strip_marks(std::string_view text) {
  std::string out;
  for (std::size_t pos = 0; pos < text.size();) {
    const CodePoint c = next_code_point(text, pos);
    if (!is_mark(c)) append_utf8(out, c);
  }
  return out;
}

std::string normalize(std::string_view text, NormalForm form) {
  if (is_ascii(text)) return std::string(text);
  const bool compat = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compat ? UTF8PROC_COMPAT : 0));
  // utf8proc_decompose sorts marks by insertion, which is quadratic; hence character by character, and a sort of our own.
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const auto c = static_cast<utf8proc_int32_t>(next_code_point(text, pos));
    std::array<utf8proc_int32_t, 64> parts;  // the longest decomposition has 18
    int boundary = 0;
    const bool late = unassigned(static_cast<CodePoint>(c));
    const auto n = late ? -1 : utf8proc_decompose_char(c, parts.data(), parts.size(), options, &boundary);
    if (n < 0) points.push_back(c);
    else points.insert(points.end(), parts.begin(), parts.begin() + n);
  }
  order_marks(points);
  if (compose) compose_between_unassigned(points);
  std::string out;
  out.reserve(text.size());
  for (const utf8proc_int32_t c : points) append_utf8(out, static_cast<CodePoint>(c));
  return out;
}

std::string bytes_to_stand_ins(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char b : bytes) {
    const CodePoint c = stand_ins().of_byte[static_cast<std::uint8_t>(b)];
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else {
      out += static_cast<char>(0xc0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 0x3f));
    }
  }
  return out;
}

int stand_in_to_byte(CodePoint c) { return c < 0x180 ? stand_ins().to_byte[c] : -1; }

}  // namespace halyard::text

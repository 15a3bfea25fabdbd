#include "halyard/base/quote.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

namespace halyard {
namespace {

// A character at the start of a text: its bytes, or one byte that is not UTF-8 (Unicode 15, table 3-7).
struct Character {
  std::size_t bytes = 1;
  bool valid = false;
  std::uint32_t code = 0;
};

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {1, true, lead};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return {};
  std::uint32_t code = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80U) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  const bool too_long = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  if (too_long || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return {};
  return {length, true, code};
}

// Would break the line, move the cursor, or show what follows in another order.
bool unprintable(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

// Appends what `c`, the first character of `text`, is shown as.
void append(std::string& out, const Character& c, std::string_view text) {
  if (!c.valid || (c.code < 0x80 && unprintable(c.code)))
    out += fmt::format("\\x{:02x}", static_cast<std::uint8_t>(text[0]));
  else if (unprintable(c.code)) out += fmt::format("\\u{:04x}", c.code);
  else out += text.substr(0, c.bytes);
}

}  // namespace

std::string printable(std::string text) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = first_character(std::string_view(text).substr(at));
    if (!c.valid || unprintable(c.code)) return printable(text, text.size());
    at += c.bytes;
  }
  return text;
}

std::string printable(std::string_view text, std::size_t max_bytes) {
  std::string out;
  out.reserve(std::min(text.size(), max_bytes));
  for (std::size_t at = 0; at < text.size();) {
    const Character c = first_character(text.substr(at));
    if (text.size() > max_bytes && at + c.bytes > max_bytes) return out + "…";
    append(out, c, text.substr(at));
    at += c.bytes;
  }
  return out;
}

std::string in_quotes(std::string_view text, std::size_t max_bytes) { return '"' + printable(text, max_bytes) + '"'; }

}  // namespace halyard

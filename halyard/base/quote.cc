#include "halyard/base/quote.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

#include "halyard/base/utf8.h"

namespace halyard {
namespace {

// A character at the start of a text: its bytes, or one byte that is not UTF-8.
struct Character {
  std::size_t bytes = 1;
  bool valid = false;
  std::uint32_t code = 0;
};

Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const Utf8Step step = utf8_step(text, 0);
  if (step.kind != Utf8Step::whole) return {};
  std::uint32_t code = step.length == 1 ? byte(0) : byte(0) & (0xffU >> (step.length + 1));
  for (std::size_t i = 1; i < step.length; ++i) code = code << 6 | (byte(i) & 0x3fU);
  return {step.length, true, code};
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

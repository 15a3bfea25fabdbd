// Which bytes of a text are characters (Unicode 15, table 3-7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace halyard {

/// What stands at a place of a text.
struct Utf8Step {
  enum Kind { whole, cut, wrong } kind;  ///< a character; the valid start of one that the text ends within; neither
  std::size_t length;                    ///< bytes: of the character, the rest, or the maximal ill-formed subpart
};

inline Utf8Step utf8_step(std::string_view text, std::size_t pos) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(pos);
  if (first < 0x80) return {Utf8Step::whole, 1};
  if (first < 0xc2 || first > 0xf4) return {Utf8Step::wrong, 1};
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  // The second byte's range keeps out overlong forms, surrogates and what is past U+10FFFF.
  std::uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  std::uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  for (std::size_t i = 1; i < length; ++i, low = 0x80, high = 0xbf) {
    if (pos + i == text.size()) return {Utf8Step::cut, i};
    if (byte(pos + i) < low || byte(pos + i) > high) return {Utf8Step::wrong, i};
  }
  return {Utf8Step::whole, length};
}

/// The place of the first byte that is not UTF-8, or npos.
inline std::size_t find_invalid_utf8(std::string_view text) {
  for (std::size_t pos = 0; pos < text.size();) {
    const Utf8Step step = utf8_step(text, pos);
    if (step.kind != Utf8Step::whole) return pos;
    pos += step.length;
  }
  return text.npos;
}
inline bool is_utf8(std::string_view text) { return find_invalid_utf8(text) == text.npos; }

}  // namespace halyard

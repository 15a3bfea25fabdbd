// Code points: UTF-8 in and out, the character classes that tokenizers ask about, normal forms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "halyard/base/utf8.h"

namespace halyard::text {

using CodePoint = char32_t;

/// The code point at `pos` of valid UTF-8; `pos` moves past it.
CodePoint next_code_point(std::string_view text, std::size_t& pos);
/// The code point that ends at `pos` of valid UTF-8; `pos` moves to its start.
CodePoint previous_code_point(std::string_view text, std::size_t& pos);
void append_utf8(std::string& out, CodePoint);

bool is_white_space(CodePoint);  ///< property White_Space
bool is_numeric(CodePoint);      ///< Nd, Nl, No
bool is_punctuation(CodePoint);  ///< P*, and the ASCII symbols
bool is_mark(CodePoint);         ///< Mn, Mc, Me
bool is_word(CodePoint);         ///< UTS 18's word: Alphabetic, M, Nd, Pc, Join_Control

std::string lowercase(std::string_view text);
std::string strip_marks(std::string_view text);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
/// O(n log n), whatever the order of combining marks.
std::string normalize(std::string_view text, NormalForm);

/// GPT-2's printable stand-ins for bytes: each byte as one code point below 0x180, here as UTF-8.
std::string bytes_to_stand_ins(std::string_view bytes);
/// The byte that a code point stands in for, or -1.
int stand_in_to_byte(CodePoint);

}  // namespace halyard::text

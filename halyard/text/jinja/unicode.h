// Code points of UTF-8 text, with Python's notions of space, case and printability. Bytes that are not UTF-8 count as
// one character each.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace halyard::jinja {

/// Bytes of the character at `at`, at least 1.
std::size_t char_bytes(std::string_view s, std::size_t at);
char32_t char_at(std::string_view s, std::size_t at);
void append_char(std::string& out, char32_t c);
bool valid_utf8(std::string_view s);

/// Characters, not bytes.
std::size_t length(std::string_view s);
/// The byte at which character `n` starts; s.size() where there are not so many.
std::size_t byte_of(std::string_view s, std::size_t n);
/// The characters, each as the bytes it stands in.
std::vector<std::string_view> characters(std::string_view s);
std::vector<char32_t> code_points(std::string_view s);

bool is_space(char32_t c);      ///< str.isspace, also \s of re
bool is_alpha(char32_t c);      ///< str.isalpha
bool is_decimal(char32_t c);    ///< str.isdecimal
bool is_digit(char32_t c);      ///< str.isdigit: superscripts and the like too
bool is_numeric(char32_t c);    ///< str.isnumeric
bool is_identifier(std::string_view s);  ///< str.isidentifier
bool is_titled(std::string_view s);      ///< str.istitle
bool is_alnum(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_printable(char32_t c);  ///< what repr shows as it is

std::string upper(std::string_view s);
std::string lower(std::string_view s);
std::string casefold(std::string_view s);
std::string capitalize(std::string_view s);
/// str.title: every run of letters capitalised.
std::string title(std::string_view s);

/// Without the spaces, or the characters of `chars`, at the left, the right or both ends.
std::string_view strip_left(std::string_view s, const std::string_view* chars = nullptr);
std::string_view strip_right(std::string_view s, const std::string_view* chars = nullptr);
inline std::string_view strip(std::string_view s, const std::string_view* chars = nullptr) {
  return strip_right(strip_left(s, chars), chars);
}

/// str.split() by runs of spaces, at most `limit` times (negative: no limit).
std::vector<std::string_view> split_spaces(std::string_view s, long long limit);
std::vector<std::string_view> rsplit_spaces(std::string_view s, long long limit);
/// str.splitlines.
std::vector<std::string_view> split_lines(std::string_view s, bool keep_ends);

}  // namespace halyard::jinja

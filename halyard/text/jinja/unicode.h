// Code points of UTF-8 text, with Python's notions of space, case and printability. Bytes that are not UTF-8 count as
// one character each.
#pragma once

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>

#include "halyard/text/jinja/budget.h"

namespace halyard::jinja {

/// The character at `at` that is not ASCII, and its bytes.
std::size_t decode_beyond_ascii(std::string_view s, std::size_t at, char32_t& c);
/// The character at `at`, and its bytes: at least 1.
inline std::size_t decode(std::string_view s, std::size_t at, char32_t& c) {
  c = static_cast<unsigned char>(s[at]);
  return c < 0x80 ? 1 : decode_beyond_ascii(s, at, c);
}
inline std::size_t char_bytes(std::string_view s, std::size_t at) {
  char32_t c;
  return decode(s, at, c);
}
inline char32_t char_at(std::string_view s, std::size_t at) {
  char32_t c;
  decode(s, at, c);
  return c;
}
/// Where the last character starts; `s` is not empty.
std::size_t last_char(std::string_view s);
void append_char(std::string& out, char32_t c);

/// Characters, not bytes.
std::size_t length(std::string_view s);
/// The byte at which character `n` starts; s.size() where there are not so many.
std::size_t byte_of(std::string_view s, std::size_t n);
/// The characters of a text one after the other, as T has them; nothing is allocated.
template <class T> class Decoded {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = const T*;
    using reference = T;
    Iterator(std::string_view s, std::size_t at) : s_(s), at_(at) { read(); }
    T operator*() const {
      if constexpr (std::is_same_v<T, char32_t>) return c_;
      else return s_.substr(at_, n_);
    }
    Iterator& operator++() {
      at_ += n_;
      read();
      return *this;
    }
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    void read() {
      if (at_ < s_.size()) n_ = decode(s_, at_, c_);
    }
    std::string_view s_;
    std::size_t at_, n_ = 0;
    char32_t c_ = 0;
  };
  explicit Decoded(std::string_view s) : s_(s) {}
  Iterator begin() const { return {s_, 0}; }
  Iterator end() const { return {s_, s_.size()}; }
  bool empty() const { return s_.empty(); }

 private:
  std::string_view s_;
};
/// Each as the bytes it stands in.
inline Decoded<std::string_view> characters(std::string_view s) { return Decoded<std::string_view>(s); }
inline Decoded<char32_t> code_points(std::string_view s) { return Decoded<char32_t>(s); }

bool is_space(char32_t c);               ///< str.isspace, also \s of re
bool is_alpha(char32_t c);               ///< str.isalpha
bool is_decimal(char32_t c);             ///< str.isdecimal
bool is_digit(char32_t c);               ///< str.isdigit: superscripts and the like too
bool is_numeric(char32_t c);             ///< str.isnumeric
bool is_identifier(std::string_view s);  ///< str.isidentifier
bool is_titled(std::string_view s);      ///< str.istitle
bool is_alnum(char32_t c);
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_printable(char32_t c);  ///< what repr shows as it is

/// Adds the text in another case.
using CaseMap = void (*)(Builder&, std::string_view);
void upper(Builder&, std::string_view s);
void lower(Builder&, std::string_view s);
void casefold(Builder&, std::string_view s);
void capitalize(Builder&, std::string_view s);
/// str.title: every run of letters capitalised.
void title(Builder&, std::string_view s);
/// Jinja's title: words start after a space, - ( { [ <
void title_words(Builder&, std::string_view s);
void swap_case(Builder&, std::string_view s);
std::string ascii_lower(std::string_view s);

/// Without the spaces, or the characters of `chars`, at the left, the right or both ends.
std::string_view strip_left(std::string_view s, const std::string_view* chars = nullptr);
std::string_view strip_right(std::string_view s, const std::string_view* chars = nullptr);
inline std::string_view strip(std::string_view s, const std::string_view* chars = nullptr) {
  return strip_right(strip_left(s, chars), chars);
}

/// str.split() by runs of spaces, at most `limit` times (negative: no limit).
Grown<std::string_view> split_spaces(Budget&, std::string_view s, long long limit);
Grown<std::string_view> rsplit_spaces(Budget&, std::string_view s, long long limit);
/// str.splitlines.
Grown<std::string_view> split_lines(Budget&, std::string_view s, bool keep_ends);

}  // namespace halyard::jinja

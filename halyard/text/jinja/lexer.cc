#include "halyard/text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include <fmt/format.h>

#include "halyard/text/jinja/unicode.h"
#include "halyard/text/jinja/value.h"

namespace halyard::jinja {
namespace {

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_ascii_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// \n for every line end, and without the template's last one.
std::string normalise(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') out += source[i];
    else if (out += '\n'; i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalise(source)), s_(source_) {}

  std::vector<Token> run() {
    while (at_ < s_.size()) lex_root();
    push(TokenType::end);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(std::string message) { throw Failure{Errc::bad_file, std::move(message), line_}; }

  Token& push(TokenType type, std::string text = {}) {
    if (tokens_.size() == max_tokens)
      fail(fmt::format("has more than {} names, numbers, strings and signs", max_tokens));
    return tokens_.emplace_back(Token{type, line_, std::move(text), {}, 0});
  }

  bool looking_at(std::string_view what) const { return s_.substr(at_, what.size()) == what; }
  char peek(std::size_t offset = 0) const { return at_ + offset < s_.size() ? s_[at_ + offset] : '\0'; }

  void advance(std::size_t n) {
    line_ += static_cast<int>(std::count(s_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         s_.begin() + static_cast<std::ptrdiff_t>(at_ + n), '\n'));
    at_ += n;
  }

  void skip_spaces() { advance(s_.size() - at_ - strip_left(s_.substr(at_)).size()); }

  // --- outside of tags

  // Text up to the next tag, then that tag.
  void lex_root() {
    const std::size_t start = at_;
    const std::size_t open = next_tag();
    if (open == s_.npos) return lex_data(s_.substr(start), s_.size() - start);
    const char kind = s_[open + 1];
    const char sign = open + 2 < s_.size() && (s_[open + 2] == '-' || s_[open + 2] == '+') ? s_[open + 2] : '\0';
    lex_data(stripped_data(start, open, sign, kind != '{'), open - start);
    advance(sign ? 3 : 2);
    if (kind == '#') return lex_comment();
    if (kind == '{') return lex_tag(TokenType::variable_begin, TokenType::variable_end, "}}");
    if (skip_raw_begin()) return lex_raw();
    lex_tag(TokenType::block_begin, TokenType::block_end, "%}");
  }

  std::size_t next_tag() const {
    for (std::size_t open = s_.find('{', at_); open != s_.npos; open = s_.find('{', open + 1))
      if (open + 1 < s_.size() && (s_[open + 1] == '{' || s_[open + 1] == '%' || s_[open + 1] == '#')) return open;
    return s_.npos;
  }

  // s[start, open) as the sign of the tag that follows it, or lstrip_blocks, leaves it.
  std::string_view stripped_data(std::size_t start, std::size_t open, char sign, bool block) const {
    const auto data = s_.substr(start, open - start);
    if (sign == '-') return strip_right(data);
    if (sign == '+' || !block) return data;
    const auto newline = data.rfind('\n');
    const bool line_start = newline != data.npos || start == 0 || s_[start - 1] == '\n';
    const std::size_t indent = newline == data.npos ? 0 : newline + 1;
    return line_start && strip_left(data.substr(indent)).empty() ? data.substr(0, indent) : data;
  }

  void lex_data(std::string_view kept, std::size_t consumed) {
    if (!kept.empty()) push(TokenType::data, std::string(kept));
    advance(consumed);
  }

  // Past the end of a tag, comment or raw block: `-` takes the spaces after it, nothing the newline, `+` neither.
  void end_tag(char sign, std::size_t bytes, bool trim_newline) {
    advance(bytes);
    if (sign == '-') skip_spaces();
    else if (sign != '+' && trim_newline && peek() == '\n') advance(1);
  }

  void lex_comment() {
    const auto end = s_.find("#}", at_);
    if (end == s_.npos) fail("a comment {# has no end #}");
    const char sign = end > at_ ? s_[end - 1] : '\0';
    advance(end - at_);
    end_tag(sign, 2, true);
  }

  // `raw %}` after a block's begin.
  bool skip_raw_begin() {
    const auto rest = s_.substr(at_);
    auto after = strip_left(rest);
    if (!after.starts_with("raw")) return false;
    after = strip_left(after.substr(3));
    const bool minus = after.starts_with("-%}");
    if (!minus && !after.starts_with("%}")) return false;
    advance(rest.size() - after.size());
    end_tag(minus ? '-' : '\0', minus ? 3 : 2, false);
    return true;
  }

  void lex_raw() {
    const std::size_t start = at_;
    for (std::size_t open = s_.find("{%", at_); open != s_.npos; open = s_.find("{%", open + 1)) {
      const char sign = open + 2 < s_.size() && (s_[open + 2] == '-' || s_[open + 2] == '+') ? s_[open + 2] : '\0';
      auto after = strip_left(s_.substr(open + (sign ? 3 : 2)));
      if (!after.starts_with("endraw")) continue;
      after = strip_left(after.substr(6));
      const char end_sign = after.starts_with('-') || after.starts_with('+') ? after[0] : '\0';
      if (!after.substr(end_sign ? 1 : 0).starts_with("%}")) continue;
      lex_data(stripped_data(start, open, sign, true), open - start);
      advance(s_.size() - after.size() - at_);
      return end_tag(end_sign, end_sign ? 3 : 2, true);
    }
    fail("{% raw %} has no {% endraw %}");
  }

  // --- inside of tags

  void lex_tag(TokenType begin, TokenType end, std::string_view close) {
    push(begin);
    brackets_.clear();
    for (;;) {
      skip_spaces();
      if (at_ == s_.size()) return;  // the parser says what is missing
      if (brackets_.empty()) {
        const char sign = peek() == '-' || (peek() == '+' && end == TokenType::block_end) ? peek() : '\0';
        if (s_.substr(at_ + (sign ? 1 : 0)).starts_with(close)) {
          push(end);
          return end_tag(sign, sign ? 3 : 2, end == TokenType::block_end);
        }
      }
      lex_token();
    }
  }

  void lex_token() {
    const char c = peek();
    if (is_ascii_digit(c)) return lex_number();
    if (c == '\'' || c == '"') return lex_string(c);
    if (is_word(c)) return lex_name();
    for (const std::string_view op : {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                      "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"})
      if (looking_at(op)) return lex_operator(op);
    fail(fmt::format("unexpected character '{}'", s_.substr(at_, char_bytes(s_, at_))));
  }

  void lex_operator(std::string_view op) {
    if (op == "(" || op == "[" || op == "{") brackets_ += op == "(" ? ')' : op == "[" ? ']' : '}';
    if (op == ")" || op == "]" || op == "}") {
      if (brackets_.empty()) fail(fmt::format("unexpected '{}'", op));
      if (brackets_.back() != op[0]) fail(fmt::format("unexpected '{}', expected '{}'", op, brackets_.back()));
      brackets_.pop_back();
    }
    push(TokenType::op, std::string(op));
    advance(op.size());
  }

  void lex_name() {
    std::size_t n = 0;
    while (at_ + n < s_.size() && is_word(s_[at_ + n]) && !is_space(char_at(s_, at_ + n))) n += char_bytes(s_, at_ + n);
    if (n == 0) fail("unexpected character");
    push(TokenType::name, std::string(s_.substr(at_, n)));
    advance(n);
  }

  // digits with single underscores between them, from at_ + n; returns where they end
  template <class IsDigit> std::size_t digits(std::size_t n, IsDigit is) const {
    while (is(peek(n)) || (peek(n) == '_' && is(peek(n + 1)))) ++n;
    return n;
  }

  void lex_number() {
    if (const std::size_t n = float_length(); n > 0) {
      push(TokenType::real).real = std::strtod(plain(n).c_str(), nullptr);
      return advance(n);
    }
    const char prefix = static_cast<char>(peek(1) | 0x20);
    const int base = peek() != '0' ? 10 : prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 10;
    const auto is = [&](char c) {
      const char l = static_cast<char>(c | 0x20);
      return base == 16 ? is_ascii_digit(c) || (l >= 'a' && l <= 'f') : c >= '0' && c < '0' + std::min(base, 10);
    };
    std::size_t n =
        base == 10 ? (peek() == '0' ? digits(1, [](char c) { return c == '0'; }) : digits(1, is)) : digits(2, is);
    if (base != 10 && n == 2) n = 1;  // "0x" without digits is a zero, then a name
    const std::string text = plain(n);
    if (text.size() > max_digits)
      fail(fmt::format("the integer {}… has more than {} digits", text.substr(0, 40), max_digits));
    const std::string_view digits = std::string_view(text).substr(n > 1 && base != 10 ? 2 : 0);
    push(TokenType::integer).integer = BigInt::parse(digits, static_cast<unsigned>(base));
    advance(n);
  }

  // Bytes of the float that starts here, or 0: a fraction, an exponent or both.
  std::size_t float_length() const {
    if (at_ > 0 && s_[at_ - 1] == '.') return 0;
    std::size_t n = digits(0, is_ascii_digit);
    bool is_float = false;
    if (peek(n) == '.' && is_ascii_digit(peek(n + 1))) {
      n = digits(n + 1, is_ascii_digit);
      is_float = true;
    }
    if ((peek(n) | 0x20) == 'e') {
      const std::size_t e = n + 1 + (peek(n + 1) == '+' || peek(n + 1) == '-' ? 1 : 0);
      if (is_ascii_digit(peek(e))) return digits(e, is_ascii_digit);
    }
    return is_float ? n : 0;
  }

  std::string plain(std::size_t n) const {
    std::string text(s_.substr(at_, n));
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    return text;
  }

  void lex_string(char quote) {
    std::size_t end = at_ + 1;
    while (end < s_.size() && s_[end] != quote) end += s_[end] == '\\' ? 2 : 1;
    if (end >= s_.size()) fail("a string has no closing quote");
    push(TokenType::string, unescape(s_.substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
  }

  // Python's escapes; an unknown one stays as it is written.
  std::string unescape(std::string_view s) {
    static constexpr std::string_view from = "abfnrtv\\'\"", to = "\a\b\f\n\r\t\v\\'\"";
    std::string out;
    for (std::size_t i = 0; i < s.size(); ++i) {
      if (s[i] != '\\') {
        out += s[i];
        continue;
      }
      const char c = s[++i];
      if (const auto k = from.find(c); k != from.npos) out += to[k];
      else if (c == '\n') continue;
      else if (c == 'x' || c == 'u' || c == 'U')
        i += unescape_hex(out, s.substr(i + 1), c == 'x' ? 2 : c == 'u' ? 4 : 8);
      else if (c >= '0' && c <= '7') i += unescape_octal(out, s.substr(i));
      else if (c == 'N') fail("\\N{…} is not supported in strings");
      else (out += '\\') += c;
    }
    return out;
  }

  std::size_t unescape_hex(std::string& out, std::string_view s, std::size_t n) {
    std::uint32_t c = 0;
    const auto end = s.data() + std::min(n, s.size());
    const auto [p, ec] = std::from_chars(s.data(), end, c, 16);
    if (s.size() < n || p != end || ec != std::errc())
      fail(fmt::format("an escape in a string needs {} hex digits", n));
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) fail(fmt::format("\\{:x} in a string is not a character", c));
    append_char(out, c);
    return n;
  }

  static std::size_t unescape_octal(std::string& out, std::string_view s) {
    std::uint32_t c = 0;
    std::size_t n = 0;
    for (; n < 3 && n < s.size() && s[n] >= '0' && s[n] <= '7'; ++n) c = c * 8 + static_cast<std::uint32_t>(s[n] - '0');
    append_char(out, c);
    return n - 1;
  }

  const std::string source_;
  const std::string_view s_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::string brackets_;  // the closing ones now awaited
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace halyard::jinja

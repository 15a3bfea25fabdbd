#include "halyard/base/json_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "halyard/base/quote.h"
#include "halyard/base/utf8.h"

namespace halyard {
namespace {

// Bytes of a string that stand for themselves: all of ASCII but controls, the quote and the backslash.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (std::size_t c = 0x20; c < 0x80; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

class JsonReader {
 public:
  JsonReader(std::string_view text, JsonEvents& events, int max_depth)
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), events_(events), max_depth_(max_depth) {
    if (text.starts_with("\xef\xbb\xbf")) at_ += 3;
  }

  Result<void> read() {
    if (values() && (skip_space(), at_ == end_ || wrong("the end"))) return {};
    if (!problem_.empty()) return fail(Errc::bad_file, std::move(problem_));
    return fail(std::move(events_.refusal));
  }

 private:
  // All of it: each round reads the key where there is one, a value, and what follows it.
  bool values() {
    for (;;) {
      if (!open_.empty() && open_.back() && !member()) return false;
      skip_space();
      if (at_ < end_ && (*at_ == '{' || *at_ == '[')) {
        if (!start()) return false;
        skip_space();
        if (at_ == end_ || *at_ != closing()) continue;
        if (!finish()) return false;
      } else if (!scalar()) {
        return false;
      }
      if (!after_value()) return false;
      if (open_.empty()) return true;
    }
  }

  // Closes what ends here; stops behind the comma, if there is one.
  bool after_value() {
    while (!open_.empty()) {
      skip_space();
      if (at_ < end_ && *at_ == ',') {
        ++at_;
        return true;
      }
      if (at_ == end_ || *at_ != closing()) return wrong(open_.back() ? "',' or '}'" : "',' or ']'");
      if (!finish()) return false;
    }
    return true;
  }

  bool start() {
    if (open_.size() >= static_cast<std::size_t>(max_depth_)) {
      problem_ = fmt::format("not acceptable JSON: nested deeper than {} levels", max_depth_);
      return false;
    }
    const bool object = *at_++ == '{';
    open_.push_back(object);
    return object ? events_.start_object() : events_.start_array();
  }
  bool finish() {
    ++at_;
    const bool object = open_.back();
    open_.pop_back();
    return object ? events_.end_object() : events_.end_array();
  }
  char closing() const { return open_.back() ? '}' : ']'; }

  bool member() {
    skip_space();
    if (at_ == end_ || *at_ != '"') return wrong("a key in quotes");
    std::string_view name;
    if (!text(name) || !events_.key(name)) return false;
    skip_space();
    if (at_ == end_ || *at_ != ':') return wrong("':'");
    ++at_;
    return true;
  }

  bool scalar() {
    if (at_ == end_) return wrong("a value");
    switch (*at_) {
      case '"': {
        std::string_view value;
        return text(value) && events_.string(value);
      }
      case 't': return word("true") && events_.boolean(true);
      case 'f': return word("false") && events_.boolean(false);
      case 'n': return word("null") && events_.null();
      default: return *at_ == '-' || is_digit(*at_) ? number() : wrong("a value");
    }
  }

  bool word(std::string_view expected) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(expected)) return wrong("a value");
    at_ += expected.size();
    return true;
  }

  bool number() {
    const char* const from = at_;
    const bool minus = *at_ == '-';
    at_ += minus;
    const char* const digits = at_;
    std::uint64_t n = 0;
    bool fits = true;
    while (at_ < end_ && is_digit(*at_)) {
      fits = fits && !__builtin_mul_overflow(n, std::uint64_t{10}, &n) &&
             !__builtin_add_overflow(n, static_cast<std::uint64_t>(*at_ - '0'), &n);
      ++at_;
    }
    if (at_ == digits) return wrong("a digit");
    if (*digits == '0' && at_ - digits > 1) return at_ = digits + 1, wrong("a number without leading zeros");
    bool integer = true;
    if (at_ < end_ && *at_ == '.') {
      integer = false;
      ++at_;
      if (!some_digits()) return false;
    }
    if (at_ < end_ && (*at_ | 0x20) == 'e') {
      integer = false;
      ++at_;
      if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      if (!some_digits()) return false;
    }
    constexpr std::uint64_t lowest = std::uint64_t{1} << 63;  // as a magnitude
    if (integer && fits && !minus) return events_.whole(n);
    if (integer && fits && n <= lowest) return events_.negative(static_cast<std::int64_t>(0 - n));
    const std::string_view written(from, static_cast<std::size_t>(at_ - from));
    if (const auto taken = integer ? events_.large(written) : std::nullopt) return *taken;
    return real(written);
  }

  bool some_digits() {
    if (at_ == end_ || !is_digit(*at_)) return wrong("a digit");
    while (at_ < end_ && is_digit(*at_)) ++at_;
    return true;
  }

  bool real(std::string_view written) {
    double value = 0;
    const auto [stop, error] = std::from_chars(written.data(), written.data() + written.size(), value);
    if (error == std::errc::result_out_of_range) {
      if (exponent_of(written) > 0) {
        problem_ = fmt::format("not valid JSON: the number {} is out of range", printable(written, 40));
        return false;
      }
      value = written[0] == '-' ? -0.0 : 0.0;  // too small for any other
    }
    return events_.real(value);
  }

  // The place of a number's first digit other than 0, in powers of ten: it tells too large from too small.
  static std::int64_t exponent_of(std::string_view written) {
    const std::size_t e = std::min(written.find_first_of("eE"), written.size());
    const std::string_view mantissa = written.substr(0, e);
    const auto point = static_cast<std::int64_t>(std::min(mantissa.find('.'), mantissa.size()));
    const auto first = static_cast<std::int64_t>(std::min(mantissa.find_first_of("123456789"), mantissa.size()));
    std::int64_t exponent = 0;
    if (e < written.size()) {
      const std::string_view digits = written.substr(e + (written[e + 1] == '+' ? 2 : 1));
      if (std::from_chars(digits.data(), digits.data() + digits.size(), exponent).ec != std::errc{})
        return digits[0] == '-' ? -1 : 1;  // beyond 64 bits
    }
    std::int64_t sum = 0;
    if (__builtin_add_overflow(exponent, point - first, &sum)) return exponent;
    return sum;
  }

  // A string from its quote on. `out` lies in the text itself unless escapes had to be undone.
  bool text(std::string_view& out) {
    const char* run = ++at_;  // what is not copied yet
    bool copied = false;
    for (;;) {
      while (at_ < end_ && kPlain[static_cast<std::uint8_t>(*at_)]) ++at_;
      if (at_ == end_) return wrong("the string's closing quote");
      if (*at_ == '"') break;
      if (*at_ == '\\') {
        if (!std::exchange(copied, true)) scratch_.clear();
        scratch_.append(run, at_);
        if (!escape()) return false;
        run = at_;
      } else if (!character()) {
        return false;
      }
    }
    out = {run, static_cast<std::size_t>(at_ - run)};
    if (copied) out = scratch_.append(out);
    ++at_;
    return true;
  }

  // A character beyond ASCII.
  bool character() {
    if (static_cast<std::uint8_t>(*at_) < 0x20) return wrong("a control character as an escape");
    const Utf8Step step = utf8_step({at_, static_cast<std::size_t>(end_ - at_)}, 0);
    if (step.kind != Utf8Step::whole) return wrong("UTF-8");
    at_ += step.length;
    return true;
  }

  bool escape() {
    ++at_;
    if (at_ == end_) return wrong("an escape");
    constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = letters.find(*at_); i != letters.npos) {
      scratch_ += meanings[i];
      ++at_;
      return true;
    }
    if (*at_ != 'u') return wrong("an escape");
    std::uint32_t c = 0;
    if (!code_unit(c)) return false;
    if (c >= 0xdc00 && c <= 0xdfff) return wrong("a high surrogate before the low one");
    if (c >= 0xd800 && c <= 0xdbff) {
      std::uint32_t low = 0;
      if (end_ - at_ < 2 || at_[0] != '\\' || at_[1] != 'u') return wrong("a low surrogate");
      ++at_;
      if (!code_unit(low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return wrong("a low surrogate");
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(c);
    return true;
  }

  // From the "u" on.
  bool code_unit(std::uint32_t& c) {
    ++at_;
    for (int i = 0; i < 4; ++i, ++at_) {
      const int digit = at_ < end_ ? hex_digit(*at_) : -1;
      if (digit < 0) return wrong("four hexadecimal digits");
      c = c << 4 | static_cast<std::uint32_t>(digit);
    }
    return true;
  }

  void append_utf8(std::uint32_t c) {
    const auto put = [&](std::uint32_t byte) { scratch_ += static_cast<char>(byte); };
    if (c < 0x80) return put(c);
    if (c < 0x800) put(0xc0 | c >> 6);
    else if (c < 0x10000) put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f));
    else put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f));
    put(0x80 | (c & 0x3f));
  }

  void skip_space() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t' || *at_ == '\r')) ++at_;
  }

  // Always false.
  bool wrong(std::string_view expected) {
    const auto line = 1 + std::count(begin_, at_, '\n');
    const char* line_start = at_;
    while (line_start > begin_ && line_start[-1] != '\n') --line_start;
    const std::string found =
        at_ == end_ ? "the text ends"
                    : "found " + in_quotes({at_, std::min<std::size_t>(16, static_cast<std::size_t>(end_ - at_))});
    problem_ =
        fmt::format("not valid JSON: line {}, column {}: expected {}, {}", line, at_ - line_start + 1, expected, found);
    return false;
  }

  const char* begin_;
  const char* at_;
  const char* end_;
  JsonEvents& events_;
  const int max_depth_;
  std::vector<bool> open_;  // the containers now open, outermost first: is it an object?
  std::string scratch_;     // a string whose escapes are undone
  std::string problem_;
};

}  // namespace

Result<void> read_json(std::string_view text, JsonEvents& events, int max_depth) {
  return JsonReader(text, events, max_depth).read();
}

}  // namespace halyard

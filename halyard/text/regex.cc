#include "halyard/text/regex.h"

#include <array>
#include <optional>

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "halyard/base/quote.h"
#include "halyard/text/unicode.h"

namespace halyard::text {
namespace {

// Backtracking steps from one starting place; a word of a million letters needs about two million.
constexpr std::uint32_t max_steps = 5'000'000;
// What PCRE2 compiles is bounded by 64 Ki units; a class such as \w becomes a hundred of them.
constexpr std::size_t max_expression = std::size_t{32} << 10;  // bytes
constexpr std::uint32_t max_heap_kib = 64 * 1024;

// What Oniguruma's classes hold where PCRE2's differ. \s: White_Space (PCRE2 adds U+180E). \w: Alphabetic, M, Nd, Pc and
// the Latin-1 numbers.
constexpr std::string_view space =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view word =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})";
constexpr std::string_view hex = "0-9a-fA-F";

// Oniguruma's "{,n}" is "{0,n}", and a "+" after "{m,n}" repeats where PCRE2 would make it possessive: "{1,n}+" is "+",
// "{0,n}+" is "*". Returns what stands for the text at `pos`, which moves past it, or nothing where it is no such case.
std::optional<std::string> translate_interval(std::string_view s, std::size_t& pos) {
  std::size_t at = pos + 1;
  const auto digits = [&] {
    const std::size_t from = at;
    while (at < s.size() && s[at] >= '0' && s[at] <= '9') ++at;
    return s.substr(from, at - from);
  };
  const std::string_view low = digits();
  if (at >= s.size() || s[at] != ',') return std::nullopt;
  ++at;
  const std::string_view high = digits();
  if (at >= s.size() || s[at] != '}' || (low.empty() && high.empty())) return std::nullopt;
  ++at;
  const bool again = at < s.size() && s[at] == '+';
  if (again && (low.empty() || low == "0" || low == "1")) {
    pos = at + 1;
    return low == "1" ? "+" : "*";
  }
  pos = at;
  return fmt::format("{{{},{}}}", low.empty() ? "0" : low, high);
}

// Oniguruma's syntax (with Ruby's settings, as the tokenizers library has it) in PCRE2's, where the two differ.
Result<std::string> to_pcre2(std::string_view s) {
  std::string out;
  bool in_class = false;
  std::size_t class_start = 0;
  const auto set = [&](std::string_view members, bool negated) {
    if (in_class) out += members;
    else out += fmt::format("[{}{}]", negated ? "^" : "", members);
  };
  for (std::size_t i = 0; i < s.size();) {
    const char c = s[i];
    if (c == '\\' && i + 1 < s.size()) {
      const char e = s[i + 1];
      i += 2;
      if (e == 's') set(space, false);
      else if (e == 'S' && in_class) out += R"(\S\x{180e})";
      else if (e == 'S') set(space, true);
      else if (e == 'w') set(word, false);
      else if (e == 'W' && !in_class) set(word, true);
      else if (e == 'h') set(hex, false);
      else if (e == 'H' && !in_class) set(hex, true);
      else if (e == 'u' && i + 4 <= s.size()) {
        out += fmt::format("\\x{{{}}}", s.substr(i, 4));
        i += 4;
      } else {
        out += c;
        out += e;
      }
      continue;
    }
    if (in_class) {
      const bool posix = c == '[' && i + 1 < s.size() && s[i + 1] == ':';
      if ((c == '[' && !posix) || s.substr(i, 2) == "&&")
        return fail(Errc::unsupported, "sets within character classes are not supported");
      if (posix) {
        const std::size_t end = s.find(":]", i);
        if (end == s.npos) return fail(Errc::bad_file, "a POSIX class has no end");
        out += s.substr(i, end + 2 - i);
        i = end + 2;
        continue;
      }
      if (c == ']' && i > class_start) in_class = false;
    } else if (c == '[') {
      in_class = true;
      class_start = i + 1 + (s.substr(i + 1, 1) == "^" ? 1 : 0);
      out += s.substr(i, class_start - i);
      i = class_start;
      continue;
    } else if (c == '{') {
      if (auto interval = translate_interval(s, i)) {
        out += *interval;
        continue;
      }
    }
    out += c;
    ++i;
  }
  return out;
}

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

struct Free {
  void operator()(pcre2_code* p) const { pcre2_code_free(p); }
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
};
template <class T> using Owned = std::unique_ptr<T, Free>;

// Walks the matches of `next(from) -> optional<Span>` as the onig crate does.
template <class Next> std::vector<Span> walk_matches(std::string_view text, Next next) {
  std::vector<Span> found;
  std::optional<std::size_t> last_end;
  for (std::size_t from = 0; from <= text.size();) {
    const std::optional<Span> m = next(from);
    if (!m) break;
    if (m->begin == m->end && last_end == m->end) {
      if (from == text.size()) break;
      next_code_point(text, from);
      continue;
    }
    found.push_back(*m);
    last_end = from = m->end;
  }
  return found;
}

}  // namespace

struct Pattern::Compiled {
  Owned<pcre2_code> code;
  Owned<pcre2_match_context> limits;
};

Result<Pattern> Pattern::regex(std::string_view expression) {
  const auto refuse = [&](Errc code, std::string_view why) {
    return fail(code, fmt::format("the regex {} is not usable: {}", in_quotes(expression), why));
  };
  if (expression.size() > max_expression)
    return refuse(Errc::limit_exceeded,
                  fmt::format("it has {} bytes, the limit is {}", expression.size(), max_expression));
  auto translated = to_pcre2(expression);
  if (!translated) return refuse(translated.error().code, translated.error().message);
  Owned<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  if (!context) return refuse(Errc::out_of_memory, "out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);  // "." and "$" know no other line end
  // PCRE2_MULTILINE: "^" and "$" match at every line, as Ruby has it
  constexpr std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  int code = 0;
  PCRE2_SIZE where = 0;
  auto compiled = std::make_shared<Compiled>();
  compiled->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(), options,
                                     &code, &where, context.get()));
  if (!compiled->code) return refuse(Errc::bad_file, pcre2_message(code));
  pcre2_jit_compile(compiled->code.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT the interpreter serves
  compiled->limits.reset(pcre2_match_context_create(nullptr));
  if (!compiled->limits) return refuse(Errc::out_of_memory, "out of memory");
  pcre2_set_match_limit(compiled->limits.get(), max_steps);
  pcre2_set_heap_limit(compiled->limits.get(), max_heap_kib);
  Pattern pattern;
  pattern.source_ = expression;
  pattern.compiled_ = std::move(compiled);
  return pattern;
}

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.source_ = std::move(text);
  return pattern;
}

Result<std::vector<Span>> Pattern::find_all(std::string_view text) const {
  if (text.empty()) return {};
  return compiled_ ? find_regex(text) : find_literal(text);
}

std::vector<Span> Pattern::find_literal(std::string_view text) const {
  return walk_matches(text, [&](std::size_t from) -> std::optional<Span> {
    const std::size_t at = text.find(source_, from);
    if (at == text.npos) return std::nullopt;
    return Span{at, at + source_.size()};
  });
}

Result<std::vector<Span>> Pattern::find_regex(std::string_view text) const {
  const pcre2_code* code = compiled_->code.get();
  pcre2_match_context* limits = compiled_->limits.get();  // only read by pcre2_match
  Owned<pcre2_match_data> match(pcre2_match_data_create_from_pattern(code, nullptr));
  if (!match) return fail(Errc::out_of_memory, "out of memory for a regex match");
  int error = 0;
  auto found = walk_matches(text, [&](std::size_t from) -> std::optional<Span> {
    const auto run = [&](std::uint32_t options) {
      return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, options, match.get(),
                         limits);
    };
    int rc = run(PCRE2_NO_UTF_CHECK);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
      rc = run(PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);  // its stack is small; the heap is not
    if (rc == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (rc < 0) {
      error = rc;
      return std::nullopt;
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match.get());
    // \K within a lookahead can put the start past the end, and a lookbehind before the place searched from
    if (ends[0] > ends[1] || ends[0] < from) {
      error = PCRE2_ERROR_BADOFFSET;
      return std::nullopt;
    }
    return Span{ends[0], ends[1]};
  });
  if (error != 0)
    return fail(Errc::limit_exceeded,
                fmt::format("the regex {} gave up on the text: {}", in_quotes(source_), pcre2_message(error)));
  return found;
}

}  // namespace halyard::text

// Regular expressions of tokenizer.json: Oniguruma's syntax, matched by PCRE2 under limits.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/result.h"

namespace halyard::text {

/// A stretch of a text, in bytes.
struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// What Split and Replace search for: a regular expression, or a string as it is. Cheap to copy; safe to share.
class Pattern {
 public:
  /// Errors name the expression.
  static Result<Pattern> regex(std::string_view expression);
  static Pattern literal(std::string text);

  /// All matches in valid UTF-8, leftmost first, none overlapping. An empty match directly after another match does not
  /// count. A search that backtracks too long is an error.
  Result<std::vector<Span>> find_all(std::string_view text) const;

 private:
  struct Compiled;
  Result<std::vector<Span>> find_regex(std::string_view text) const;
  std::vector<Span> find_literal(std::string_view text) const;

  std::string source_;                        // for messages, or the literal itself
  std::shared_ptr<const Compiled> compiled_;  // null: a literal
};

}  // namespace halyard::text

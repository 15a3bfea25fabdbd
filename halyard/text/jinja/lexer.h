// Jinja's lexer as Hugging Face sets it up: trim_blocks, lstrip_blocks, no line statements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/text/jinja/bigint.h"

namespace halyard::jinja {

enum class TokenType {
  data,
  block_begin,
  block_end,
  variable_begin,
  variable_end,
  name,
  string,
  integer,
  real,
  op,
  end
};

struct Token {
  TokenType type = TokenType::end;
  int line = 1;
  std::string text;  ///< of data, names, operators; of a string what its escapes stand for
  std::optional<BigInt> integer;
  double real = 0;
};

/// Some hundred times what the longest known templates have. What is parsed of them stays below 64 MiB.
inline constexpr std::size_t max_tokens = std::size_t{1} << 16;

/// The whole template's tokens, ended by one of type `end`. Whitespace control has been applied, comments and raw blocks
/// have been resolved. Throws Failure; a template of more than max_tokens is one.
std::vector<Token> tokenize(std::string_view source);

}  // namespace halyard::jinja

// Tokens to trees: Jinja's grammar, nesting bounded.
#pragma once

#include <string_view>

#include "halyard/text/jinja/ast.h"

namespace halyard::jinja {

/// How deep statements, brackets and operators may nest, together.
inline constexpr int max_syntax_depth = 200;

/// Throws Failure with its line.
Template parse(std::string_view source);

}  // namespace halyard::jinja

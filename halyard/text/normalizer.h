// Normalisers of tokenizer.json: what is done to a text before it is cut up.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "halyard/base/json.h"
#include "halyard/text/regex.h"

namespace halyard::text {

/// Valid UTF-8 in and out. A result of more than `limit` bytes is an error.
using Normalizer = std::function<Result<std::string>(std::string text, std::size_t limit)>;

/// From the field `normalizer`; null makes one that changes nothing. Errors name the type or field that is wrong.
Result<Normalizer> make_normalizer(const Json&);

/// The bytes that a text of `size` bytes may grow to.
constexpr std::size_t growth_limit(std::size_t size) { return 16 * size + (std::size_t{1} << 20); }

/// A "pattern" field: {"String": …} or {"Regex": …}.
Result<Pattern> pattern_field(const Json& object);
/// Every match replaced by `content`.
Result<std::string> replace_all(const Pattern&, const std::string& text, const std::string& content, std::size_t limit);

}  // namespace halyard::text

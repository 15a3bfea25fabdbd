// Pre-tokenizers of tokenizer.json: how a text is cut into the pieces that the model sees one by one.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "halyard/base/json.h"

namespace halyard::text {

struct Piece {
  std::string text;    // valid UTF-8, not empty
  bool first = false;  // whether it begins where the whole text begins
};

/// Cuts and rewrites pieces. A result of more than `limit` bytes in all is an error.
using PreTokenizer = std::function<Result<std::vector<Piece>>(std::vector<Piece>, std::size_t limit)>;

/// From the field `pre_tokenizer`; null makes one that changes nothing. Errors name the type or field that is wrong.
Result<PreTokenizer> make_pre_tokenizer(const Json&);

}  // namespace halyard::text

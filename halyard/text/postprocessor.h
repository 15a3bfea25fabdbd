// Post-processors of tokenizer.json: the special tokens set around a text.
#pragma once

#include <cstdint>
#include <vector>

#include "halyard/base/json.h"

namespace halyard::text {

/// What a text's ids are set between. A text stands once, or not at all.
struct PostProcessor {
  std::vector<std::int32_t> before;
  std::vector<std::int32_t> after;
  bool keeps_text = true;
};

/// From the field `post_processor`, for a single text; null makes one that adds nothing.
Result<PostProcessor> make_post_processor(const Json&);

}  // namespace halyard::text

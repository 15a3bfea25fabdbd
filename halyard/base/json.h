// Reading JSON that nobody vouches for.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

#include "halyard/base/result.h"

namespace halyard {

using Json = nlohmann::json;                 ///< objects sorted by key: look-ups are O(log n)
using OrderedJson = nlohmann::ordered_json;  ///< objects in the order written; look-ups are linear: small inputs only

struct JsonLimits {
  int max_depth = 128;
  bool unique_keys = true;  ///< a key that stands twice in one object is an error (else the last one wins)
};

/// Parses one JSON value: RFC 8259, valid UTF-8, nothing after it. The error says where and what, not in which file:
/// the caller adds that.
Result<Json> parse_json(std::string_view text, JsonLimits = {});
Result<OrderedJson> parse_ordered_json(std::string_view text, JsonLimits = {});

}  // namespace halyard

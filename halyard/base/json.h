// Reading JSON that nobody vouches for.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "halyard/base/result.h"

namespace halyard {

using Json = nlohmann::json;                 ///< objects sorted by key: look-ups are O(log n)
using OrderedJson =
    nlohmann::ordered_json;  ///< objects in the order written, exact integers; look-ups are linear: small inputs only

struct JsonLimits {
  int max_depth = 128;
  bool unique_keys = true;  ///< a key that stands twice in one object is an error (else the last one wins)
  /// Values in the whole tree: a value takes up to 100 bytes, and as few as two of the text.
  std::size_t max_values = std::size_t{2} << 20;
};

/// Parses one JSON value: RFC 8259, valid UTF-8, nothing after it. O(n log n) in time whatever the text. The error says
/// where and what, not in which file: the caller adds that.
/// Integers beyond 64 bits become the nearest double; in an OrderedJson, which is what templates read, a binary value that
/// holds their digits.
Result<Json> parse_json(std::string_view text, JsonLimits = {});
Result<OrderedJson> parse_ordered_json(std::string_view text, JsonLimits = {});

/// Calls `member` with each key and value of one object, in the order written; only one value is in memory at a time. It is
/// for the caller to see that no key stands twice. `limits.max_values` is for each member.
using JsonMember = std::function<Result<void>(std::string_view key, Json value)>;
Result<void> read_json_members(std::string_view text, const JsonMember& member, JsonLimits limits = {});

}  // namespace halyard

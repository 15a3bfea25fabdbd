// The members of one long JSON object, value by value.
#pragma once

#include <functional>
#include <string_view>

#include "halyard/base/json.h"

namespace halyard {

/// Calls `member` with each key and value of one object, in the order written; only one value is in memory at a time. It is
/// for the caller to see that no key stands twice. `limits.max_values` is for each member.
using JsonMember = std::function<Result<void>(std::string_view key, Json value)>;
Result<void> read_json_members(std::string_view text, const JsonMember& member, JsonLimits limits = {});

}  // namespace halyard

// What filters and methods share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "halyard/text/jinja/interpreter.h"

namespace halyard::jinja {

/// str.split(separator, limit) and str.rsplit; a negative limit is none.
Grown<std::string_view> split_text(Budget&, std::string_view s, std::string_view separator, std::int64_t limit);
Grown<std::string_view> rsplit_text(Budget&, std::string_view s, std::string_view separator, std::int64_t limit);
/// str.count of a part that is not empty.
std::size_t count_text(Budget&, std::string_view s, std::string_view part);
/// str.replace; a negative limit is none.
std::string replace(Budget&, std::string_view s, std::string_view from, std::string_view to, std::int64_t limit);
/// s padded to `width` characters: at the left (side -1), in the middle (0), at the right (1).
std::string justify(Budget&, std::string_view s, std::int64_t width, std::string_view fill, int side);
/// dict.items(), keys() or values().
Value dict_view(Interpreter&, const Mapping&, Flavor);

}  // namespace halyard::jinja

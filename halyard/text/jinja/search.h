// Finding one text in another, in time that grows with the sum of their sizes whatever they hold.
#pragma once

#include <cstddef>
#include <string_view>

namespace halyard::jinja {

/// Where `needle` is first found in `s` from byte `at` on, or last found in it; npos where it is not.
std::size_t find_first(std::string_view s, std::string_view needle, std::size_t at = 0);
std::size_t find_last(std::string_view s, std::string_view needle);

}  // namespace halyard::jinja

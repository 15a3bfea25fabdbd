// Text from outside (names in files, arguments, bytes that are not UTF-8) as a message may show it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace halyard {

/// One line of valid UTF-8. Control characters, line separators and marks that turn the direction of text become \x1b,
/// \u0085 and the like, bytes that are not UTF-8 become \xff. Text of more than `max_bytes` is cut at a character and ends in
/// "…". Backslashes and quotes stay as they are: this is for people, not for reading back.
std::string escaped(std::string_view text, std::size_t max_bytes = std::string_view::npos);

/// The same, in double quotes and of a length that fits a message.
std::string in_quotes(std::string_view text, std::size_t max_bytes = 200);

}  // namespace halyard

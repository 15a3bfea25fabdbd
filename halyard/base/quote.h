// Text from outside (names in files, arguments, bytes that are not UTF-8) as a message may show it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace halyard {

/// One line of valid UTF-8. Control characters, line separators and marks that turn the direction of text become \x1b,
/// \u0085 and the like, bytes that are not UTF-8 become \xff. Backslashes and quotes stay as they are: this is for people,
/// not for reading back. Every Error's text goes through it, so a hostile name or file can neither start a line of its own
/// nor send bytes to a terminal; text that needs no escapes is handed back as it came, and costs no memory.
std::string printable(std::string text);

/// The same of text from a file, which may be long: more than `max_bytes` of it are cut at a character and end in "…".
std::string printable(std::string_view text, std::size_t max_bytes);

/// The same, in double quotes and of a length that fits a message.
std::string in_quotes(std::string_view text, std::size_t max_bytes = 200);

}  // namespace halyard

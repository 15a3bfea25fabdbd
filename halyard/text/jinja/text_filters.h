// The larger filters of text: one function each, for the table in filters.cc.
#pragma once

#include <string>
#include <string_view>

#include "halyard/text/jinja/builtins.h"

namespace halyard::jinja {

Value file_size_format(Call&);
Value pretty_print(Call&);
Value strip_tags(Call&);
Value urlize(Call&);
Value word_wrap(Call&);
Value xml_attributes(Call&);

/// The text with HTML's character references resolved: &lt; &#60; &copy; as Python's html.unescape.
std::string unescape_html(Budget&, std::string_view);
/// markupsafe's striptags: without tags and comments, spaces collapsed, references resolved.
std::string without_tags(Budget&, std::string_view);

}  // namespace halyard::jinja

// Python's two ways to format: "%s" % args and "{}".format(args).
#pragma once

#include <string>
#include <string_view>

#include "halyard/text/jinja/value.h"

namespace halyard::jinja {

/// format % args, where args is a tuple, a dict or one value. A Markup format escapes what it takes in.
std::string percent_format(Budget&, const Value& format, const Value& args);
/// str.format: {}, {0}, {name}, {0.name}, {0[key]}, !r, !s and format specifications of strings and numbers. A Markup
/// format escapes what it takes in.
std::string brace_format(Interpreter&, const Value& format, const Args& args);

}  // namespace halyard::jinja

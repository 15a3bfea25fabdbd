// The commands of the program, one a file: each function adds its command to the parser.
#pragma once

#include "halyard/cli/app.h"

namespace halyard::cli {

// void add_<command>(CLI::App& root, Context& context);

}  // namespace halyard::cli

// The commands of the program, one a file: each function adds its command to the parser.
#pragma once

#include "halyard/cli/app.h"

namespace halyard::cli {

void add_generate(CLI::App& root, Context& context);
void add_chat(CLI::App& root, Context& context);
void add_logits(CLI::App& root, Context& context);
void add_perplexity(CLI::App& root, Context& context);
void add_inspect(CLI::App& root, Context& context);
void add_bench(CLI::App& root, Context& context);
void add_tokenize(CLI::App& root, Context& context);
void add_render(CLI::App& root, Context& context);

}  // namespace halyard::cli

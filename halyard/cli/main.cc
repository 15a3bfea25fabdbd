// The halyard program: one line for each command.
#include "halyard/cli/app.h"
#include "halyard/cli/commands.h"

int main(int argc, char** argv) {
  using namespace halyard::cli;
  open_standard_streams();
  install_signal_handlers();
  CLI::App root("Transformer inference for model directories in MLX and Hugging Face layout.", "halyard");
  root.set_version_flag("--version", "halyard " HALYARD_VERSION);
  root.require_subcommand(1);
  set_help_manner(root);

  Context context;
  add_generate(root, context);
  add_chat(root, context);
  add_logits(root, context);
  add_perplexity(root, context);
  add_inspect(root, context);
  add_bench(root, context);
  add_tokenize(root, context);
  add_render(root, context);
  return run(root, context, argc, argv);
}

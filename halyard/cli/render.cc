// halyard render: the prompt that a chat template makes of a conversation.
#include <memory>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/base/json.h"
#include "halyard/cli/commands.h"
#include "halyard/cli/options.h"
#include "halyard/text/chat.h"

namespace halyard::cli {
namespace {

struct RenderFlags {
  ModelOptions model;
  std::string template_file;
  std::string input;
};

Result<Json> load_input(const std::string& path, Context& context) {
  const std::string text = HALYARD_TRY(path == "-" ? context.in.all() : read_file(path));
  Result<Json> input = parse_json(text, {.exact_integers = true});
  const std::string name = path == "-" ? "standard input" : path;
  if (!input) return fail(std::move(input).error(), name);
  if (!input->is_object()) return fail(Errc::invalid_argument, fmt::format("{}: expected a JSON object", name));
  return input;
}

Result<std::string> render_file(const std::string& path, const Json& input) {
  std::string source = HALYARD_TRY(read_file(path));
  const ChatTemplate chat = HALYARD_TRY(ChatTemplate::parse(std::move(source), path));
  return chat.render(HALYARD_TRY(chat_context(input)));
}

Result<std::string> render_model(const std::string& model, const Json& input) {
  const auto chat = HALYARD_TRY(load_chat_template(model, !input["tools"].is_null()));
  if (!chat) return fail(Errc::not_found, fmt::format("{} has no chat template", model));
  const Json tokens = HALYARD_TRY(load_special_tokens(model));
  const Json whole = HALYARD_TRY(with_special_tokens(input, tokens));
  return chat->render(HALYARD_TRY(chat_context(whole)));
}

Result<void> render(const RenderFlags& flags, Context& context) {
  const Json input = HALYARD_TRY(load_input(flags.input, context));
  if (!flags.template_file.empty()) return context.out.write(HALYARD_TRY(render_file(flags.template_file, input)));
  const std::string model = HALYARD_TRY(flags.model.path());
  return context.out.write(HALYARD_TRY(render_model(model, input)));
}

}  // namespace

void add_render(CLI::App& root, Context& context) {
  auto flags = std::make_shared<RenderFlags>();
  CLI::App& command = add_command(
      root, "render", "Print the prompt that a chat template makes of a conversation",
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' | halyard render --model M --input -\n"
      "  halyard render --template chat_template.jinja --input conversation.json\n"
      "\nThe input is a JSON object of \"messages\" and, as far as needed, \"tools\", \"documents\", "
      "\"add_generation_prompt\",\n"
      "\"enable_thinking\", \"kwargs\" (what the template takes besides), \"bos_token\" and \"eos_token\" (else the "
      "model's own).\n");
  flags->model.add(command, "Model folder: its chat template and special tokens");
  command.add_option("--template", flags->template_file, "A template in place of a model's")
      ->check(given())
      ->type_name("F.jinja")
      ->excludes("--model")
      ->group("Model");
  command.add_option("--input", flags->input, "The conversation; - is standard input")
      ->check(given())
      ->type_name("F.json")
      ->required()
      ->group("Input");
  on_run(command, context, [flags, &context] { return render(*flags, context); });
}

}  // namespace halyard::cli

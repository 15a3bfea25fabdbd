// halyard logits: the logits of every position of a text, for comparing with other programs.
#include <limits>

#include <fmt/format.h>

#include "halyard/cli/commands.h"
#include "halyard/cli/load.h"
#include "halyard/engine/sequence.h"
#include "halyard/io/safetensors.h"

namespace halyard::cli {
namespace {

struct LogitsFlags {
  ModelOptions model;
  DeviceFlags device;
  std::string prompt;
  std::vector<std::int64_t> tokens;
  std::int64_t chunk = 512;
  std::string output;
};

Result<void> run_logits(const LogitsFlags& f, Context& context) {
  if (f.prompt.empty() == f.tokens.empty()) return context.wrong_usage("give either -p TEXT or --tokens 1,2,3");
  const std::string model = HALYARD_TRY(f.model.path());
  FileWriter output = HALYARD_TRY(open_output(f.output, model));
  const LoadedModel loaded = HALYARD_TRY(load(f.model, f.device, /*chat=*/false));
  const std::size_t vocab = loaded.model.info().vocab_size;
  std::vector<std::int32_t> tokens(f.tokens.begin(), f.tokens.end());
  if (tokens.empty()) {
    const std::string text = HALYARD_TRY(text_or_input(context, f.prompt));
    tokens = HALYARD_TRY(loaded.text.encode(text, true, vocab));
  }
  engine::Sequence sequence =
      HALYARD_TRY(engine::Sequence::make(loaded.model, {.prefill_step = static_cast<std::size_t>(f.chunk)}));
  std::vector<float> logits;
  const auto keep = [&logits](std::size_t, std::span<float> rows) -> Result<void> {
    logits.insert(logits.end(), rows.begin(), rows.end());
    return check_interrupted();
  };
  HALYARD_TRY(sequence.read_all(tokens, keep));
  const TensorToWrite tensors[] = {
      {"logits", DType::f32, {tokens.size(), vocab}, std::as_bytes(std::span(logits))},
      {"tokens", DType::i32, {tokens.size()}, std::as_bytes(std::span(tokens))},
  };
  HALYARD_TRY(check_interrupted());
  return write_safetensors(output, tensors);
}

}  // namespace

void add_logits(CLI::App& root, Context& context) {
  const auto flags = std::make_shared<LogitsFlags>();
  CLI::App& command = add_command(root, "logits", "Write the logits of every position to a safetensors file",
                                  "  halyard logits --exact -p \"The old house\" -o logits.safetensors\n");
  flags->model.add(command);
  command.add_option("-p,--prompt", flags->prompt, "The text; - reads standard input")
      ->type_name("TEXT")
      ->group("Text");
  add_whole_list(command, "--tokens", flags->tokens, std::numeric_limits<std::int32_t>::max(),
                 "Token ids in its place: 1,2,3")
      ->type_name("IDS")
      ->group("Text");
  command.add_option("--chunk", flags->chunk, "Tokens read at a time")
      ->check(whole_in(1, 65536))
      ->type_name("N")
      ->group("Device");
  command.add_option("-o,--output", flags->output, "File to write: logits f32 [T, V], tokens i32 [T]")
      ->required()
      ->check(given())
      ->type_name("FILE")
      ->group("Output");
  flags->device.add(command);
  on_run(command, context, [flags, &context] { return run_logits(*flags, context); });
}

}  // namespace halyard::cli

// halyard chat: a conversation on the terminal.
#include <limits>

#include <fmt/format.h>
#include <unistd.h>

#include "halyard/cli/commands.h"
#include "halyard/cli/load.h"
#include "halyard/engine/generator.h"

namespace halyard::cli {
namespace {

struct ChatFlags {
  ModelOptions model;
  DeviceFlags device;
  SamplingFlags sampling;
  std::string system_prompt;
  std::int64_t max_tokens = 256;
  std::int64_t max_kv_size = 0;
};

constexpr const char* kHelp =
    "Type a message and press enter.\n"
    "  /r  forget the conversation\n"
    "  /h  this help\n"
    "  /q  leave (or Ctrl-D)\n";

/// A conversation and what the model has read of it.
class Chat {
 public:
  Chat(const LoadedModel& loaded, engine::Sequence sequence, const ChatFlags& flags, Context& context)
      : loaded_(loaded), sequence_(std::move(sequence)), context_(context) {
    options_.max_tokens = static_cast<std::size_t>(flags.max_tokens);
    options_.sampling = flags.sampling.options;
    options_.stop_ids = loaded.text->stop_ids();
    system_prompt_ = flags.system_prompt;
    forget();
  }

  void forget() {
    messages_.clear();
    if (!system_prompt_.empty()) messages_.push_back({"system", system_prompt_});
    read_.clear();
    sequence_.reset();
  }

  Result<void> answer(std::string message) {
    messages_.push_back({"user", std::move(message)});
    const std::vector<std::int32_t> prompt = HALYARD_TRY(prompt_ids());
    const std::size_t known = reuse(prompt);
    StreamDecoder decoder(loaded_.text->tokenizer(), /*skip_special_tokens=*/true);
    std::string text;
    std::vector<std::int32_t> tokens = prompt;
    const auto emit = [&](const std::string& piece) -> Result<void> {
      text += piece;
      HALYARD_TRY(context_.out.write(piece));
      return context_.out.flush();
    };
    engine::GenerateCallbacks callbacks;
    callbacks.on_token = [&](std::int32_t token) -> Result<bool> {
      tokens.push_back(token);
      HALYARD_TRY(emit(decoder.add(token)));
      return !interrupted();
    };
    callbacks.on_prompt = [](std::size_t, std::size_t) { return check_interrupted(); };
    const std::span<const std::int32_t> fresh = std::span(prompt).subspan(known);
    HALYARD_TRY(with_advice(engine::generate(sequence_, fresh, options_, callbacks, std::span(prompt).first(known))));
    HALYARD_TRY(emit(decoder.finish()));
    HALYARD_TRY(context_.out.write("\n"));
    HALYARD_TRY(context_.out.flush());
    messages_.push_back({"assistant", std::move(text)});
    read_ = std::move(tokens);
    return check_interrupted();
  }

 private:
  Result<std::vector<std::int32_t>> prompt_ids() const {
    const std::size_t rows = loaded_.model.info().vocab_size;
    if (loaded_.text->has_chat_template()) {
      const std::string text = HALYARD_TRY(loaded_.text->render(messages_));
      return loaded_.text->encode(text, false, rows);
    }
    std::string text;
    for (const engine::ChatMessage& m : messages_) text += m.content + "\n\n";
    return loaded_.text->encode(text, true, rows);
  }

  /// How many tokens of the prompt the model has read already; the sequence is cut to these. One at least is left to read.
  std::size_t reuse(const std::vector<std::int32_t>& prompt) {
    std::size_t same = 0;
    const std::size_t most =
        std::min({read_.size(), prompt.size() - std::min<std::size_t>(prompt.size(), 1), sequence_.position()});
    while (same < most && read_[same] == prompt[same]) ++same;
    if (!sequence_.truncate(same)) {
      sequence_.reset();
      return 0;
    }
    return same;
  }

  const LoadedModel& loaded_;
  engine::Sequence sequence_;
  Context& context_;
  engine::GenerateOptions options_;
  std::string system_prompt_;
  std::vector<engine::ChatMessage> messages_;
  std::vector<std::int32_t> read_;  // the tokens of the conversation so far
};

Result<void> run_chat(const ChatFlags& f, Context& context) {
  const LoadedModel loaded = HALYARD_TRY(load(f.model, f.device, Text::chat));
  engine::Sequence sequence =
      HALYARD_TRY(engine::Sequence::make(loaded.model, {.max_kv_size = window_size(f.max_kv_size)}));
  Chat chat(loaded, std::move(sequence), f, context);
  const bool person = ::isatty(STDIN_FILENO) == 1;
  if (person) print_message(kHelp);
  for (;;) {
    if (person) print_message(">> ");
    const std::optional<std::string> line = HALYARD_TRY(context.in.line());
    if (!line || *line == "/q") break;
    if (line->empty()) continue;
    if (*line == "/h") {
      print_message(kHelp);
    } else if (*line == "/r") {
      chat.forget();
    } else {
      HALYARD_TRY(chat.answer(*line));
    }
  }
  if (person) print_message("\n");
  return {};
}

}  // namespace

void add_chat(CLI::App& root, Context& context) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App& command =
      add_command(root, "chat", "Talk with a model", "  halyard chat --model Qwen3-0.6B-4bit --temp 0.7\n");
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  flags->model.add(command);
  command.add_option("--system-prompt", flags->system_prompt, "A first message that sets the tone")
      ->type_name("TEXT")
      ->group("Text");
  command.add_option("-m,--max-tokens,-n,--n-predict", flags->max_tokens, "Tokens of an answer at most")
      ->check(whole_in(1, most))
      ->type_name("N")
      ->group("Text");
  flags->sampling.add(command);
  flags->device.add(command);
  command
      .add_option("--max-kv-size", flags->max_kv_size, "Positions kept: the first 4, and of the rest the last; 0: all")
      ->check(whole_in(0, std::numeric_limits<std::int64_t>::max()))
      ->type_name("N")
      ->group("Device");
  on_run(command, context, [flags, &context] { return run_chat(*flags, context); });
}

}  // namespace halyard::cli

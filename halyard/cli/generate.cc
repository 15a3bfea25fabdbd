// halyard generate: continue a prompt.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>

#include <fmt/format.h>

#include "halyard/base/json.h"
#include "halyard/cli/commands.h"
#include "halyard/cli/load.h"
#include "halyard/engine/generator.h"

namespace halyard::cli {
namespace {

struct GenerateFlags {
  ModelOptions model;
  DeviceFlags device;
  SamplingFlags sampling;
  JsonFlag json;
  std::string prompt = "hello";  // mlx-lm's
  std::string system_prompt;
  std::string template_config;
  std::vector<std::string> extra_eos;
  std::int64_t max_tokens = 100;
  std::int64_t max_kv_size = 0;
  std::int64_t prefill_step = 0;
  bool ignore_chat_template = false;
  std::string verbose = "true";
};

/// The complaint about a value that is missing, so that the flag after it stands in its place.
std::string not_a_flag(const CLI::App& command, const std::string& value) {
  if (!value.starts_with('-') || !command.get_option_no_throw(value)) return {};
  return fmt::format("expected a token, got the flag {}", value);
}

void add_flags(CLI::App& command, GenerateFlags& f) {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  f.model.add(command);
  command
      .add_option("-p,--prompt", f.prompt,
                  "What to continue, \\n and \\t in it a newline and a tab; - reads standard input")
      ->type_name("TEXT")
      ->group("Text");
  command.add_option("--system-prompt", f.system_prompt, "A first message that sets the tone")
      ->type_name("TEXT")
      ->group("Text");
  command
      .add_option("-m,--max-tokens,-n,--n-predict", f.max_tokens,
                  "Tokens to write at most; -1: until the context is full")
      ->check(whole_in(-1, most))
      ->type_name("N")
      ->group("Text");
  command.add_flag("--ignore-chat-template", f.ignore_chat_template, "Give the model the prompt as it is")
      ->group("Text");
  command
      .add_option("--chat-template-config", f.template_config, "More variables for the chat template: a JSON object")
      ->type_name("JSON")
      ->group("Text");
  // Raw results: CLI11 would take brackets and commas of a token apart.
  const auto keep = [&f](const CLI::results_t& tokens) {
    f.extra_eos = tokens;
    return true;
  };
  constexpr int most_tokens = 1 << 16;
  command
      .add_option("--extra-eos-token", keep, "Tokens, or tokens' ids, that end the text as well; may be given again")
      ->expected(1, most_tokens)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check([&command](const std::string& token) { return not_a_flag(command, token); })
      ->type_name("TOKEN ...")
      ->group("Text");
  f.sampling.add(command);
  f.device.add(command);
  command.add_option("--max-kv-size", f.max_kv_size, "Positions kept: the first 4, and of the rest the last; 0: all")
      ->check(whole_in(0, std::numeric_limits<std::int64_t>::max()))
      ->type_name("N")
      ->group("Device");
  command
      .add_option("--prefill-step-size", f.prefill_step,
                  "Tokens of the prompt read at a time; 0: 512, or 2048 with --max-kv-size")
      ->check(whole_in(0, 65536))
      ->type_name("N")
      ->group("Device");
  f.json.add(command);
  command.add_option("--verbose", f.verbose, "Print token counts and speeds to standard error")
      ->check(CLI::IsMember({"true", "false"}, CLI::ignore_case))
      ->type_name("BOOL")
      ->group("Output");
}

/// The text given to the tokenizer, and whether special tokens belong around it.
struct Prompt {
  std::string text;
  bool add_special_tokens = true;
};

Result<Prompt> make_prompt(const GenerateFlags& f, const engine::TextModel& text, std::string user) {
  if (f.ignore_chat_template || !text.has_chat_template()) {
    if (!f.system_prompt.empty()) user = f.system_prompt + "\n\n" + user;
    return Prompt{std::move(user), true};
  }
  std::vector<engine::ChatMessage> messages;
  if (!f.system_prompt.empty()) messages.push_back({"system", f.system_prompt});
  messages.push_back({"user", std::move(user)});
  std::string_view kwargs = "{}";
  if (!f.template_config.empty()) {
    kwargs = f.template_config;
    const auto parsed = parse_json(kwargs, {.exact_integers = true});
    if (!parsed) return fail(parsed.error(), "--chat-template-config");
    if (!parsed->is_object()) return fail(Errc::invalid_argument, "--chat-template-config: expected a JSON object");
  }
  return Prompt{HALYARD_TRY(text.render(messages, kwargs)), false};
}

/// A number is an id, as in mlx-lm, even where a token is written so. One that no token has never comes up.
std::optional<std::int32_t> token_id(const Tokenizer& tokenizer, const std::string& token) {
  std::int32_t id = 0;
  const auto [stop, error] = std::from_chars(token.data(), token.data() + token.size(), id);
  if (!token.empty() && stop == token.data() + token.size()) return error == std::errc{} ? id : -1;
  return tokenizer.token_to_id(token);
}

Result<std::vector<std::int32_t>> stop_ids(const GenerateFlags& f, const engine::TextModel& text) {
  std::vector<std::int32_t> ids = text.stop_ids();
  for (const std::string& token : f.extra_eos) {
    const std::optional<std::int32_t> id = token_id(text.tokenizer(), token);
    if (!id)
      return fail(Errc::invalid_argument, fmt::format("--extra-eos-token: the tokenizer has no token \"{}\"", token));
    ids.push_back(*id);
  }
  return ids;
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

/// The prompt as mlx-lm takes it: \n and \t on the command line are a newline and a tab; what comes from standard input has
/// Python's universal newlines.
Result<std::string> read_prompt(std::string prompt, Context& context) {
  replace_all(prompt, "\\n", "\n");
  replace_all(prompt, "\\t", "\t");
  if (prompt != "-") return prompt;
  std::string text = HALYARD_TRY(context.in.all());
  replace_all(text, "\r\n", "\n");
  std::replace(text.begin(), text.end(), '\r', '\n');
  return text;
}

/// mlx-lm's three lines.
void print_stats(const engine::GenerateStats& s, const Device& device) {
  print_message(
      fmt::format("Prompt: {} tokens, {:.3f} tokens-per-sec\n", s.prompt_tokens, s.prompt_tokens_per_second()));
  print_message(fmt::format("Generation: {} tokens, {:.3f} tokens-per-sec\n", s.generated_tokens,
                            s.generation_tokens_per_second()));
  const std::string note = pin_note(device.residency());
  print_message(fmt::format("Peak memory: {:.3f} GB (resident{}{})\n", static_cast<double>(peak_resident_bytes()) / 1e9,
                            note.empty() ? "" : "; ", note));
}

std::string stats_json(const engine::GenerateStats& s, const std::string& prompt, const std::string& text) {
  const Json json = Json::object({{"prompt", prompt},
                                  {"text", text},
                                  {"finish_reason", to_string(s.finish)},
                                  {"prompt_tokens", s.prompt_tokens},
                                  {"prompt_tps", s.prompt_tokens_per_second()},
                                  {"generation_tokens", s.generated_tokens},
                                  {"generation_tps", s.generation_tokens_per_second()},
                                  {"peak_resident_bytes", peak_resident_bytes()}});
  return json.dump() + "\n";
}

Result<void> run_generate(const GenerateFlags& f, Context& context) {
  const LoadedModel loaded = HALYARD_TRY(load(f.model, f.device, f.ignore_chat_template ? Text::tokens : Text::chat));
  const std::string given = HALYARD_TRY(read_prompt(f.prompt, context));
  const Prompt prompt = HALYARD_TRY(make_prompt(f, *loaded.text, given));
  const std::size_t rows = loaded.model.info().vocab_size;
  const auto ids = HALYARD_TRY(loaded.text->encode(prompt.text, prompt.add_special_tokens, rows));

  engine::GenerateOptions options;
  options.max_tokens = f.max_tokens < 0 ? SIZE_MAX : static_cast<std::size_t>(f.max_tokens);
  options.stop_ids = HALYARD_TRY(stop_ids(f, *loaded.text));
  options.sampling = f.sampling.options;
  options.sampling.xtc_special_tokens = HALYARD_TRY(loaded.text->encode("\n", false, rows));
  for (const std::int32_t id : options.stop_ids)  // an id without logits never comes up
    if (id >= 0 && static_cast<std::size_t>(id) < rows) options.sampling.xtc_special_tokens.push_back(id);
  engine::Sequence sequence =
      HALYARD_TRY(engine::Sequence::make(loaded.model, {.max_kv_size = window_size(f.max_kv_size),
                                                        .prefill_step = static_cast<std::size_t>(f.prefill_step)}));

  StreamDecoder decoder(loaded.text->tokenizer(), /*skip_special_tokens=*/false);
  std::string text;  // for --json; else it goes out as it comes
  const auto emit = [&](const std::string& piece) -> Result<void> {
    if (piece.empty()) return {};
    if (f.json.json) {
      text += piece;
      return {};
    }
    HALYARD_TRY(context.out.write(piece));
    return context.out.flush();
  };
  engine::GenerateCallbacks callbacks;
  callbacks.on_token = [&](std::int32_t token) -> Result<bool> {
    HALYARD_TRY(emit(decoder.add(token)));
    if (decoder.error()) return fail(Error(*decoder.error()));
    return !interrupted();
  };
  Progress bar("Reading the prompt", ids.size());
  callbacks.on_prompt = [&](std::size_t done, std::size_t) {
    bar.update(done);
    return check_interrupted();
  };
  const engine::GenerateStats stats = HALYARD_TRY(with_advice(engine::generate(sequence, ids, options, callbacks)));
  bar.finish();
  HALYARD_TRY(emit(decoder.finish()));
  if (f.json.json) return context.out.write(stats_json(stats, given, text));
  HALYARD_TRY(context.out.write("\n"));
  HALYARD_TRY(context.out.flush());
  if (f.verbose == "true") print_stats(stats, loaded.model.device());
  return {};
}

}  // namespace

void add_generate(CLI::App& root, Context& context) {
  const auto flags = std::make_shared<GenerateFlags>();
  CLI::App& command = add_command(root, "generate", "Continue a prompt",
                                  "  halyard generate -p \"The old house stood\" --temp 0.8\n"
                                  "  halyard generate --model Qwen3-0.6B-4bit -p - --json < question.txt\n");
  add_flags(command, *flags);
  on_run(command, context, [flags, &context] { return run_generate(*flags, context); });
}

}  // namespace halyard::cli

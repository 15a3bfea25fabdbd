// halyard tokenize: text to token ids, and back.
#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "halyard/base/json.h"
#include "halyard/cli/commands.h"
#include "halyard/cli/options.h"
#include "halyard/text/json_fields.h"
#include "halyard/text/tokenizer.h"

namespace halyard::cli {
namespace {

struct TokenizeFlags {
  ModelOptions model;
  bool no_special_tokens = false;
  bool json_lines = false;
  bool decode = false;
  bool skip_special_tokens = false;
};

/// A tokenizer.json, or the one in a model folder.
Result<Tokenizer> load_tokenizer(const std::string& model) {
  if (model.ends_with(".gguf"))
    return fail(Errc::unsupported, fmt::format("{}: the tokenizer of a GGUF file is not supported yet", model));
  std::error_code error;
  const bool folder = std::filesystem::is_directory(model, error);
  return folder ? Tokenizer::load_folder(model) : Tokenizer::load(model);
}

Result<std::vector<std::int32_t>> ids_of(const Json& array) {
  if (!array.is_array()) return fail(Errc::invalid_argument, "expected a JSON array of token ids");
  std::vector<std::int32_t> ids;
  for (const Json& element : array) {
    const auto id = text::token_id(element);
    if (!id) return fail(Errc::invalid_argument, fmt::format("expected a token id, got {}", element.dump()));
    ids.push_back(*id);
  }
  return ids;
}

Result<std::string> encode(const Tokenizer& tokenizer, const TokenizeFlags& flags, std::string_view text) {
  return fmt::format("[{}]", fmt::join(HALYARD_TRY(tokenizer.encode(text, !flags.no_special_tokens)), ","));
}

Result<std::string> decode(const Tokenizer& tokenizer, const TokenizeFlags& flags, std::string_view json) {
  const Json array = HALYARD_TRY(parse_json(json, {.max_values = std::size_t{64} << 20}));  // numbers: 16 bytes each
  const std::vector<std::int32_t> ids = HALYARD_TRY(ids_of(array));
  for (const std::int32_t id : ids)
    if (!tokenizer.id_to_token(id))
      return fail(Errc::invalid_argument,
                  fmt::format("no token has the id {}; the highest is {}", id, tokenizer.vocab_size() - 1));
  return tokenizer.decode(ids, flags.skip_special_tokens);
}

/// One line of --json-lines: a JSON value in, a JSON value out.
Result<std::string> convert_line(const Tokenizer& tokenizer, const TokenizeFlags& flags, const std::string& line) {
  if (flags.decode) return Json(HALYARD_TRY(decode(tokenizer, flags, line))).dump();
  const Json text = HALYARD_TRY(parse_json(line));
  if (!text.is_string()) return fail(Errc::invalid_argument, "expected a JSON string");
  return encode(tokenizer, flags, text.text());
}

Result<void> tokenize_lines(const Tokenizer& tokenizer, const TokenizeFlags& flags, Context& context) {
  for (std::size_t number = 1; const auto line = HALYARD_TRY(context.in.line()); ++number) {
    HALYARD_TRY(check_interrupted());
    Result<std::string> converted = convert_line(tokenizer, flags, *line);
    if (!converted) return fail(std::move(converted).error(), fmt::format("line {}", number));
    HALYARD_TRY(context.out.write(*converted + "\n"));
    if (!context.in.has_line()) HALYARD_TRY(context.out.flush());  // whoever asks line by line gets its answer
  }
  return {};
}

Result<void> tokenize(const TokenizeFlags& flags, Context& context) {
  const std::string model = HALYARD_TRY(flags.model.path());
  const Tokenizer tokenizer = HALYARD_TRY(load_tokenizer(model));
  if (flags.json_lines) return tokenize_lines(tokenizer, flags, context);
  const std::string input = HALYARD_TRY(context.in.all());
  if (flags.decode) return context.out.write(HALYARD_TRY(decode(tokenizer, flags, input)));
  return context.out.write(HALYARD_TRY(encode(tokenizer, flags, input)) + "\n");
}

}  // namespace

void add_tokenize(CLI::App& root, Context& context) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App& command =
      add_command(root, "tokenize", "Turn text on standard input into token ids, or ids into text",
                  "  printf 'Call me Ishmael.' | halyard tokenize --model M\n"
                  "  echo '[785, 4062, 13876]' | halyard tokenize --model M --decode\n"
                  "  halyard tokenize --model path/to/tokenizer.json --json-lines < texts.jsonl > ids.jsonl\n");
  flags->model.add(command, "Model folder, of which only the tokenizer is read, or a tokenizer.json");
  command.add_flag("--json-lines", flags->json_lines, "One JSON value a line, one result a line")
      ->group("Input and output");
  auto* decode_flag =
      command.add_flag("--decode", flags->decode, "From a JSON array of ids to text")->group("Input and output");
  command
      .add_flag("--no-special-tokens", flags->no_special_tokens, "Only the text's own tokens, without BOS and the like")
      ->excludes(decode_flag)
      ->group("Special tokens");
  command.add_flag("--skip-special-tokens", flags->skip_special_tokens, "Leave special tokens out of the text")
      ->needs(decode_flag)
      ->group("Special tokens");
  on_run(command, context, [flags, &context] { return tokenize(*flags, context); });
}

}  // namespace halyard::cli

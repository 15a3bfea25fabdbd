// halyard logits: the logits of every position of a text, for comparing with other programs.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "halyard/cli/commands.h"
#include "halyard/cli/load.h"
#include "halyard/engine/batch.h"
#include "halyard/engine/sequence.h"
#include "halyard/io/config.h"
#include "halyard/io/safetensors.h"
#include "halyard/ops/attention/attention.h"
#include "halyard/text/json_fields.h"

namespace halyard::cli {
namespace {

struct LogitsFlags {
  ModelOptions model;
  DeviceFlags device;
  std::string prompt;
  std::vector<std::int64_t> tokens;
  std::string lines;
  std::int64_t chunk = 512;
  std::string output;
};

using Tokens = std::vector<std::int32_t>;

/// The ids of a file with an array of them a line.
Result<std::vector<Tokens>> read_lines(const std::string& path) {
  const std::string text = std::string(HALYARD_TRY(read_file(path)));
  std::vector<Tokens> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string where = fmt::format("{} line {}", path, lines.size() + 1);
    auto json = parse_json(std::string_view(text).substr(begin, end - begin));
    if (!json) return fail(std::move(json).error(), where);
    Tokens& ids = lines.emplace_back();
    for (const Json& element : json->is_array() ? *json : Json::array({*json})) {
      const auto id = text::token_id(element);
      if (!id)
        return fail(Errc::bad_file,
                    fmt::format("{}: expected an array of token ids, got {}", where, describe(element)));
      ids.push_back(*id);
    }
    if (ids.empty()) return fail(Errc::bad_file, fmt::format("{}: there are no tokens to read", where));
    begin = end + 1;
  }
  if (lines.empty()) return fail(Errc::bad_file, fmt::format("{}: there are no lines", path));
  return lines;
}

/// The logits [T, V] of each line, read beside each other, at most `chunk` tokens a step.
Result<std::vector<std::vector<float>>> read_together(const models::Model& model, const std::vector<Tokens>& lines,
                                                      std::size_t chunk) {
  constexpr std::size_t most = std::size_t{1} << 24;  // logits of one step
  const std::size_t vocab = model.info().vocab_size;
  std::size_t pages = 0, longest = 0;
  for (const Tokens& l : lines) pages += engine::pages_for(l.size()), longest = std::max(longest, l.size());
  if (longest > model.info().max_positions) {
    return fail(Errc::limit_exceeded,
                fmt::format("the text is {} tokens long, the model's context {}", longest, model.info().max_positions));
  }
  const std::size_t rows = std::clamp<std::size_t>(most / vocab, 1, chunk);
  engine::Batch batch = HALYARD_TRY(engine::Batch::make(
      model, {.positions = pages * ops::kPageUnit, .context = longest, .max_rows = rows, .sequences = lines.size()}));
  std::vector<engine::Batch::Id> ids;
  for (std::size_t i = 0; i < lines.size(); ++i) ids.push_back(HALYARD_TRY(batch.open()));
  std::vector<std::vector<float>> logits(lines.size());
  for (;;) {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (batch.position(ids[i]) < lines[i].size()) open.push_back(i);
    if (open.empty()) return logits;
    std::vector<engine::Batch::Part> parts;
    for (std::size_t i = 0, left = rows; i < open.size() && left > 0; ++i) {
      const std::size_t l = open[i], share = (left + open.size() - i - 1) / (open.size() - i);
      const std::size_t at = batch.position(ids[l]), n = std::min(share, lines[l].size() - at);
      parts.push_back({ids[l], std::span(lines[l]).subspan(at, n), engine::Batch::Want::all});
      left -= n;
    }
    const auto got = HALYARD_TRY(batch.step(parts));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!got[i]) return fail(got[i].error(), fmt::format("line {}", open[i] + 1));
      logits[open[i]].insert(logits[open[i]].end(), got[i]->begin(), got[i]->end());
    }
    HALYARD_TRY(check_interrupted());
  }
}

Result<void> run_lines(const LogitsFlags& f, FileWriter& output) {
  const std::vector<Tokens> lines = HALYARD_TRY(read_lines(f.lines));
  const LoadedModel loaded = HALYARD_TRY(load(f.model, f.device, Text::none));
  const auto logits = HALYARD_TRY(read_together(loaded.model, lines, static_cast<std::size_t>(f.chunk)));
  std::vector<TensorToWrite> tensors;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    tensors.push_back({fmt::format("logits_{}", i),
                       DType::f32,
                       {lines[i].size(), loaded.model.info().vocab_size},
                       std::as_bytes(std::span(logits[i]))});
    tensors.push_back({fmt::format("tokens_{}", i), DType::i32, {lines[i].size()}, std::as_bytes(std::span(lines[i]))});
  }
  return write_safetensors(output, tensors);
}

Result<void> run_logits(const LogitsFlags& f, Context& context) {
  if (!f.prompt.empty() + !f.tokens.empty() + !f.lines.empty() != 1)
    return context.wrong_usage("give either -p TEXT, --tokens 1,2,3 or --tokens-lines FILE");
  const std::string model = HALYARD_TRY(f.model.path());
  FileWriter output = HALYARD_TRY(open_output(f.output, model));
  if (!f.lines.empty()) return run_lines(f, output);
  const LoadedModel loaded = HALYARD_TRY(load(f.model, f.device, f.tokens.empty() ? Text::tokens : Text::none));
  const std::size_t vocab = loaded.model.info().vocab_size;
  std::vector<std::int32_t> tokens(f.tokens.begin(), f.tokens.end());
  if (tokens.empty()) {
    const std::string text = HALYARD_TRY(text_or_input(context, f.prompt));
    tokens = HALYARD_TRY(loaded.text->encode(text, true, vocab));
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
  command
      .add_option("--tokens-lines", flags->lines, "Or many texts, read together: a file with an array of ids a line")
      ->check(given())
      ->type_name("FILE")
      ->group("Text");
  command.add_option("--chunk", flags->chunk, "Tokens read at a time")
      ->check(whole_in(1, 65536))
      ->type_name("N")
      ->group("Device");
  command
      .add_option("-o,--output", flags->output,
                  "File to write: logits f32 [T, V], tokens i32 [T]; of many texts logits_0, tokens_0, …")
      ->required()
      ->check(given())
      ->type_name("FILE")
      ->group("Output");
  flags->device.add(command);
  on_run(command, context, [flags, &context] { return run_logits(*flags, context); });
}

}  // namespace halyard::cli

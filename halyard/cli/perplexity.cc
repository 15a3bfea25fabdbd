// halyard perplexity: how well a model predicts a text.
#include <chrono>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/base/json.h"
#include "halyard/cli/commands.h"
#include "halyard/cli/load.h"
#include "halyard/engine/perplexity.h"

namespace halyard::cli {
namespace {

struct PerplexityFlags {
  ModelOptions model;
  DeviceFlags device;
  JsonFlag json;
  std::string file;
  std::int64_t ctx = 512;
};

Result<void> run_perplexity(const PerplexityFlags& f, Context& context) {
  const LoadedModel loaded = HALYARD_TRY(load(f.model, f.device, Text::tokens));
  const std::string text =
      f.file == "-" ? HALYARD_TRY(context.in.all()) : HALYARD_TRY(read_file(f.file, std::uint64_t{1} << 30));
  const auto tokens = HALYARD_TRY(loaded.text->encode(text, true, loaded.model.info().vocab_size));
  engine::Sequence sequence = HALYARD_TRY(engine::Sequence::make(loaded.model, {}));
  Progress bar("Reading", tokens.size() / static_cast<std::size_t>(f.ctx));
  const auto progress = [&bar](std::size_t done, std::size_t) {
    bar.update(done);
    return check_interrupted();
  };
  const auto start = std::chrono::steady_clock::now();
  const engine::Perplexity p =
      HALYARD_TRY(engine::perplexity(sequence, tokens, static_cast<std::size_t>(f.ctx), progress));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  bar.finish();
  print_message(fmt::format("{} tokens in {} windows of {}, {:.1f} tokens-per-sec\n", p.tokens, p.windows, f.ctx,
                            static_cast<double>(p.windows * static_cast<std::size_t>(f.ctx)) / seconds));
  if (!f.json.json) return context.out.write(fmt::format("perplexity {:.4f}, mean nll {:.6f}\n", p.ppl, p.mean_nll));
  const Json json =
      Json::object({{"tokens", p.tokens}, {"windows", p.windows}, {"mean_nll", p.mean_nll}, {"ppl", p.ppl}});
  return context.out.write(json.dump() + "\n");
}

}  // namespace

void add_perplexity(CLI::App& root, Context& context) {
  const auto flags = std::make_shared<PerplexityFlags>();
  CLI::App& command = add_command(root, "perplexity", "Measure how well a model predicts a text",
                                  "  halyard perplexity --file book.txt --json\n");
  flags->model.add(command);
  command.add_option("-f,--file", flags->file, "The text; - reads standard input")
      ->required()
      ->check(given())
      ->type_name("FILE")
      ->group("Text");
  command.add_option("-c,--ctx", flags->ctx, "Tokens of a window; the last partial window is left out")
      ->check(whole_in(2, 1 << 30))
      ->type_name("N")
      ->group("Text");
  flags->device.add(command);
  flags->json.add(command);
  on_run(command, context, [flags, &context] { return run_perplexity(*flags, context); });
}

}  // namespace halyard::cli

// halyard bench: how fast a model runs, and how close to what the machine can do.
#include <algorithm>
#include <limits>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "halyard/cli/bench_report.h"
#include "halyard/cli/commands.h"
#include "halyard/cli/load.h"
#include "halyard/engine/bench.h"
#include "halyard/io/config.h"
#include "halyard/models/synthetic.h"
#include "halyard/ops/attention/attention.h"

namespace halyard::cli {
namespace {

struct BenchFlags {
  ModelOptions model;
  DeviceFlags device;
  JsonFlag json;
  bool markdown = false;
  std::string plot;
  std::string trace;
  std::string synthetic;
  std::vector<std::int64_t> n_prompt = {512}, n_gen = {128}, depth = {0}, parallel = {1};
  std::int64_t repetitions = 5;
  std::int64_t prefill_step = 512;
};

struct Subject {
  models::Model model;
  std::string name, format;  // "llama-3.2-1b", "q4"
};

ops::Precision precision(const BenchFlags& f) { return f.device.exact ? ops::Precision::exact : ops::Precision::fast; }

Result<Subject> synthetic_subject(const BenchFlags& f, Context& context) {
  const std::size_t colon = f.synthetic.find(':');
  if (colon == std::string::npos) return context.wrong_usage("--synthetic: expected SHAPE:QUANT, as llama-3.2-1b:q4");
  const std::string shape = f.synthetic.substr(0, colon), quant = f.synthetic.substr(colon + 1);
  const Json config = HALYARD_TRY(models::synthetic_config(shape));
  models::SyntheticWeights weights(HALYARD_TRY(models::synthetic_format(quant)));
  Device device = HALYARD_TRY(open_device(f.device));
  models::Model model = HALYARD_TRY(
      models::Model::load(std::move(device), ConfigView(config, "synthetic config"), weights, precision(f)));
  return Subject{std::move(model), shape, quant};
}

Result<Subject> model_subject(const BenchFlags& f) {
  LoadedModel loaded = HALYARD_TRY(load(f.model, f.device, Text::none));
  std::string format = weight_format(loaded.dir);
  std::string type = loaded.model.info().model_type;
  return Subject{std::move(loaded.model), std::move(type), std::move(format)};
}

/// pp of each length and tg of each length, at each depth, for each number of sequences.
std::vector<engine::BenchTest> tests(const BenchFlags& f) {
  std::vector<engine::BenchTest> all;
  const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  for (const std::int64_t np : f.parallel) {
    for (const std::int64_t d : f.depth) {
      const engine::BenchTest test{.depth = size(d), .repetitions = size(f.repetitions), .parallel = size(np)};
      const auto add = [&](std::size_t prompt, std::size_t gen) {
        if (prompt + gen == 0) return;
        all.push_back(test);
        all.back().n_prompt = prompt;
        all.back().n_gen = gen;
      };
      for (const std::int64_t p : f.n_prompt) add(size(p), 0);
      for (const std::int64_t n : f.n_gen) add(0, size(n));
    }
  }
  return all;
}

/// One sequence runs as generate runs it, several as an engine does.
Result<engine::BenchResult> run_test(const engine::BenchTest& t, std::optional<engine::Sequence>& one,
                                     const models::Model& model, std::size_t prefill_step,
                                     const std::function<Result<void>()>& between) {
  if (t.parallel == 1) {
    if (!one) one = HALYARD_TRY(engine::Sequence::make(model, {.prefill_step = prefill_step}));
    return engine::run_bench(*one, t, between);
  }
  // A page more for each: where a text that was cut goes on, its last page is a copy.
  const std::size_t positions = t.parallel * (engine::pages_for(t.depth + t.n_prompt + t.n_gen) + 1) * ops::kPageUnit;
  engine::Batch batch = HALYARD_TRY(engine::Batch::make(
      model, {.positions = positions, .max_rows = std::max(prefill_step, t.parallel), .sequences = t.parallel}));
  return engine::run_bench(batch, t, between);
}

Result<void> run_bench(const BenchFlags& f, Context& context) {
  if (!f.synthetic.empty() && !f.model.model.empty()) return context.wrong_usage("give either --model or --synthetic");
  for (const std::int64_t np : f.parallel)
    if (np == 0 || np > 4096)
      return context.wrong_usage(fmt::format("--n-parallel: expected numbers from 1 to 4096, got {}", np));
  if (!f.plot.empty() && f.plot == f.trace) return context.wrong_usage("--plot and --trace name the same file");
  const std::string files = f.synthetic.empty() ? HALYARD_TRY(f.model.path()) : std::string();
  std::optional<FileWriter> plot, trace;
  if (!f.plot.empty()) plot.emplace(HALYARD_TRY(open_output(f.plot, files)));
  if (!f.trace.empty()) trace.emplace(HALYARD_TRY(open_output(f.trace, files)));
  const Subject subject = HALYARD_TRY(f.synthetic.empty() ? model_subject(f) : synthetic_subject(f, context));
  const models::Model& model = subject.model;
  const std::vector<engine::BenchTest> all = tests(f);
  std::size_t longest = 1;
  for (const engine::BenchTest& t : all) longest = std::max(longest, t.depth + t.n_prompt + t.n_gen);
  if (longest > model.info().max_positions) {
    return fail(Errc::invalid_argument, fmt::format("a test of {} tokens does not fit the model's context of {}",
                                                    longest, model.info().max_positions));
  }
  const auto limits = [&] { return measure_cpu_limits(model.device().capabilities().threads, best_isa()); };
  BenchReport report(model, subject.name, subject.format, static_cast<std::size_t>(f.prefill_step),
                     HALYARD_TRY(limits()));
  std::optional<engine::Sequence> one;
  for (const engine::BenchTest& t : all) {
    std::size_t runs = 0;
    Device device = model.device();
    Profile before;
    engine::BenchResult result = HALYARD_TRY(run_test(t, one, model, static_cast<std::size_t>(f.prefill_step), [&] {
      if (runs++ == 1) {  // the first run warms up
        before = device.profile();
        device.reset_stats();
      }
      return check_interrupted();
    }));
    report.add(std::move(result), {device.stats(), since(before, device.profile())});
  }
  report.raise_limits(HALYARD_TRY(limits()));  // a machine's limits drift with its neighbours: the greater ones hold
  if (plot) {
    HALYARD_TRY(plot->write(report.svg()));
    HALYARD_TRY(plot->commit());
  }
  if (trace) HALYARD_TRY(model.device().write_trace(*trace));
  if (const std::string note = pin_note(model.device().residency()); !note.empty())
    print_message(fmt::format("{}\n", note));
  return context.out.write(f.json.json ? report.json() : report.markdown());
}

}  // namespace

void add_bench(CLI::App& root, Context& context) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App& command = add_command(root, "bench", "Measure speed, and how close it is to the machine's limits",
                                  "  halyard bench --synthetic llama-3.2-1b:q4\n"
                                  "  halyard bench --model Qwen3-0.6B-4bit -p 512,2048 -n 128 -d 0,4096 --json\n");
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  flags->model.add(command);
  command
      .add_option("--synthetic", flags->synthetic,
                  fmt::format("Random weights in their place: a shape ({}) and a format "
                              "(q4, q8, bf16, f16, f32)",
                              fmt::join(models::synthetic_shapes(), ", ")))
      ->check(given())
      ->type_name("SHAPE:QUANT")
      ->group("Model");
  const auto lengths = [&](const char* names, std::vector<std::int64_t>& values, const char* what) {
    add_whole_list(command, names, values, most, what)->type_name("N,…")->group("Tests");
  };
  lengths("-p,--n-prompt", flags->n_prompt, "Tokens of the prompts read; 0: none");
  lengths("-n,--n-gen", flags->n_gen, "Tokens written one by one; 0: none");
  lengths("-d,--n-depth", flags->depth, "Tokens read before, not timed");
  lengths("--n-parallel", flags->parallel, "Sequences at once, also -np; t/s are those of all together");
  command.add_option("-r,--repetitions", flags->repetitions, "Times each test is run")
      ->check(whole_in(1, 10000))
      ->type_name("N")
      ->group("Tests");
  command.add_option("--prefill-step-size", flags->prefill_step, "Tokens of the prompt read at a time")
      ->check(whole_in(1, 65536))
      ->type_name("N")
      ->group("Device");
  flags->device.add(command);
  flags->json.add(command, "Print llama-bench's JSON objects, in an array");
  command.add_flag("--md", flags->markdown, "Print a Markdown table; the default")->excludes("--json")->group("Output");
  CLI::Option* profile =
      command.add_flag("--profile", flags->device.profile, "Add a table of where the time went, kernel by kernel")
          ->group("Output");
  command.add_option("--trace", flags->trace, "With --profile: write what ran when, as JSON for Perfetto")
      ->check(given())
      ->type_name("FILE")
      ->needs(profile)
      ->group("Output");
  command.add_option("--plot", flags->plot, "Draw the results into an SVG file")
      ->check(given())
      ->type_name("FILE")
      ->group("Output");
  on_run(command, context, [flags, &context] { return run_bench(*flags, context); });
}

}  // namespace halyard::cli

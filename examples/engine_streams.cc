// Continues several prompts at once: one engine, whose steps read and write the tokens of all, and a stream for each.
//   engine_streams MODEL_FOLDER "It was a" "The sea"
#include <iostream>
#include <string>
#include <vector>

#include <halyard/engine/engine.h>
#include <halyard/engine/text_model.h>

using namespace halyard;

Result<void> continue_all(const std::string& folder, const std::vector<std::string>& prompts) {
  const ModelDir dir = HALYARD_TRY(ModelDir::open(folder));
  const engine::TextModel text = HALYARD_TRY(engine::TextModel::load(dir, /*chat=*/false));
  Device device = HALYARD_TRY(Device::open("cpu"));
  models::Model model = HALYARD_TRY(models::Model::load(device, dir, ops::Precision::fast));
  engine::Engine engine = HALYARD_TRY(engine::Engine::make(model));

  std::vector<engine::Stream> streams;
  for (const std::string& prompt : prompts) {
    engine::Request request;
    request.prompt = HALYARD_TRY(text.encode(prompt, true, model.info().vocab_size));
    request.options.max_tokens = 24;
    request.options.stop_ids = text.stop_ids();
    streams.push_back(HALYARD_TRY(engine.submit(std::move(request))));  // from now on it runs beside the others
  }

  for (std::size_t i = 0; i < streams.size(); ++i) {
    std::vector<std::int32_t> tokens;
    engine::Usage usage;
    while (const auto event = streams[i].next()) {  // waits for the next token, or the end
      if (event->error) return fail(*event->error);
      if (event->token) tokens.push_back(*event->token);
      usage = event->usage;
    }
    std::cout << prompts[i] << HALYARD_TRY(text.tokenizer().decode(tokens, /*skip_special_tokens=*/true)) << "\n  ("
              << usage.prompt << " tokens read, " << usage.completion << " written)\n";
  }
  return {};
}

int main(int argc, char** argv) {
  if (argc < 3) return std::cerr << "usage: engine_streams MODEL_FOLDER PROMPT…\n", 2;
  const Result<void> outcome = continue_all(argv[1], {argv + 2, argv + argc});
  if (!outcome) std::cerr << "engine_streams: " << outcome.error().str() << '\n';
  return outcome ? 0 : 1;
}

#include "halyard/engine/generator.h"

#include <algorithm>
#include <chrono>

#include "halyard/base/guarded.h"

namespace halyard::engine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

bool is_full(const KvCache& cache) { return !cache.rotating() && cache.position() >= cache.limit(); }

}  // namespace

std::string_view to_string(FinishReason r) {
  switch (r) {
    case FinishReason::length: return "length";
    case FinishReason::stop: return "stop";
    case FinishReason::context: return "context";
    case FinishReason::cancelled: return "cancelled";
  }
  return "unknown";
}

Result<GenerateStats> generate(Sequence& sequence, std::span<const std::int32_t> prompt, const GenerateOptions& options,
                               const GenerateCallbacks& callbacks, std::span<const std::int32_t> history) {
  return guarded([&]() -> Result<GenerateStats> {
    Sampler sampler = HALYARD_TRY(Sampler::make(options.sampling, sequence.model().info().vocab_size));
    std::vector<std::int32_t> tokens(history.begin(), history.end());
    tokens.insert(tokens.end(), prompt.begin(), prompt.end());

    GenerateStats stats;
    stats.prompt_tokens = prompt.size();
    Clock::time_point start = Clock::now();
    std::span<float> logits = HALYARD_TRY(sequence.read(prompt, callbacks.on_prompt));
    const auto finish = [&](FinishReason why) {
      (stats.generated_tokens > 0 ? stats.generation_seconds : stats.prompt_seconds) = seconds_since(start);
      stats.finish = why;
      return stats;
    };
    if (options.max_tokens == 0) return finish(FinishReason::length);

    for (;;) {
      const std::int32_t token = HALYARD_TRY(sampler.sample(logits, tokens));
      if (stats.generated_tokens++ == 0) {
        stats.prompt_seconds = seconds_since(start);
        start = Clock::now();
      }
      if (std::find(options.stop_ids.begin(), options.stop_ids.end(), token) != options.stop_ids.end()) {
        return finish(FinishReason::stop);
      }
      tokens.push_back(token);
      if (!HALYARD_TRY(callbacks.on_token(token))) return finish(FinishReason::cancelled);
      if (stats.generated_tokens == options.max_tokens) return finish(FinishReason::length);
      if (is_full(sequence.cache())) return finish(FinishReason::context);
      logits = HALYARD_TRY(sequence.read(std::span(&token, 1)));
    }
  });
}

}  // namespace halyard::engine

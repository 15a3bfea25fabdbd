// Generating: read the prompt, then choose and read a token at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "halyard/engine/request.h"
#include "halyard/engine/sequence.h"

namespace halyard::engine {

/// Counted as mlx-lm does: the prompt's time ends with the first token chosen; a stop token counts as generated.
struct GenerateStats {
  std::size_t prompt_tokens = 0, generated_tokens = 0;
  double prompt_seconds = 0, generation_seconds = 0;
  FinishReason finish = FinishReason::length;

  double prompt_tokens_per_second() const { return per_second(prompt_tokens, prompt_seconds); }
  double generation_tokens_per_second() const { return per_second(generated_tokens, generation_seconds); }

 private:
  static double per_second(std::size_t n, double seconds) { return seconds > 0 ? static_cast<double>(n) / seconds : 0; }
};

struct GenerateCallbacks {
  /// Receives each token as it is chosen; false stops.
  std::function<Result<bool>(std::int32_t token)> on_token;
  /// See Sequence::Progress.
  Sequence::Progress on_prompt = {};
};

/// Continues `sequence` with `prompt` and then with what the model chooses. `history`, the tokens read before, counts for
/// repetition penalties. Afterwards the sequence has read all but the last token chosen.
Result<GenerateStats> generate(Sequence& sequence, std::span<const std::int32_t> prompt, const GenerateOptions&,
                               const GenerateCallbacks&, std::span<const std::int32_t> history = {});

}  // namespace halyard::engine

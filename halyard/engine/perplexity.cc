#include "halyard/engine/perplexity.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "halyard/base/guarded.h"

namespace halyard::engine {

double negative_log_likelihood(std::span<const float> logits, std::int32_t token) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float l : logits) sum += std::exp(static_cast<double>(l) - max);
  return std::log(sum) + max - static_cast<double>(logits[static_cast<std::size_t>(token)]);
}

Result<Perplexity> perplexity(Sequence& sequence, std::span<const std::int32_t> tokens, std::size_t ctx,
                              const Sequence::Progress& progress) {
  return guarded([&]() -> Result<Perplexity> {
    if (ctx < 2) return fail(Errc::invalid_argument, fmt::format("a window has at least 2 tokens, got {}", ctx));
    Perplexity p;
    p.tokens = tokens.size();
    p.windows = tokens.size() / ctx;
    if (p.windows == 0) {
      return fail(Errc::invalid_argument, fmt::format("the text has {} tokens, one window {}", tokens.size(), ctx));
    }
    const std::size_t vocab = sequence.model().info().vocab_size;
    double sum = 0;
    for (std::size_t w = 0; w < p.windows; ++w) {
      const std::span<const std::int32_t> window = tokens.subspan(w * ctx, ctx);
      const auto score = [&](std::size_t first, std::span<float> logits) -> Result<void> {
        for (std::size_t i = 0; i < logits.size() / vocab && first + i + 1 < ctx; ++i) {
          sum += negative_log_likelihood(logits.subspan(i * vocab, vocab), window[first + i + 1]);
        }
        return {};
      };
      sequence.reset();
      HALYARD_TRY(sequence.read_all(window, score));
      if (progress) HALYARD_TRY(progress(w + 1, p.windows));
    }
    p.mean_nll = sum / static_cast<double>(p.windows * (ctx - 1));
    p.ppl = std::exp(p.mean_nll);
    return p;
  });
}

}  // namespace halyard::engine

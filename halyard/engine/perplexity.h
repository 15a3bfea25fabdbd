// How well a model predicts a text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "halyard/engine/sequence.h"

namespace halyard::engine {

struct Perplexity {
  std::size_t tokens = 0;   ///< of the whole text
  std::size_t windows = 0;  ///< read; the last partial one is not
  double mean_nll = 0;      ///< mean negative log-likelihood of a predicted token, nats
  double ppl = 0;           ///< e^mean_nll
};

/// Cuts `tokens` into windows of `ctx`, each read from nothing, and scores the ctx - 1 predictions within each. Sums are in
/// f64 over f32 logits. Errors: a text shorter than one window.
Result<Perplexity> perplexity(Sequence&, std::span<const std::int32_t> tokens, std::size_t ctx,
                              const Sequence::Progress& = {});

/// -log softmax(logits)[token], in f64.
double negative_log_likelihood(std::span<const float> logits, std::int32_t token);

}  // namespace halyard::engine

// From logits to the next token: mlx-lm's logits processors and samplers, in mlx-lm's order (mlx_lm/sample_utils.py 0.32).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "halyard/base/result.h"

namespace halyard {

/// How the next token is chosen. The names and the meaning of the defaults are mlx-lm's.
struct SamplerOptions {
  double temp = 0;             ///< temperature, >= 0; 0 takes the most likely token
  double top_p = 0;            ///< nucleus, in [0, 1]; 0 and 1 keep every token
  double min_p = 0;            ///< in [0, 1]: least probability kept, as a share of the most likely token's; 0 is off
  int min_tokens_to_keep = 1;  ///< >= 1: tokens that min_p never drops
  int top_k = 0;               ///< in [0, vocabulary): tokens kept; 0 is off
  double xtc_probability = 0;  ///< in [0, 1]: how often XTC is applied; 0 is off
  double xtc_threshold = 0;    ///< in [0, 0.5]: XTC drops every token above it but the least likely of them
  std::vector<std::int32_t> xtc_special_tokens;  ///< never dropped by XTC
  double repetition_penalty = 0;                 ///< >= 0: divides positive and multiplies negative logits; 0 is off
  int repetition_context_size = 20;  ///< last tokens of the history that count, >= 0; 0 is all (so for the other two)
  double presence_penalty = 0;       ///< subtracted once from a token that occurs
  int presence_context_size = 20;
  double frequency_penalty = 0;  ///< subtracted once for every time a token occurs
  int frequency_context_size = 20;
  std::map<std::int32_t, float> logit_bias;  ///< token -> added to its logit; -infinity bans it
  std::optional<std::uint64_t> seed;         ///< the same seed and logits give the same tokens on every machine
};

/// Draws tokens. Holds the random state and scratch memory, so one sampler serves one sequence at a time.
class Sampler {
 public:
  /// Errors (invalid_argument) name the option that is out of range.
  static Result<Sampler> make(SamplerOptions options, std::size_t vocab_size);

  /// The next token after `history` (prompt and generated tokens, oldest first). `logits` is [vocab_size] and is modified
  /// by the penalties. Ties go to the lower token. Errors: a logit that is NaN or infinite, a token outside the vocabulary.
  Result<std::int32_t> sample(std::span<float> logits, std::span<const std::int32_t> history);

  /// The probabilities [vocab_size] that `sample` would draw from; the random state does not move.
  Result<std::vector<float>> distribution(std::span<float> logits, std::span<const std::int32_t> history);

  const SamplerOptions& options() const { return options_; }

 private:
  struct Candidate {
    float logit;
    std::int32_t token;
  };

  Sampler(SamplerOptions options, std::size_t vocab_size, std::uint64_t seed);

  // Each step leaves what the next one needs in the members below.
  Result<void> prepare(std::span<float> logits, std::span<const std::int32_t> history);
  Result<void> apply_penalties(std::span<float> logits, std::span<const std::int32_t> history);
  Result<std::vector<std::int32_t>> recent_tokens(std::span<const std::int32_t> history, int context, bool once);
  bool filters() const;
  void select(std::span<const float> logits, bool xtc);
  void gather_from(std::span<const float> logits, float cut);
  void gather_largest(std::span<const float> logits, std::size_t count);
  void gather_nucleus(std::span<const float> logits, double mass);
  float largest_candidate(std::size_t rank);
  void keep_top_p(double mass);
  float min_p_cut() const;
  void keep_min_p();
  void keep_top_k();
  void drop_xtc();
  double weigh_all(std::span<const float> logits, float inverse_temp);
  double weigh_candidates();
  std::int32_t most_likely(std::span<const float> logits) const;
  std::int32_t draw_from_all(std::span<const float> logits);
  std::int32_t draw_from_candidates();
  void add_distribution(std::span<const float> logits, bool xtc, double share, std::vector<float>& sum);
  double uniform();

  SamplerOptions options_;
  std::size_t vocab_size_;
  std::mt19937_64 random_;
  float inverse_temp_;
  float max_ = 0;                      // the largest logit
  std::vector<float> block_max_;       // the largest logit of each block of the vocabulary
  std::vector<double> block_weight_;   // the sum of the weights of each block
  std::vector<Candidate> candidates_;  // what the filters kept, in token order
  std::vector<float> weights_;         // of the candidates: exp((logit - the largest candidate's) / temp)
  std::vector<float> pool_;            // logits to find a cut among
  std::vector<bool> seen_;             // tokens already counted; all false between calls
};

}  // namespace halyard

// One sequence of tokens being read by a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "halyard/engine/kv_cache.h"
#include "halyard/engine/stages.h"
#include "halyard/engine/steps.h"
#include "halyard/models/model.h"

namespace halyard::engine {

struct SequenceOptions {
  std::size_t max_kv_size =
      0;  ///< positions kept, dropping old ones (see KvCacheOptions::rotating); 0: the model's context
  std::size_t prefill_step = 0;  ///< tokens of one chunk; 0: 512, and mlx-lm's 2048 where old positions are dropped
  bool use_session = EncoderSession::env_enabled();
  bool fused = true;  ///< see Steps: the same logits, sooner
};

/// The state that a model keeps of a text: its cache, and scratch memory. Not thread-safe; sequences of one model may be
/// used from different threads.
class Sequence {
 public:
  static Result<Sequence> make(models::Model model, SequenceOptions = {});

  /// Called between the chunks of a long read with the tokens done and in all; a failure stops the read.
  using Progress = std::function<Result<void>(std::size_t done, std::size_t total)>;
  /// Receives f32 logits [n, V] of the positions from `first` (counted within this read) on.
  using Sink = std::function<Result<void>(std::size_t first, std::span<float> logits)>;

  /// A read that fails leaves the text as it was. Where it had dropped positions already, or may have written over one, that
  /// cannot be: all reads then fail, until reset().
  ///
  /// Appends `tokens` and returns the logits [V] after the last, valid until the next read and the caller's to change. Errors: no tokens; a token
  /// outside the embedding; a text longer than the context, naming both lengths; logits that are not finite.
  Result<std::span<float>> read(std::span<const std::int32_t> tokens, const Progress& = {});
  /// Appends `tokens`, handing the logits of every position to `sink`.
  Result<void> read_all(std::span<const std::int32_t> tokens, const Sink& sink, const Progress& = {});

  /// Starts an empty text.
  void reset() { cache_.reset(); }
  /// Forgets all but the first n tokens; false where that cannot be done.
  bool truncate(std::size_t n) { return cache_.truncate(n); }

  const models::Model& model() const { return steps_.model(); }
  const KvCache& cache() const { return cache_; }
  std::size_t position() const { return cache_.position(); }
  /// Bytes of cache and scratch memory.
  std::size_t bytes() const;
  /// Time spent in recording work, submission and waits left out.
  std::uint64_t record_ns() const { return record_ns_; }

 private:
  Sequence(SequenceOptions options, std::size_t step, KvCache cache, Steps steps);
  enum class Want { last, all };
  Result<void> read_chunks(std::span<const std::int32_t> tokens, Want, const Sink&, const Progress&);
  Result<void> read_in_chunks(std::span<const std::int32_t> tokens, Want, const Sink&, const Progress&);
  Result<Buffer> read_chunk(std::span<const std::int32_t> tokens, StepPart::Want);
  Result<void> check(std::span<const std::int32_t> tokens) const;

  SequenceOptions options_;
  std::size_t step_;
  KvCache cache_;
  Steps steps_;
  Stages stages_;
  std::vector<float> host_logits_;
  std::uint64_t record_ns_ = 0;
};

/// Whether all values are finite.
bool all_finite(std::span<const float> values);

}  // namespace halyard::engine

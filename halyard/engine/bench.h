// Measuring a model: reading a prompt, and writing token by token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "halyard/engine/batch.h"
#include "halyard/engine/sequence.h"

namespace halyard::engine {

/// What one test does, after `depth` tokens were read: reads n_prompt tokens at once, then writes n_gen one by one. Each of
/// `parallel` sequences does, in common steps.
struct BenchTest {
  std::size_t n_prompt = 0, n_gen = 0, depth = 0;
  std::size_t repetitions = 5;
  std::size_t parallel = 1;

  /// Tokens read and written, of all sequences.
  std::size_t tokens() const { return parallel * (n_prompt + n_gen); }
};

struct BenchResult {
  BenchTest test;
  std::vector<double> seconds;  ///< of each repetition
  double record_share = 0;      ///< of all that time, spent recording work, hazard tracking included
  double submit_share = 0;      ///< and handing it to the device

  double mean_seconds() const;
  /// Tokens a second: mean and standard deviation over the repetitions.
  double mean_speed() const;
  double speed_deviation() const;
};

/// Runs a test once to warm up, then as often as it says. `between` is called before each repetition; its failure stops.
Result<BenchResult> run_bench(Sequence&, const BenchTest&, const std::function<Result<void>()>& between = {});
/// The same for many sequences, which the batch has room for and holds none of.
Result<BenchResult> run_bench(Batch&, const BenchTest&, const std::function<Result<void>()>& between = {});

/// What a test needs of the machine: each token written reads all weights, at once with those of other sequences, and the
/// cache; each token read multiplies with
/// all weights but the output head's, which only the last one needs.
struct BenchDemand {
  double bytes_per_token = 0;       ///< of writing
  double operations_per_token = 0;  ///< of reading, multiplies and adds
};
BenchDemand bench_demand(const models::Model&, const BenchTest&);

}  // namespace halyard::engine

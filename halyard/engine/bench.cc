#include "halyard/engine/bench.h"

#include <chrono>
#include <cmath>
#include <numeric>

namespace halyard::engine {
namespace {

using Clock = std::chrono::steady_clock;

/// Tokens that differ, so that no two rows of the embedding looked up in a row are the same.
std::vector<std::int32_t> some_tokens(std::size_t n, std::size_t vocab) {
  std::vector<std::int32_t> ids(n);
  for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<std::int32_t>(i * 7919 % vocab);
  return ids;
}

Result<void> go_to_depth(Sequence& s, std::size_t depth) {
  if (s.position() >= depth && s.truncate(depth)) return {};
  s.reset();
  if (depth == 0) return {};
  HALYARD_TRY(s.read(some_tokens(depth, s.model().info().vocab_size)));
  return {};
}

Result<void> run_once(Sequence& s, const std::vector<std::int32_t>& prompt, const std::vector<std::int32_t>& written) {
  if (!prompt.empty()) HALYARD_TRY(s.read(prompt));
  for (const std::int32_t id : written) HALYARD_TRY(s.read(std::span(&id, 1)));
  return {};
}

}  // namespace

double BenchResult::mean_seconds() const {
  return std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
}

double BenchResult::mean_speed() const {
  double sum = 0;
  for (const double s : seconds) sum += static_cast<double>(test.n_prompt + test.n_gen) / s;
  return sum / static_cast<double>(seconds.size());
}

double BenchResult::speed_deviation() const {
  if (seconds.size() < 2) return 0;
  const double mean = mean_speed();
  double squares = 0;
  for (const double s : seconds) squares += std::pow(static_cast<double>(test.n_prompt + test.n_gen) / s - mean, 2);
  return std::sqrt(squares / static_cast<double>(seconds.size() - 1));
}

Result<BenchResult> run_bench(Sequence& s, const BenchTest& test, const std::function<Result<void>()>& between) {
  const std::size_t vocab = s.model().info().vocab_size;
  const std::vector<std::int32_t> prompt = some_tokens(test.n_prompt, vocab), written = some_tokens(test.n_gen, vocab);
  BenchResult result{.test = test, .seconds = {}};
  double total = 0, recording = 0, submitting = 0;
  for (std::size_t i = 0; i <= test.repetitions; ++i) {
    if (between) HALYARD_TRY(between());
    HALYARD_TRY(go_to_depth(s, test.depth));
    const std::uint64_t recorded = s.record_ns(), submitted = s.model().device().stats().submit_ns;
    const Clock::time_point start = Clock::now();
    HALYARD_TRY(run_once(s, prompt, written));
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (i == 0) continue;  // caches, page tables and the clock speed have settled now
    result.seconds.push_back(seconds);
    total += seconds;
    recording += static_cast<double>(s.record_ns() - recorded) * 1e-9;
    submitting += static_cast<double>(s.model().device().stats().submit_ns - submitted) * 1e-9;
  }
  result.record_share = recording / total;
  result.submit_share = submitting / total;
  return result;
}

BenchDemand bench_demand(const models::Model& model, const BenchTest& test) {
  const models::ModelInfo& info = model.info();
  const double element = model.precision() == ops::Precision::exact ? 4 : 2;
  double cached = 0;  // bytes of one position
  for (const models::LayerSpec& l : info.layers) cached += 2 * static_cast<double>(l.kv_heads * l.head_dim) * element;
  const double positions = static_cast<double>(test.depth + test.n_prompt) + static_cast<double>(test.n_gen) / 2;
  const double head = static_cast<double>(info.vocab_size * info.hidden_size);
  const double matmul = static_cast<double>(model.totals().matmul_parameters);
  return {.bytes_per_token = static_cast<double>(model.totals().matmul_bytes) + cached * positions,
          .operations_per_token = 2 * (matmul - head)};
}

}  // namespace halyard::engine

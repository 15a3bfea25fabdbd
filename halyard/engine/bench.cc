#include "halyard/engine/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

namespace halyard::engine {
namespace {

using Clock = std::chrono::steady_clock;

/// Tokens that differ, so that no two rows of the embedding looked up in a row are the same, nor any two texts.
std::vector<std::int32_t> some_tokens(std::size_t n, std::size_t vocab, std::size_t text = 0) {
  std::vector<std::int32_t> ids(n);
  for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<std::int32_t>((text + i * 7919) % vocab);
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

/// Sequences of a batch, each with a text of its own.
class Many {
 public:
  explicit Many(Batch& batch) : batch_(batch) {}
  ~Many() {
    for (const Batch::Id id : ids_) batch_.close(id);
  }
  Many(const Many&) = delete;

  Result<void> open(std::size_t n) {
    while (ids_.size() < n) ids_.push_back(HALYARD_TRY(batch_.open()));
    return {};
  }

  Result<void> go_to_depth(std::size_t depth) {
    for (const Batch::Id id : ids_) batch_.truncate(id, std::min(depth, batch_.position(id)));
    const std::size_t held = batch_.position(ids_.front());
    return depth == held ? Result<void>() : read(depth - held);
  }

  /// Each reads n tokens: one sequence after the other, as many as a step takes.
  Result<void> read(std::size_t n) {
    std::vector<std::vector<std::int32_t>> texts;
    for (std::size_t i = 0; i < ids_.size(); ++i) texts.push_back(some_tokens(n, batch_.model().info().vocab_size, i));
    std::vector<Batch::Part> parts;
    std::size_t room = batch_.max_rows();
    const auto step = [&]() -> Result<void> {
      for (const Batch::Logits& part : HALYARD_TRY(batch_.step(parts)))
        if (!part) return fail(part.error());
      parts.clear();
      room = batch_.max_rows();
      return {};
    };
    for (std::size_t i = 0; i < ids_.size(); ++i) {
      for (std::size_t at = 0; at < n;) {
        const std::size_t rows = std::min(room, n - at);
        parts.push_back(
            {ids_[i], std::span(texts[i]).subspan(at, rows), at + rows == n ? Batch::Want::last : Batch::Want::none});
        at += rows;
        room -= rows;
        if (room == 0) HALYARD_TRY(step());
      }
    }
    return parts.empty() ? Result<void>() : step();
  }

  /// Each reads n tokens, one a step.
  Result<void> write(std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) HALYARD_TRY(read(1));
    return {};
  }

 private:
  Batch& batch_;
  std::vector<Batch::Id> ids_;
};

/// Runs a test: once to warm up, then as often as it says.
Result<BenchResult> measure(const Device& device, const BenchTest& test, const std::function<Result<void>()>& between,
                            const std::function<Result<void>()>& prepare, const std::function<Result<void>()>& run,
                            const std::function<std::uint64_t()>& record_ns) {
  BenchResult result{.test = test, .seconds = {}};
  double total = 0, recording = 0, submitting = 0;
  for (std::size_t i = 0; i <= test.repetitions; ++i) {
    if (between) HALYARD_TRY(between());
    HALYARD_TRY(prepare());
    const std::uint64_t recorded = record_ns(), submitted = device.stats().submit_ns;
    const Clock::time_point start = Clock::now();
    HALYARD_TRY(run());
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (i == 0) continue;  // caches, page tables and the clock speed have settled now
    result.seconds.push_back(seconds);
    total += seconds;
    recording += static_cast<double>(record_ns() - recorded) * 1e-9;
    submitting += static_cast<double>(device.stats().submit_ns - submitted) * 1e-9;
  }
  result.record_share = recording / total;
  result.submit_share = submitting / total;
  return result;
}

}  // namespace

double BenchResult::mean_seconds() const {
  return std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
}

double BenchResult::mean_speed() const {
  double sum = 0;
  for (const double s : seconds) sum += static_cast<double>(test.tokens()) / s;
  return sum / static_cast<double>(seconds.size());
}

double BenchResult::speed_deviation() const {
  if (seconds.size() < 2) return 0;
  const double mean = mean_speed();
  double squares = 0;
  for (const double s : seconds) squares += std::pow(static_cast<double>(test.tokens()) / s - mean, 2);
  return std::sqrt(squares / static_cast<double>(seconds.size() - 1));
}

Result<BenchResult> run_bench(Sequence& s, const BenchTest& test, const std::function<Result<void>()>& between) {
  const std::size_t vocab = s.model().info().vocab_size;
  const std::vector<std::int32_t> prompt = some_tokens(test.n_prompt, vocab), written = some_tokens(test.n_gen, vocab);
  return measure(
      s.model().device(), test, between, [&] { return go_to_depth(s, test.depth); },
      [&] { return run_once(s, prompt, written); }, [&] { return s.record_ns(); });
}

Result<BenchResult> run_bench(Batch& batch, const BenchTest& test, const std::function<Result<void>()>& between) {
  Many many(batch);
  HALYARD_TRY(many.open(test.parallel));
  const auto run = [&]() -> Result<void> {
    if (test.n_prompt > 0) HALYARD_TRY(many.read(test.n_prompt));
    return many.write(test.n_gen);
  };
  return measure(
      batch.model().device(), test, between, [&] { return many.go_to_depth(test.depth); }, run, [] { return 0; });
}

BenchDemand bench_demand(const models::Model& model, const BenchTest& test) {
  const models::ModelInfo& info = model.info();
  const double element = model.precision() == ops::Precision::exact ? 4 : 2;
  double cached = 0;  // bytes of one position
  for (const models::LayerSpec& l : info.layers) cached += 2 * static_cast<double>(l.kv_heads * l.head_dim) * element;
  const double positions = static_cast<double>(test.depth + test.n_prompt) + static_cast<double>(test.n_gen) / 2;
  const double head = static_cast<double>(info.vocab_size * info.hidden_size);
  const double matmul = static_cast<double>(model.totals().matmul_parameters);
  const double weights = static_cast<double>(model.totals().matmul_bytes) / static_cast<double>(test.parallel);
  return {.bytes_per_token = weights + cached * positions, .operations_per_token = 2 * (matmul - head)};
}

}  // namespace halyard::engine

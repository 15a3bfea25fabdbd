// For tests of models: loading them, reading logits and comparing those.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "halyard/engine/sequence.h"
#include "halyard/io/config.h"
#include "halyard/io/model_dir.h"
#include "halyard/io/safetensors.h"
#include "halyard/models/model.h"

namespace halyard::testing {

using engine::Sequence;

/// A test's way out: the error as an exception, which GoogleTest reports.
template <class T> T expect(Result<T> r) {
  if (!r) throw std::runtime_error(r.error().str());
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

inline models::Model load_model(const std::filesystem::path& folder, ops::Precision precision, int threads = 2) {
  const ModelDir dir = expect(ModelDir::open(folder));
  return expect(models::Model::load(expect(Device::open("cpu", {.cpu = {.threads = threads}})), dir, precision));
}

/// The elements of a tensor; i64 ids are narrowed where T is i32.
template <class T> std::vector<T> values(const SafeTensors& file, const std::string& name) {
  const Tensor* t = file.find(name);
  if (!t) throw std::runtime_error("no tensor " + name);
  std::vector<T> out(t->shape.elements());
  const auto copy = [&]<class From>(From) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      From value;
      std::memcpy(&value, t->data.data() + i * sizeof(From), sizeof(From));
      out[i] = static_cast<T>(value);
    }
  };
  switch (t->dtype) {
    case DType::f32: copy(float{}); break;
    case DType::f64: copy(double{}); break;
    case DType::i32: copy(std::int32_t{}); break;
    case DType::i64: copy(std::int64_t{}); break;
    default: throw std::runtime_error(name + " is of type " + std::string(to_string(t->dtype)));
  }
  return out;
}

/// The logits [T, V] of all tokens, read `chunk` at a time.
inline std::vector<float> logits_of(const models::Model& model, const std::vector<std::int32_t>& tokens,
                                    std::size_t chunk, bool use_session = true) {
  Sequence sequence = expect(Sequence::make(model, {.prefill_step = chunk, .use_session = use_session}));
  std::vector<float> all;
  expect(sequence.read_all(tokens, [&](std::size_t, std::span<float> logits) -> Result<void> {
    all.insert(all.end(), logits.begin(), logits.end());
    return {};
  }));
  return all;
}

inline std::vector<std::int32_t> greedy(const models::Model& model, const std::vector<std::int32_t>& prompt,
                                        std::size_t n) {
  Sequence sequence = expect(Sequence::make(model, {}));
  std::vector<std::int32_t> out;
  std::span<float> logits = expect(sequence.read(prompt));
  while (out.size() < n) {
    out.push_back(static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    if (out.size() < n) logits = expect(sequence.read(std::span(&out.back(), 1)));
  }
  return out;
}

inline double standard_deviation(const std::vector<float>& x) {
  double sum = 0, squares = 0;
  for (const double v : x) sum += v, squares += v * v;
  const double n = static_cast<double>(x.size());
  return std::sqrt(squares / n - sum / n * (sum / n));
}

/// Infinite where the lengths differ or a value is NaN.
inline double max_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double max = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!(d <= max)) max = std::isnan(d) ? INFINITY : d;
  }
  return max;
}

/// The mean over rows of Σ p · log(p / q), p and q the softmax of `exact` and `ours` [rows, vocab], in nats.
inline double mean_kl(const std::vector<float>& exact, const std::vector<float>& ours, std::size_t vocab) {
  if (exact.size() != ours.size() || exact.empty()) return INFINITY;
  const auto log_sum = [vocab](const float* row) {
    const double max = *std::max_element(row, row + vocab);
    double sum = 0;
    for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(row[i] - max);
    return std::log(sum) + max;
  };
  const std::size_t rows = exact.size() / vocab;
  double total = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const float *e = exact.data() + r * vocab, *o = ours.data() + r * vocab;
    const double le = log_sum(e), lo = log_sum(o);
    for (std::size_t i = 0; i < vocab; ++i) total += std::exp(e[i] - le) * ((e[i] - le) - (o[i] - lo));
  }
  const double mean = total / static_cast<double>(rows);
  return std::isnan(mean) ? INFINITY : mean;
}

}  // namespace halyard::testing

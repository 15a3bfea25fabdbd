// Models of known shapes with random weights: for measuring without a download.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/models/weights.h"

namespace halyard::models {

/// How synthetic matrices are stored: affine in groups of 64, or dense.
struct SyntheticFormat {
  quant::Format format = quant::Format::affine;
  int bits = 4;               ///< affine
  DType dtype = DType::bf16;  ///< dense
};
/// "q4", "q8", "bf16", "f16", "f32".
Result<SyntheticFormat> synthetic_format(std::string_view name);

/// config.json of a shape: "llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b", "qwen3-0.6b", "gutenberg-29m".
Result<Json> synthetic_config(std::string_view shape);
std::vector<std::string_view> synthetic_shapes();

/// Random weights of variance 1/k, the same for the same calls in the same order; vectors are ones.
class SyntheticWeights final : public WeightSource {
 public:
  explicit SyntheticWeights(SyntheticFormat format) : format_(format) {}
  Result<quant::MatrixView> matrix(const std::string& name, std::size_t n, std::size_t k) override;
  Result<VectorData> values(const std::string& name, std::span<const Shape> shapes) override;
  std::size_t total_bytes() const override { return 0; }

 private:
  using Bytes = std::vector<std::byte>;
  void fill(std::span<std::byte> out, const Bytes& block);
  Bytes random_words();
  template <class T> Bytes random_floats(double range);
  std::uint64_t random();

  SyntheticFormat format_;
  std::uint64_t state_ = 0x9e3779b97f4a7c15;
  std::optional<quant::MatrixView> embedding_;  // asked for twice where the output head is tied to it
};

}  // namespace halyard::models

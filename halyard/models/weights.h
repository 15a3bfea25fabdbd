// Weights by name: found, checked against the shape a recipe expects, and put where the device wants them.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "halyard/hal/device.h"
#include "halyard/io/model_dir.h"
#include "halyard/ops/embedding/embedding.h"
#include "halyard/ops/matmul/matmul.h"
#include "halyard/quant/format.h"

namespace halyard::models {

/// A tensor of weights that is used as it is.
struct VectorData {
  std::vector<float> values;   ///< taken to f32
  std::size_t file_bytes = 0;  ///< as it is stored
};

/// Where weights come from: a model directory, or a generator.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// The matrix [n, k] that stands under `name` + ".weight".
  virtual Result<quant::MatrixView> matrix(const std::string& name, std::size_t n, std::size_t k) = 0;
  /// The tensor that stands under `name`, of one of these shapes, which hold equally many elements.
  virtual Result<VectorData> values(const std::string& name, std::span<const Shape> shapes) = 0;
  /// Bytes of all weights, for progress; 0: not known.
  virtual std::size_t total_bytes() const = 0;
  /// Whether there is a tensor of this name.
  virtual bool has(const std::string&) const { return true; }
};

/// The weights of a model directory. A matrix is quantised exactly where `name`.scales exists, in the way config.json
/// says for that name; what the config says must agree with the tensors' shapes.
class DirectoryWeights final : public WeightSource {
 public:
  explicit DirectoryWeights(const ModelDir& dir) : dir_(dir) {}
  Result<quant::MatrixView> matrix(const std::string& name, std::size_t n, std::size_t k) override;
  Result<VectorData> values(const std::string& name, std::span<const Shape> shapes) override;
  std::size_t total_bytes() const override { return dir_.weight_bytes(); }
  bool has(const std::string& name) const override { return dir_.find(name) != nullptr; }

 private:
  const ModelDir& dir_;
};

/// A matrix and, where the family has one, its bias f32 [n].
struct Linear {
  ops::Weight weight;
  Buffer bias;
};

/// What was loaded.
struct WeightTotals {
  std::size_t parameters = 0;         ///< weights of the model, each tensor once
  std::size_t bytes = 0;              ///< of these in their files
  std::size_t matmul_parameters = 0;  ///< in matrices that multiply every position
  std::size_t matmul_bytes = 0;       ///< read by one position's products, as the device stores them
};

/// Hands a recipe its weights, counting them.
class Weights {
 public:
  using Progress = std::function<void(std::size_t done, std::size_t total)>;
  /// Without a device the weights are checked and counted but not loaded.
  Weights(WeightSource& source, std::optional<Device> device, ops::Precision precision, Progress progress = {})
      : source_(source), device_(std::move(device)), precision_(precision), progress_(std::move(progress)) {}

  const std::optional<Device>& device() const { return device_; }
  const WeightTotals& totals() const { return totals_; }
  bool has(const std::string& name) const { return source_.has(name); }

  /// name.weight [n, k], and name.bias [n] where `has_bias`.
  Result<Linear> linear(const std::string& name, std::size_t n, std::size_t k, bool has_bias = false);
  /// name.weight [n, k], whose rows are only looked up.
  Result<ops::Weight> table(const std::string& name, std::size_t n, std::size_t k);
  /// Several matrices that stand under one name, one below the other: [Σ ns, k].
  Result<std::vector<Linear>> linears(const std::string& name, std::span<const std::size_t> ns, std::size_t k,
                                      bool has_bias = false);
  /// A matrix [n, k] of each of a layer's experts, of which `active` multiply each position: under prefix, as
  /// switch_mlp.NAME.weight [experts, n, k] or experts.E.NAME.weight.
  Result<ops::Weight> experts(const std::string& prefix, const std::string& name, std::size_t count, std::size_t active,
                              std::size_t n, std::size_t k);
  /// The values of a tensor, counted.
  Result<std::vector<float>> values(const std::string& name, std::span<const Shape> shapes);
  /// f32 on the device; null without one.
  Result<Buffer> upload(std::span<const float>, Shape);
  /// f32 [n], each value changed by `change` where that is given; null without a device.
  Result<Buffer> vector(const std::string& name, std::size_t n, float (*change)(float) = nullptr);

 private:
  Result<Linear> load(const quant::MatrixView&);
  void count(std::size_t parameters, std::size_t bytes);

  WeightSource& source_;
  std::optional<Device> device_;
  ops::Precision precision_;
  Progress progress_;
  WeightTotals totals_;
};

}  // namespace halyard::models

// A model: named weights, and the recipe that turns tokens into logits with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "halyard/hal/device.h"
#include "halyard/io/model_dir.h"
#include "halyard/models/step.h"
#include "halyard/models/weights.h"

namespace halyard {
class ConfigView;  // io/config.h
}

namespace halyard::models {

/// The sizes of a model that its user needs to know.
struct ModelInfo {
  std::string model_type;      ///< "llama"
  std::size_t vocab_size = 0;  ///< columns of the logits, rows of the embedding
  std::size_t hidden_size = 0;
  std::size_t max_positions = 0;  ///< the context it was made for
  std::vector<LayerSpec> layers;
};

/// A family's recipe. Each family is one file that makes one of these from a config, and one line in registry.cc.
class Recipe {
 public:
  virtual ~Recipe() = default;
  virtual const ModelInfo& info() const = 0;
  /// Takes the weights by name. Without a device it only checks that they are there and have the right shapes.
  virtual Result<void> load(Weights&) = 0;
  /// Writes a step's formulas.
  virtual void record(Step&) const = 0;
};

/// Called while weights are loaded: bytes so far, bytes in all.
using Progress = std::function<void(std::size_t done, std::size_t total)>;

/// A loaded model: a cheap shared handle, safe to use from several threads.
class Model {
 public:
  /// Loads the weights of `dir` onto `device`. Errors name the file, and the field or tensor, that is at fault.
  static Result<Model> load(Device, const ModelDir& dir, ops::Precision, const Progress& = {});
  /// The same with weights from elsewhere.
  static Result<Model> load(Device, const ConfigView&, WeightSource&, ops::Precision, const Progress& = {});
  /// The same by a recipe of one's own.
  static Result<Model> load(Device, std::unique_ptr<Recipe>, WeightSource&, ops::Precision, const Progress& = {});

  const ModelInfo& info() const { return recipe_->info(); }
  ops::Precision precision() const { return precision_; }
  const Device& device() const { return device_; }
  const WeightTotals& totals() const { return totals_; }

  /// Records a step of that shape into an encoder that is capturing.
  Result<void> record(CommandEncoder& e, const StepTensors& t) const {
    Step s(e, t);
    recipe_->record(s);
    return s.status();
  }

 private:
  Model(Device device, ops::Precision precision, std::shared_ptr<const Recipe> recipe, WeightTotals totals)
      : device_(std::move(device)), precision_(precision), recipe_(std::move(recipe)), totals_(totals) {}
  Device device_;
  ops::Precision precision_;
  std::shared_ptr<const Recipe> recipe_;
  WeightTotals totals_;
};

}  // namespace halyard::models

#include "halyard/models/model.h"

#include "halyard/base/guarded.h"
#include "halyard/io/config.h"
#include "halyard/models/registry.h"

namespace halyard::models {

Result<Model> Model::load(Device device, const ModelDir& dir, ops::Precision precision, const Progress& progress) {
  return guarded([&]() -> Result<Model> {
    DirectoryWeights source(dir);
    return load(std::move(device), dir.config(), source, precision, progress);
  });
}

Result<Model> Model::load(Device device, const ConfigView& config, WeightSource& source, ops::Precision precision,
                          const Progress& progress) {
  return guarded([&]() -> Result<Model> {
    return load(std::move(device), HALYARD_TRY(make_recipe(config)), source, precision, progress);
  });
}

Result<Model> Model::load(Device device, std::unique_ptr<Recipe> recipe, WeightSource& source, ops::Precision precision,
                          const Progress& progress) {
  return guarded([&]() -> Result<Model> {
    Weights weights(source, device, precision, progress);
    HALYARD_TRY(recipe->load(weights));
    return Model(std::move(device), precision, std::move(recipe), weights.totals());
  });
}

}  // namespace halyard::models

// From model_type to recipe.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "halyard/models/model.h"

namespace halyard::models {

/// The recipe of a config, without weights. An unknown model_type is an error that names it and those that are known.
Result<std::unique_ptr<Recipe>> make_recipe(const ConfigView&);

/// The model_types there are recipes for.
std::vector<std::string_view> known_model_types();

}  // namespace halyard::models

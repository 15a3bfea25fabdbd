// The families, one function each: a recipe from a config. registry.cc says which model_type is which.
#pragma once

#include <memory>

#include "halyard/models/decoder.h"

namespace halyard::models {

Result<std::unique_ptr<Recipe>> make_gemma3_text(const ConfigView&);
Result<std::unique_ptr<Recipe>> make_llama(const ConfigView&);
Result<std::unique_ptr<Recipe>> make_mamba2(const ConfigView&);
Result<std::unique_ptr<Recipe>> make_mistral(const ConfigView&);
Result<std::unique_ptr<Recipe>> make_qwen2(const ConfigView&);
Result<std::unique_ptr<Recipe>> make_qwen3(const ConfigView&);
Result<std::unique_ptr<Recipe>> make_qwen3_moe(const ConfigView&);

}  // namespace halyard::models

#include "halyard/models/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "halyard/io/config.h"
#include "halyard/models/families.h"

namespace halyard::models {
namespace {

struct Family {
  std::string_view model_type;
  Result<std::unique_ptr<Recipe>> (*make)(const ConfigView&);
};

constexpr Family kFamilies[] = {
    {"gemma3_text", make_gemma3_text}, {"llama", make_llama}, {"mamba2", make_mamba2},
    {"mistral", make_mistral},         {"qwen2", make_qwen2}, {"qwen3", make_qwen3},
    {"qwen3_moe", make_qwen3_moe},
};

}  // namespace

Result<std::unique_ptr<Recipe>> make_recipe(const ConfigView& c) {
  const std::string type = HALYARD_TRY(c.string("model_type"));
  for (const Family& f : kFamilies) {
    if (f.model_type == type) return f.make(c);
  }
  return c.error("model_type",
                 fmt::format("{} is not known; known are {}", describe(type), fmt::join(known_model_types(), ", ")),
                 Errc::unsupported);
}

std::vector<std::string_view> known_model_types() {
  std::vector<std::string_view> names;
  for (const Family& f : kFamilies) names.push_back(f.model_type);
  return names;
}

}  // namespace halyard::models

#include "halyard/text/model.h"

#include "halyard/text/json_fields.h"

namespace halyard::text {
namespace {

using Make = Result<std::unique_ptr<const Model>> (*)(const Json&, const Vocabulary&, const Merges&);
constexpr std::pair<std::string_view, Make> kinds[] = {
    {"BPE", make_bpe},
};

}  // namespace

Result<std::unique_ptr<const Model>> make_model(const Json& json, const Vocabulary& vocabulary, const Merges& merges) {
  // Files of before 2020 name no type; they hold merges.
  const auto type = field(json, "type").is_null() && !merges.empty() ? "BPE" : HALYARD_TRY(string_field(json, "type"));
  for (const auto& [name, make] : kinds)
    if (name == type) return make(json, vocabulary, merges);
  return fail(Errc::unsupported, fmt::format("there is no model type {}", in_quotes(type)));
}

}  // namespace halyard::text

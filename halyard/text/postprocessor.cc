#include "halyard/text/postprocessor.h"

#include <utility>

#include "halyard/text/json_fields.h"

namespace halyard::text {
namespace {

using Ids = std::vector<std::int32_t>;
constexpr std::size_t max_special_ids = 4096;  // on one side of a text

Result<PostProcessor> make_nothing(const Json&) { return PostProcessor{}; }

Result<Ids> special_ids(const Json& json, const std::string& name) {
  const Json& token = field(field(json, "special_tokens"), name);
  const Json& written = field(token, "ids");
  if (!written.is_array())
    return fail(Errc::bad_file,
                fmt::format("the template's special token {} is not defined in special_tokens", in_quotes(name)));
  Ids ids;
  for (const Json& id : written)
    ids.push_back(HALYARD_TRY(token_id(id, fmt::format("special_tokens: {}", in_quotes(name)))));
  return ids;
}

Result<PostProcessor> make_template(const Json& json) {
  const Json& items = field(json, "single");
  if (!items.is_array()) return wrong_field("single", "an array", items);
  PostProcessor out;
  out.keeps_text = false;
  for (const Json& item : items) {
    if (const Json& special = field(item, "SpecialToken"); special.is_object()) {
      const auto name = HALYARD_TRY(string_field(special, "id"));
      const Ids ids = HALYARD_TRY(special_ids(json, name));
      Ids& side = out.keeps_text ? out.after : out.before;
      side.insert(side.end(), ids.begin(), ids.end());
      if (side.size() > max_special_ids)
        return fail(Errc::limit_exceeded, fmt::format("\"single\": more than {} special tokens", max_special_ids));
    } else if (field(item, "Sequence").is_object()) {
      if (out.keeps_text)
        return fail(Errc::unsupported, "\"single\": a template that repeats its text is not supported");
      out.keeps_text = true;
    } else {
      return fail(Errc::bad_file, "\"single\": expected a SpecialToken or a Sequence");
    }
  }
  return out;
}

// [CLS] text [SEP]: each given as ["token", id].
Result<PostProcessor> make_cls_sep(const Json& json) {
  const auto id_of = [&](std::string_view key) -> Result<std::int32_t> {
    const Json& pair = field(json, key);
    if (!pair.is_array() || pair.size() != 2) return wrong_field(key, "[\"token\", id]", pair);
    return token_id(pair[1], fmt::format("\"{}\"", key));
  };
  return PostProcessor{.before = {HALYARD_TRY(id_of("cls"))}, .after = {HALYARD_TRY(id_of("sep"))}};
}

Result<PostProcessor> make_sequence(const Json& json) {
  const Json& parts = field(json, "processors");
  if (!parts.is_array()) return wrong_field("processors", "an array", parts);
  PostProcessor all;
  for (const Json& part : parts) {
    const PostProcessor step = HALYARD_TRY(make_post_processor(part));
    if (!step.keeps_text) all = PostProcessor{{}, {}, false};
    all.before.insert(all.before.begin(), step.before.begin(), step.before.end());
    all.after.insert(all.after.end(), step.after.begin(), step.after.end());
  }
  return all;
}

using Make = Result<PostProcessor> (*)(const Json&);
constexpr std::pair<std::string_view, Make> kinds[] = {
    {"ByteLevel", make_nothing},  // it only trims offsets
    {"TemplateProcessing", make_template}, {"RobertaProcessing", make_cls_sep},
    {"BertProcessing", make_cls_sep},      {"Sequence", make_sequence},
};

}  // namespace

Result<PostProcessor> make_post_processor(const Json& json) {
  if (json.is_null()) return PostProcessor{};
  const auto type = HALYARD_TRY(string_field(json, "type"));
  for (const auto& [name, make] : kinds)
    if (name == type) return make(json);
  return fail(Errc::unsupported, fmt::format("there is no post_processor {}", in_quotes(type)));
}

}  // namespace halyard::text

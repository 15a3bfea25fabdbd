#include "halyard/engine/text_model.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/io/config.h"

namespace halyard::engine {
namespace {

constexpr std::uint64_t kMaxSettings = std::uint64_t{64} << 20;

/// "<|endoftext|>", or {"content": "<|endoftext|>", …} as older files have it.
std::optional<std::string> token_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) return value["content"].get<std::string>();
  return {};
}

/// chat_template is the template, or a list of {"name", "template"} of which "default" is for chatting.
Result<std::optional<std::string>> template_in_settings(const ConfigView& settings) {
  const Json* t = settings.raw("chat_template");
  if (!t) return std::nullopt;
  if (t->is_string()) return t->get<std::string>();
  if (t->is_array()) {
    for (const Json& named : *t) {
      if (named.is_object() && named.value("name", Json()) == "default" && named.value("template", Json()).is_string()) {
        return named["template"].get<std::string>();
      }
    }
  }
  return settings.error("chat_template", fmt::format("expected a template or a list with one named \"default\", got {}",
                                                     describe(*t)));
}

}  // namespace

Result<TextModel> TextModel::load(const ModelDir& dir, bool chat) {
  const ModelFile& file = dir.tokenizer();
  if (!file.present) return fail(Errc::not_found, fmt::format("{}: the model has no tokenizer.json", file.path));
  TextModel t(HALYARD_TRY(Tokenizer::load(file.path)), file.path);
  HALYARD_TRY(t.add_stop_ids(dir.config()));
  if (const Json* g = dir.generation_config()) HALYARD_TRY(t.add_stop_ids({*g, dir.path() + "/generation_config.json"}));
  HALYARD_TRY(t.load_settings(dir, chat));
  return t;
}

Result<void> TextModel::load_settings(const ModelDir& dir, bool chat) {
  std::optional<std::string> source;
  std::string name = dir.chat_template().path;
  if (dir.tokenizer_config().present) {
    const std::string& path = dir.tokenizer_config().path;
    const Json json = HALYARD_TRY(read_json_object(path, kMaxSettings));
    const ConfigView settings(json, path);
    for (const auto& [field, value] : json.items()) {
      const std::optional<std::string> text = field.ends_with("_token") ? token_text(value) : std::nullopt;
      if (text) special_tokens_[field] = *text;
    }
    if (chat && !dir.chat_template().present) {
      source = HALYARD_TRY(template_in_settings(settings));
      name = path + ": chat_template";
    }
  }
  if (special_tokens_.contains("eos_token")) {
    if (const auto id = tokenizer_.token_to_id(special_tokens_["eos_token"].get<std::string>())) add_stop_id(*id);
  }
  if (chat && dir.chat_template().present) source = HALYARD_TRY(read_file(name));
  if (source) chat_ = HALYARD_TRY(ChatTemplate::parse(std::move(*source), std::move(name)));
  return {};
}

Result<void> TextModel::add_stop_ids(const ConfigView& config) {
  const char* field = "eos_token_id";
  const Json* eos = config.raw(field);
  if (!eos) return {};
  for (const Json& id : eos->is_array() ? *eos : Json::array({*eos})) {
    if (!id.is_number_integer()) {
      return config.error(field, fmt::format("expected a token id or a list of them, got {}", describe(*eos)));
    }
    add_stop_id(id.get<std::int64_t>());
  }
  return {};
}

void TextModel::add_stop_id(std::int64_t id) {
  if (id < 0 || id > INT32_MAX) return;  // no token has it
  const auto token = static_cast<std::int32_t>(id);
  if (std::find(stop_ids_.begin(), stop_ids_.end(), token) == stop_ids_.end()) stop_ids_.push_back(token);
}

Result<std::string> TextModel::render(const OrderedJson& messages, const OrderedJson& kwargs) const {
  if (!chat_) return fail(Errc::not_found, "the model has no chat template");
  OrderedJson input = special_tokens_;
  input["messages"] = messages;
  input["kwargs"] = {{"add_generation_prompt", true}};
  for (const auto& [name, value] : kwargs.items()) input["kwargs"][name] = value;
  const OrderedJson context = HALYARD_TRY(chat_context(input));
  return chat_->render(context);
}

Result<std::vector<std::int32_t>> TextModel::encode(std::string_view text, bool add_special_tokens, std::size_t rows) const {
  std::vector<std::int32_t> ids = HALYARD_TRY(tokenizer_.encode(text, add_special_tokens));
  for (const std::int32_t id : ids) {
    if (static_cast<std::size_t>(id) < rows) continue;
    return fail(Errc::bad_file, fmt::format("{}: token {} has id {}, but model.embed_tokens has {} rows", file_,
                                            describe(std::string(tokenizer_.id_to_token(id).value_or(""))), id, rows));
  }
  return ids;
}

}  // namespace halyard::engine

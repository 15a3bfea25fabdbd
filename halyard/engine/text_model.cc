#include "halyard/engine/text_model.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/engine/chat.h"
#include "halyard/io/config.h"

namespace halyard::engine {

Result<TextModel> TextModel::load(const ModelDir& dir, bool chat) {
  const ModelFile& file = dir.tokenizer();
  if (!file.present) return fail(Errc::not_found, fmt::format("{}: the model has no tokenizer.json", file.path));
  TextModel t(HALYARD_TRY(Tokenizer::load_folder(dir.path())));
  HALYARD_TRY(t.add_stop_ids(dir.config()));
  if (const Json* g = dir.generation_config())
    HALYARD_TRY(t.add_stop_ids({*g, dir.path() + "/generation_config.json"}));
  for (const auto& [name, token] : t.tokenizer_.special_tokens()) t.special_tokens_[name] = token;
  if (const auto eos = t.special_tokens_.find("eos_token"); eos != t.special_tokens_.end() && eos->is_string()) {
    if (const auto id = t.tokenizer_.token_to_id(eos->get<std::string>())) t.add_stop_id(*id);
  }
  if (chat) t.chat_ = HALYARD_TRY(load_chat_template(dir.path()));
  return t;
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
  OrderedJson input = {{"messages", messages}, {"kwargs", {{"add_generation_prompt", true}}}};
  for (const auto& [name, value] : kwargs.items()) input["kwargs"][name] = value;
  input = HALYARD_TRY(with_special_tokens(std::move(input), special_tokens_));
  const OrderedJson context = HALYARD_TRY(chat_context(input));
  return chat_->render(context);
}

Result<std::vector<std::int32_t>> TextModel::encode(std::string_view text, bool add_special_tokens,
                                                    std::size_t rows) const {
  std::vector<std::int32_t> ids = HALYARD_TRY(tokenizer_.encode(text, add_special_tokens));
  for (const std::int32_t id : ids) {
    if (static_cast<std::size_t>(id) < rows) continue;
    return fail(Errc::bad_file,
                fmt::format("{}: token {} has id {}, but model.embed_tokens has {} rows", tokenizer_.file_of(id),
                            describe(std::string(tokenizer_.id_to_token(id).value_or(""))), id, rows));
  }
  return ids;
}

}  // namespace halyard::engine

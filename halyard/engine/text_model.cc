#include "halyard/engine/text_model.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/base/guarded.h"
#include "halyard/base/json.h"
#include "halyard/io/config.h"
#include "halyard/text/chat.h"
#include "halyard/text/chat_template.h"

namespace halyard::engine {

struct TextModel::Chat {
  ChatTemplate chat;
  Json special_tokens;  // bos_token, eos_token …: what templates may name
};

Result<TextModel> TextModel::load(const ModelDir& dir, bool chat) {
  return guarded([&]() -> Result<TextModel> {
    const ModelFile& file = dir.tokenizer();
    if (!file.present) return fail(Errc::not_found, fmt::format("{}: the model has no tokenizer.json", file.path));
    TextModel t(HALYARD_TRY(Tokenizer::load_folder(dir.path())));
    HALYARD_TRY(t.add_stop_ids(dir.config()));
    if (const auto generation = dir.generation_config()) HALYARD_TRY(t.add_stop_ids(*generation));
    const auto& special = t.tokenizer_.special_tokens();
    if (const auto eos = special.find("eos_token"); eos != special.end()) {
      if (const auto id = t.tokenizer_.token_to_id(eos->second)) t.add_stop_id(*id);
    }
    if (!chat) return t;
    if (auto found = HALYARD_TRY(load_chat_template(dir.path())))
      t.chat_ = std::make_shared<const Chat>(Chat{std::move(*found), Json::object_of(special)});
    return t;
  });
}

Result<void> TextModel::add_stop_ids(const ConfigView& config) {
  const char* field = "eos_token_id";
  const Json* eos = config.raw(field);
  if (!eos) return {};
  for (const Json& id : eos->is_array() ? *eos : Json::array({*eos})) {
    if (!id.is_integer()) {
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

Result<std::string> TextModel::render(std::span<const ChatMessage> messages, std::string_view kwargs) const {
  return guarded([&]() -> Result<std::string> {
    if (!chat_) return fail(Errc::not_found, "the model has no chat template");
    const Json more = HALYARD_TRY(parse_json(kwargs, {.exact_integers = true}));
    if (!more.is_object()) return fail(Errc::invalid_argument, "expected a JSON object");
    Json input =
        Json::object({{"messages", Json::array()}, {"kwargs", Json::object({{"add_generation_prompt", true}})}});
    for (const ChatMessage& m : messages)
      input["messages"].push_back(Json::object({{"role", m.role}, {"content", m.content}}));
    for (const auto& [name, value] : more.items()) input["kwargs"][name] = value;
    input = HALYARD_TRY(with_special_tokens(std::move(input), chat_->special_tokens));
    const Json context = HALYARD_TRY(chat_context(input));
    return chat_->chat.render(context);
  });
}

Result<std::vector<std::int32_t>> TextModel::encode(std::string_view text, bool add_special_tokens,
                                                    std::size_t rows) const {
  return guarded([&]() -> Result<std::vector<std::int32_t>> {
    std::vector<std::int32_t> ids = HALYARD_TRY(tokenizer_.encode(text, add_special_tokens));
    for (const std::int32_t id : ids) {
      if (static_cast<std::size_t>(id) < rows) continue;
      return fail(Errc::bad_file,
                  fmt::format("{}: token {} has id {}, but model.embed_tokens has {} rows", tokenizer_.file_of(id),
                              describe(std::string(tokenizer_.id_to_token(id).value_or(""))), id, rows));
    }
    return ids;
  });
}

}  // namespace halyard::engine

// The text side of a model directory: tokenizer, chat template, and what ends a text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/io/model_dir.h"
#include "halyard/text/chat_template.h"
#include "halyard/text/tokenizer.h"

namespace halyard::engine {

class TextModel {
 public:
  /// Reads tokenizer.json, tokenizer_config.json, and, with `chat`, the chat template. Errors name the file at fault.
  static Result<TextModel> load(const ModelDir& dir, bool chat);

  bool has_chat_template() const { return chat_.has_value(); }
  /// The prompt for a conversation, an array of {"role", "content"} with the last message to be answered. `kwargs` is an
  /// object of more variables for the template. Errc::not_found where the model has no template.
  Result<std::string> render(const OrderedJson& messages, const OrderedJson& kwargs = OrderedJson::object()) const;

  /// The ids of a text. A token that the model's embedding of `rows` rows does not have is an error that names it.
  Result<std::vector<std::int32_t>> encode(std::string_view text, bool add_special_tokens, std::size_t rows) const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  /// Tokens that end a text: eos_token_id of generation_config.json and config.json, eos_token of tokenizer_config.json.
  const std::vector<std::int32_t>& stop_ids() const { return stop_ids_; }

 private:
  explicit TextModel(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  Result<void> add_stop_ids(const ConfigView&);
  void add_stop_id(std::int64_t id);

  Tokenizer tokenizer_;
  std::optional<ChatTemplate> chat_;
  OrderedJson special_tokens_ = OrderedJson::object();  // bos_token, eos_token …: what templates may name
  std::vector<std::int32_t> stop_ids_;
};

}  // namespace halyard::engine

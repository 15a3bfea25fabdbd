// The text side of a model directory: tokenizer, chat template, and what ends a text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/io/model_dir.h"
#include "halyard/text/tokenizer.h"

namespace halyard::engine {

/// One message of a conversation.
struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

class TextModel {
 public:
  /// Reads tokenizer.json, tokenizer_config.json, and, with `chat`, the chat template. Errors name the file at fault.
  static Result<TextModel> load(const ModelDir& dir, bool chat);

  bool has_chat_template() const { return chat_ != nullptr; }
  /// The prompt for a conversation whose last message is to be answered. `kwargs` is a JSON object of more variables for the
  /// template. Errc::not_found where the model has no template.
  Result<std::string> render(std::span<const ChatMessage> messages, std::string_view kwargs = "{}") const;

  /// The ids of a text. A token that the model's embedding of `rows` rows does not have is an error that names it.
  Result<std::vector<std::int32_t>> encode(std::string_view text, bool add_special_tokens, std::size_t rows) const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  /// Tokens that end a text: eos_token_id of generation_config.json and config.json, eos_token of tokenizer_config.json.
  const std::vector<std::int32_t>& stop_ids() const { return stop_ids_; }

 private:
  explicit TextModel(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}
  struct Chat;
  Result<void> add_stop_ids(const ConfigView&);
  void add_stop_id(std::int64_t id);

  Tokenizer tokenizer_;
  std::shared_ptr<const Chat> chat_;  // null: no template
  std::vector<std::int32_t> stop_ids_;
};

}  // namespace halyard::engine

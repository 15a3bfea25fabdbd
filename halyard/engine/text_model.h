// A model directory ready to use: weights, tokenizer, chat template and what ends a text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/hal/device.h"
#include "halyard/io/model_dir.h"
#include "halyard/models/model.h"
#include "halyard/text/chat_template.h"
#include "halyard/text/tokenizer.h"

namespace halyard::engine {

/// Tokens and text of a model directory, without its weights.
class TextFiles {
 public:
  static Result<TextFiles> load(const ModelDir& dir);

  /// The ids of a prompt: `conversation` (an array of {"role", "content"}) through the chat template, or, without a
  /// template or where `raw`, the contents as they are, two newlines between them, with special tokens.
  Result<std::vector<std::int32_t>> encode_chat(const OrderedJson& conversation, bool raw) const;
  /// The ids of a text. Errors name tokens that the embedding of `rows` rows does not have.
  Result<std::vector<std::int32_t>> encode(std::string_view text, bool add_special_tokens) const;

  const Tokenizer& tokenizer() const { return tokenizer_; }
  const std::optional<ChatTemplate>& chat_template() const { return chat_template_; }
  const std::vector<std::int32_t>& stop_ids() const { return stop_ids_; }

 private:
  explicit TextFiles(Tokenizer t) : tokenizer_(std::move(t)) {}
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> chat_template_;
  std::vector<std::int32_t> stop_ids_;  // sorted
};

}  // namespace halyard::engine

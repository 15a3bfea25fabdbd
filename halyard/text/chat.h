// How a model directory wants its conversations written: its chat template and the tokens that template names.
#pragma once

#include <optional>
#include <string>

#include "halyard/base/json.h"
#include "halyard/base/result.h"
#include "halyard/text/chat_template.h"

namespace halyard {

/// The chat template of a model directory: of chat_template.jinja and additional_chat_templates/, or where there are none of
/// "chat_template" in tokenizer_config.json (a string, an object, or a list of {"name", "template"}), the one called
/// "tool_use" where `tools` is set, else "default". No value where the model has none. Errors name the file.
Result<std::optional<ChatTemplate>> load_chat_template(const std::string& model_dir, bool tools = false);

/// The special tokens of the tokenizer's files as templates see them: {"bos_token": "<s>", "eos_token": "</s>", …}. Empty
/// where no file names any.
Result<Json> load_special_tokens(const std::string& model_dir);

/// `input` ({"messages", "tools", "kwargs", …}, see chat_context) with those of `tokens` that it does not give itself.
Result<Json> with_special_tokens(Json input, const Json& tokens);

}  // namespace halyard

// How a model directory wants its conversations written: its chat template and the tokens that template names.
#pragma once

#include <optional>
#include <string>

#include "halyard/base/json.h"
#include "halyard/base/result.h"
#include "halyard/text/chat_template.h"

namespace halyard {

/// The chat template of a model directory: chat_template.jinja, else "chat_template" of tokenizer_config.json: a string or
/// a list of {"name", "template"}, of which "default" is taken, or "tool_use" where there is one and `tools` is set. No
/// value where the model has none. Errors name the file.
Result<std::optional<ChatTemplate>> load_chat_template(const std::string& model_dir, bool tools = false);

/// The special tokens of tokenizer_config.json as templates see them: {"bos_token": "<s>", "eos_token": "</s>", …}. Empty
/// where the file is not there.
Result<OrderedJson> load_special_tokens(const std::string& model_dir);

/// `input` ({"messages", "tools", "kwargs", …}, see chat_context) with those of `tokens` that it does not give itself.
Result<OrderedJson> with_special_tokens(OrderedJson input, const OrderedJson& tokens);

}  // namespace halyard

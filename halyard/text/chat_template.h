// Chat templates: Jinja as Hugging Face's transformers runs it.
#pragma once

#include <memory>
#include <string>

#include "halyard/base/json.h"
#include "halyard/base/result.h"

namespace halyard {

/// A parsed chat template; a cheap shared handle that any number of threads may render at once.
///
/// The environment is transformers': ImmutableSandboxedEnvironment(trim_blocks, lstrip_blocks) with loopcontrols and
/// {% generation %}, tojson as json.dumps(ensure_ascii=False), raise_exception and strftime_now. Work, nesting, memory
/// and output are bounded: a template that asks for more is an error (limit_exceeded). 64 MiB are held at most; a small
/// context allows some 50 ms of work, one of thousands of values or of megabytes of text seven times that.
class ChatTemplate {
 public:
  /// `name` is for messages: chat template "name", line N: what is wrong. A source that is not a template, or asks for
  /// another file, an unknown tag, filter or test, is bad_file.
  static Result<ChatTemplate> parse(std::string source, std::string name);

  /// The prompt. `context` is an object of the variables the template sees: messages, tools, bos_token,
  /// add_generation_prompt…, in this order's keys as tojson writes them. What raise_exception says is in the message.
  Result<std::string> render(const Json& context) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// The context transformers' apply_chat_template makes of {"messages", "tools", "documents", "add_generation_prompt",
/// "enable_thinking", "kwargs", "bos_token", "eos_token", …}. A message's null fields are dropped; its reasoning, under
/// whichever of the names reasoning_content, thinking and reasoning it comes, stands under the first two. Tools and
/// documents are none where absent, add_generation_prompt is false; kwargs stand beside the rest. Members whose name ends
/// with _token or _tokens are passed on; other keys are errors.
Result<Json> chat_context(const Json& input);

}  // namespace halyard

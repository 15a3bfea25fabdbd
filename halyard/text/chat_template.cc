#include "halyard/text/chat_template.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/base/guarded.h"
#include "halyard/base/utf8.h"
#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/parser.h"

namespace halyard {
namespace {

constexpr std::size_t max_source = std::size_t{1} << 20;

tl::unexpected<Error> located(const std::string& name, int line, const jinja::Failure& f) {
  return fail(f.code, fmt::format("chat template \"{}\", line {}: {}", name, f.line ? f.line : line, f.message));
}

}  // namespace

struct ChatTemplate::Impl {
  std::string name;
  jinja::Template parsed;
};

Result<ChatTemplate> ChatTemplate::parse(std::string source, std::string name) {
  return guarded([&]() -> Result<ChatTemplate> {
    const auto refuse = [&](std::string why) {
      return fail(Errc::bad_file, fmt::format("chat template \"{}\": {}", name, why));
    };
    if (source.size() > max_source)
      return refuse(fmt::format("at most {} bytes are allowed, not {}", max_source, source.size()));
    if (!is_utf8(source)) return refuse("not valid UTF-8");
    try {
      auto parsed = jinja::parse(source);
      return ChatTemplate(std::make_shared<const Impl>(Impl{std::move(name), std::move(parsed)}));
    } catch (const jinja::Failure& f) { return located(name, 1, f); }
  });
}

Result<std::string> ChatTemplate::render(const Json& context) const {
  return guarded([&]() -> Result<std::string> {
    if (!context.is_object())
      return fail(Errc::invalid_argument, fmt::format("chat template \"{}\": the context must be an object, not {}",
                                                      impl_->name, context.type_name()));
    jinja::Interpreter interpreter;
    try {
      return interpreter.render(impl_->parsed, context);
    } catch (const jinja::Failure& f) { return located(impl_->name, interpreter.line(), f); }
  });
}

namespace {

tl::unexpected<Error> refuse_input(const std::string& why) {
  return fail(Errc::invalid_argument, "chat input: " + why);
}

bool names_token(std::string_view key) { return key.ends_with("_token") || key.ends_with("_tokens"); }

/// Fields that are null are dropped. The first of reasoning_content, thinking and reasoning that is there stands under the
/// first two names as well: `thinking` before all else where the message has none.
Json normal_message(const Json& message) {
  Json out = Json::object();
  Json reasoning;
  for (const char* key : {"reasoning_content", "thinking", "reasoning"})
    if (reasoning.is_null()) reasoning = message[key];
  if (!reasoning.is_null()) out["thinking"] = reasoning;
  for (const auto& [key, value] : message.items())
    if (!value.is_null()) out[key] = value;
  if (!reasoning.is_null()) out["reasoning_content"] = reasoning;
  return out;
}

Result<Json> normal_messages(const Json& input) {
  const Json& messages = input["messages"];
  if (!messages.is_array()) return refuse_input("\"messages\" must be an array");
  Json out = Json::array();
  for (const auto& message : messages) {
    if (!message.is_object())
      return refuse_input(fmt::format("a message must be an object, not {}", message.type_name()));
    out.push_back(normal_message(message));
  }
  return out;
}

/// Tools or documents: null, or an array of objects.
Result<Json> objects(const Json& input, const char* key) {
  const Json& list = input[key];
  if (list.is_null()) return list;
  if (!list.is_array()) return refuse_input(fmt::format("\"{}\" must be an array or null", key));
  for (const auto& item : list)
    if (!item.is_object()) return refuse_input(fmt::format("\"{}\" must hold objects, not {}", key, item.type_name()));
  return list;
}

Result<void> check_keys(const Json& input) {
  constexpr std::string_view known[] = {"messages",       "tools", "documents", "kwargs", "add_generation_prompt",
                                        "enable_thinking"};
  for (const auto& [key, value] : input.items())
    if (!names_token(key) && std::find(std::begin(known), std::end(known), key) == std::end(known))
      return refuse_input(
          fmt::format("unknown key \"{}\"; known are {} and names that end with _token. What else a template "
                      "takes stands in \"kwargs\"",
                      key, fmt::join(known, ", ")));
  const Json& kwargs = input["kwargs"];
  if (!kwargs.is_object() && !kwargs.is_null()) return refuse_input("\"kwargs\" must be an object");
  for (const char* key : {"messages", "tools", "documents"})
    if (kwargs.contains(key)) return refuse_input(fmt::format("\"{}\" belongs beside \"kwargs\", not in it", key));
  for (const char* key : {"add_generation_prompt", "enable_thinking"})
    if (input.contains(key) && kwargs.contains(key))
      return refuse_input(fmt::format("\"{}\" stands both beside and in \"kwargs\"", key));
  return {};
}

}  // namespace

Result<Json> chat_context(const Json& input) {
  return guarded([&]() -> Result<Json> {
    if (!input.is_object()) return refuse_input(fmt::format("expected an object, not {}", input.type_name()));
    HALYARD_TRY(check_keys(input));
    Json context = Json::object();
    context["messages"] = HALYARD_TRY(normal_messages(input));
    context["tools"] = HALYARD_TRY(objects(input, "tools"));
    context["documents"] = HALYARD_TRY(objects(input, "documents"));
    const Json* prompt = input.find("add_generation_prompt");
    context["add_generation_prompt"] = prompt ? *prompt : Json(false);
    if (input.contains("enable_thinking")) context["enable_thinking"] = input["enable_thinking"];
    for (const auto& [key, value] : input.items())
      if (names_token(key) && !value.is_null()) context[key] = value;
    const Json& kwargs = input["kwargs"];
    for (const auto& [key, value] : kwargs.items()) context[key] = value;
    return context;
  });
}

}  // namespace halyard

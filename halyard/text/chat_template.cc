#include "halyard/text/chat_template.h"

#include <new>

#include <fmt/format.h>

#include "halyard/text/jinja/interpreter.h"
#include "halyard/text/jinja/parser.h"
#include "halyard/text/jinja/unicode.h"

namespace halyard {
namespace {

constexpr std::size_t max_source = std::size_t{1} << 20;

tl::unexpected<Error> located(const std::string& name, int line, const jinja::Failure& f) {
  return fail(f.code, fmt::format("chat template \"{}\", line {}: {}", name, f.line ? f.line : line, f.message));
}

tl::unexpected<Error> no_memory(const std::string& name) {
  return fail(Errc::out_of_memory, fmt::format("chat template \"{}\": out of memory", name));
}

}  // namespace

struct ChatTemplate::Impl {
  std::string name;
  jinja::Body body;
};

Result<ChatTemplate> ChatTemplate::parse(std::string source, std::string name) {
  const auto refuse = [&](std::string why) { return fail(Errc::bad_file, fmt::format("chat template \"{}\": {}", name, why)); };
  if (source.size() > max_source) return refuse(fmt::format("at most {} bytes are allowed, not {}", max_source, source.size()));
  if (!jinja::valid_utf8(source)) return refuse("not valid UTF-8");
  try {
    auto body = jinja::parse(source);
    return ChatTemplate(std::make_shared<const Impl>(Impl{std::move(name), std::move(body)}));
  } catch (const jinja::Failure& f) {
    return located(name, 1, f);
  } catch (const std::bad_alloc&) {
    return no_memory(name);
  }
}

Result<std::string> ChatTemplate::render(const OrderedJson& context) const {
  if (!context.is_object())
    return fail(Errc::invalid_argument, fmt::format("chat template \"{}\": the context must be an object, not {}",
                                                    impl_->name, context.type_name()));
  jinja::Interpreter interpreter;
  try {
    return interpreter.render(impl_->body, context);
  } catch (const jinja::Failure& f) {
    return located(impl_->name, interpreter.line(), f);
  } catch (const std::bad_alloc&) {
    return no_memory(impl_->name);
  }
}

Result<OrderedJson> chat_context(const OrderedJson& input) {
  const auto refuse = [](std::string why) { return fail(Errc::invalid_argument, "chat input: " + why); };
  if (!input.is_object()) return refuse(fmt::format("expected an object, not {}", input.type_name()));
  const auto member = [&](const char* key) {
    const auto it = input.find(key);
    return it == input.end() ? OrderedJson() : *it;
  };
  OrderedJson context = {{"messages", member("messages")},
                         {"tools", member("tools")},
                         {"documents", member("documents")},
                         {"add_generation_prompt", false}};
  if (!context["messages"].is_array()) return refuse("\"messages\" must be an array");
  for (const auto& message : context["messages"])
    if (!message.is_object()) return refuse(fmt::format("a message must be an object, not {}", message.type_name()));
  for (const char* key : {"tools", "documents"})
    if (!context[key].is_array() && !context[key].is_null()) return refuse(fmt::format("\"{}\" must be an array or null", key));
  const OrderedJson kwargs = member("kwargs");
  if (!kwargs.is_object() && !kwargs.is_null()) return refuse("\"kwargs\" must be an object");
  for (const auto& [key, value] : input.items())
    if ((key.ends_with("_token") || key.ends_with("_tokens")) && !value.is_null()) context[key] = value;
  for (const auto& [key, value] : kwargs.items()) context[key] = value;
  return context;
}

}  // namespace halyard

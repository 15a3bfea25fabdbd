#include "halyard/engine/chat.h"

#include <filesystem>

#include <fmt/format.h>

#include "halyard/base/file.h"

namespace halyard {
namespace {

/// The content of a file of the model, or no value where there is no such file.
Result<std::optional<std::string>> read_optional(const std::string& path) {
  Result<std::string> text = read_file(path);
  if (text) return std::move(*text);
  if (text.error().code == Errc::not_found) return std::nullopt;
  return fail(std::move(text).error());
}

Result<void> check_folder(const std::string& model_dir) {
  std::error_code error;
  if (std::filesystem::is_directory(model_dir, error)) return {};
  const bool there = std::filesystem::exists(model_dir, error);
  return there ? fail(Errc::unsupported, fmt::format("{}: expected a model folder, got a file", model_dir))
               : fail(Errc::not_found, fmt::format("{}: no such model folder", model_dir));
}

/// tokenizer_config.json, an empty object where it is not there.
Result<Json> load_config(const std::string& path) {
  const std::optional<std::string> text = HALYARD_TRY(read_optional(path));
  if (!text) return Json::object();
  Result<Json> config = parse_json(*text);
  if (!config) return fail(std::move(config).error(), path);
  if (!config->is_object()) return fail(Errc::bad_file, fmt::format("{}: expected a JSON object", path));
  return config;
}

tl::unexpected<Error> wrong_template(const std::string& path) {
  return fail(Errc::bad_file, fmt::format("{}: \"chat_template\" must be a string or a list of {{\"name\", \"template\"}}", path));
}

/// The template of `name` in a list of {"name", "template"}, null where there is none.
Result<const Json*> named_template(const Json& list, std::string_view name, const std::string& path) {
  for (const Json& entry : list) {
    const auto is_string = [&](const char* key) { return entry.is_object() && entry.contains(key) && entry.at(key).is_string(); };
    if (!is_string("name") || !is_string("template")) return wrong_template(path);
    if (entry.at("name").get_ref<const std::string&>() == name) return &entry.at("template");
  }
  return nullptr;
}

/// The source in tokenizer_config.json, null where it has none.
Result<const Json*> configured_template(const Json& config, bool tools, const std::string& path) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return nullptr;
  if (found->is_string()) return &*found;
  if (!found->is_array()) return wrong_template(path);
  const Json* with_tools = HALYARD_TRY(named_template(*found, "tool_use", path));
  return tools && with_tools ? with_tools : HALYARD_TRY(named_template(*found, "default", path));
}

}  // namespace

Result<std::optional<ChatTemplate>> load_chat_template(const std::string& model_dir, bool tools) {
  HALYARD_TRY(check_folder(model_dir));
  const std::string file = model_dir + "/chat_template.jinja";
  if (std::optional<std::string> source = HALYARD_TRY(read_optional(file)))
    return HALYARD_TRY(ChatTemplate::parse(std::move(*source), file));
  const std::string path = model_dir + "/tokenizer_config.json";
  const Json config = HALYARD_TRY(load_config(path));
  const Json* source = HALYARD_TRY(configured_template(config, tools, path));
  if (!source) return std::nullopt;
  return HALYARD_TRY(ChatTemplate::parse(source->get<std::string>(), path));
}

Result<OrderedJson> load_special_tokens(const std::string& model_dir) {
  HALYARD_TRY(check_folder(model_dir));
  const Json config = HALYARD_TRY(load_config(model_dir + "/tokenizer_config.json"));
  OrderedJson tokens = OrderedJson::object();
  for (const auto& [name, value] : config.items()) {
    if (!name.ends_with("_token")) continue;
    // an added token stands as {"content": "<s>", "lstrip": …}
    const Json& content = value.is_object() && value.contains("content") ? value.at("content") : value;
    if (content.is_string()) tokens[name] = content.get<std::string>();  // add_bos_token is a bool, bos_token may be null
  }
  return tokens;
}

Result<OrderedJson> with_special_tokens(OrderedJson input, const OrderedJson& tokens) {
  if (!input.is_object()) return fail(Errc::invalid_argument, "a chat input must be a JSON object");
  for (const auto& [name, value] : tokens.items())
    if (!input.contains(name)) input[name] = value;
  return input;
}

}  // namespace halyard

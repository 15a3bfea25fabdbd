#include "halyard/text/chat.h"

#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/base/guarded.h"
#include "halyard/text/tokenizer_config.h"

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
  return fail(
      Errc::bad_file,
      fmt::format(
          "{}: \"chat_template\" must be a string, an object of strings or a list of {{\"name\", \"template\"}}",
          path));
}

/// A template's text and the file it is from.
struct Source {
  std::string text, file;
};

/// A template by its name.
using Templates = std::map<std::string, Source>;

/// chat_template.jinja ("default") and additional_chat_templates/NAME.jinja.
Result<Templates> template_files(const std::string& model_dir) {
  Templates templates;
  const std::string file = model_dir + "/chat_template.jinja";
  if (auto source = HALYARD_TRY(read_optional(file))) templates["default"] = {std::move(*source), file};
  const std::string folder = model_dir + "/additional_chat_templates";
  constexpr std::string_view suffix = ".jinja";
  for (const std::string& name : names_in(folder).value_or(std::vector<std::string>())) {
    const std::string path = folder + "/" + name;
    if (name.size() > suffix.size() && name.ends_with(suffix))
      templates[name.substr(0, name.size() - suffix.size())] = {HALYARD_TRY(read_file(path)), path};
  }
  return templates;
}

/// "chat_template" of tokenizer_config.json: a string, an object of templates by name, or a list of {"name", "template"}.
Result<Templates> configured_templates(const Json& config, const std::string& path) {
  Templates templates;
  const Json& found = config["chat_template"];
  if (found.is_string()) templates["default"] = {found.get<std::string>(), path};
  else if (!found.is_null() && !found.is_object() && !found.is_array()) return wrong_template(path);
  for (const auto& [name, source] : found.items()) {
    if (!source.is_string()) return wrong_template(path);
    templates[std::string(name)] = {source.get<std::string>(), path};
  }
  for (const Json& entry : found) {
    const Json &name = entry["name"], &source = entry["template"];
    if (!name.is_string() || !source.is_string()) return wrong_template(path);
    templates[name.get<std::string>()] = {source.get<std::string>(), path};
  }
  return templates;
}

}  // namespace

Result<std::optional<ChatTemplate>> load_chat_template(const std::string& model_dir, bool tools) {
  return guarded([&]() -> Result<std::optional<ChatTemplate>> {
    HALYARD_TRY(check_folder(model_dir));
    Templates templates = HALYARD_TRY(template_files(model_dir));  // files replace what tokenizer_config.json has
    const std::string path = model_dir + "/tokenizer_config.json";
    if (templates.empty()) {
      const Json config = HALYARD_TRY(load_config(path));
      templates = HALYARD_TRY(configured_templates(config, path));
    }
    if (templates.empty()) return std::nullopt;
    auto chosen = tools ? templates.find("tool_use") : templates.end();
    if (chosen == templates.end()) chosen = templates.find("default");
    if (chosen == templates.end())
      return fail(Errc::bad_file,
                  fmt::format("{}: the model has several chat templates, none of them \"default\"", model_dir));
    return HALYARD_TRY(ChatTemplate::parse(std::move(chosen->second.text), chosen->second.file));
  });
}

Result<Json> load_special_tokens(const std::string& model_dir) {
  return guarded([&]() -> Result<Json> {
    HALYARD_TRY(check_folder(model_dir));
    const std::string file = HALYARD_TRY(read_optional(model_dir + "/tokenizer.json")).value_or("");
    const text::TokenizerConfig config = HALYARD_TRY(text::read_tokenizer_config(model_dir, file, nullptr));
    return Json::object_of(config.special_tokens);
  });
}

Result<Json> with_special_tokens(Json input, const Json& tokens) {
  return guarded([&]() -> Result<Json> {
    if (!input.is_object()) return fail(Errc::invalid_argument, "a chat input must be a JSON object");
    for (const auto& [name, value] : tokens.items())
      if (!input.contains(name)) input[name] = value;
    return input;
  });
}

}  // namespace halyard

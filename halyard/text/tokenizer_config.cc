#include "halyard/text/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/text/json_fields.h"

namespace halyard::text {
namespace {

constexpr std::uint64_t max_file = std::uint64_t{64} << 20;
constexpr std::string_view named_tokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                             "pad_token", "cls_token", "mask_token"};

// What transformers' classes take for bos and eos where no file names them. testdata/text/make_tokenizers.py lists them.
struct ClassDefaults {
  std::string_view name, bos, eos;  // name without "Fast"; empty: none
  bool sets_prefix_space;           // builds its byte-level pre-tokenizer itself, with its own add_prefix_space
};
constexpr ClassDefaults class_defaults[] = {
    {"CodeLlamaTokenizer", "<s>", "</s>", false},
    {"CohereTokenizer", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", false},
    {"GPT2Tokenizer", "<|endoftext|>", "<|endoftext|>", true},
    {"GPTNeoXTokenizer", "<|endoftext|>", "<|endoftext|>", true},
    {"GemmaTokenizer", "<bos>", "<eos>", false},
    {"LlamaTokenizer", "<s>", "</s>", false},
    {"Qwen2Tokenizer", "", "<|endoftext|>", true},
    {"Qwen3_5Tokenizer", "", "<|endoftext|>", true},
};

Result<Json> optional_object(const std::string& path) {
  auto text = read_file(path, max_file);
  if (!text && text.error().code == Errc::not_found) return Json::object();
  if (!text) return fail(text.error());
  HALYARD_TRY(refuse_lfs_pointer(*text, path));
  auto json = parse_json(*text, {.max_depth = 128, .unique_keys = false});
  if (!json) return fail(std::move(json).error(), path);
  if (!json->is_object()) return fail(Errc::bad_file, fmt::format("{}: expected a JSON object", path));
  return json;
}

bool is_token(const Json& value) { return value.is_string() || field(value, "content").is_string(); }
std::string content_of(const Json& token) { return (token.is_string() ? token : token["content"]).get<std::string>(); }

// A token as tokenizer.json writes it. One that is only a string is special.
Json entry_of(const Json& token, bool special) {
  if (token.is_string()) return Json::object({{"content", token}, {"special", true}, {"id", 0}});
  Json entry = token;
  entry.erase("__type");
  const bool already = field(token, "special").get<bool>();
  if (field(entry, "normalized").is_null()) entry["normalized"] = !already;
  entry["special"] = already || special;
  entry["id"] = 0;
  return entry;
}

bool is_empty(const Json& value) {
  return value.is_string() ? value.text().empty()
                           : (value.is_null() || value.is_array() || value.is_object()) && value.empty();
}

// The tokens by role, and those that are special without one.
struct Roles {
  std::map<std::string, Json> named;
  Json extra;  // a list, or null
};

void name_all(Roles& roles, const Json& tokens) {
  for (const auto& [name, token] : tokens.items())
    if (is_token(token)) roles.named[std::string(name)] = token;
}

Roles roles_of(Json config, const Json& map) {
  Roles roles;
  if (is_empty(field(config, "extra_special_tokens")) && config.contains("additional_special_tokens")) {
    Json extra = std::move(config["additional_special_tokens"]);
    config.erase("additional_special_tokens");
    config["extra_special_tokens"] = std::move(extra);
  }
  if (field(config, "extra_special_tokens").is_object()) {
    name_all(roles, config["extra_special_tokens"]);
    config.erase("extra_special_tokens");
  }
  for (const auto& [key, value] : map.items()) {
    Json token = value;
    if (key == "extra_special_tokens" && value.is_object()) {
      name_all(roles, value);
      continue;
    }
    if (key == "extra_special_tokens" && value.is_array() && field(config, key).is_array()) {
      token = config[key];
      for (const Json& more : value)
        if (std::find(token.begin(), token.end(), more) == token.end()) token.push_back(more);
    }
    if (value.is_object()) token["special"] = true;
    config[key] = token;
  }
  for (const auto& [key, value] : config.items())
    if (key.ends_with("_token") && is_token(value)) roles.named[std::string(key)] = value;
  roles.extra = config.contains("extra_special_tokens") ? config["extra_special_tokens"]
                                                        : field(config, "additional_special_tokens");
  return roles;
}

// added_tokens_decoder: {"151643": {"content": "<|endoftext|>", …}, …}.
Result<std::map<std::int64_t, Json>> decoder_of(const Json& decoder) {
  if (!decoder.is_object()) return wrong_field("added_tokens_decoder", "an object", decoder);
  std::map<std::int64_t, Json> tokens;
  for (const auto& [key, token] : decoder.items()) {
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || !token.is_object() || !is_token(token))
      return fail(Errc::bad_file,
                  fmt::format("added_tokens_decoder: expected a token by its id, got \"{}\"", key.substr(0, 40)));
    tokens[id] = token;
  }
  return tokens;
}

// The tokens of added_tokens.json, and over them those of tokenizer.json.
Result<std::map<std::int64_t, Json>> legacy_tokens(const Json& added, const Json& in_file, const Roles& roles) {
  std::set<std::string> special;
  for (const auto name : named_tokens)
    if (const auto it = roles.named.find(std::string(name)); it != roles.named.end())
      special.insert(content_of(it->second));
  if (roles.extra.is_array())
    for (const Json& token : roles.extra)
      if (is_token(token)) special.insert(content_of(token));
  std::map<std::int64_t, Json> tokens;
  for (const auto& [content, id] : added.items()) {
    const bool is_special = special.contains(std::string(content));
    tokens[HALYARD_TRY(token_id(id, fmt::format("the id of \"{}\"", content.substr(0, 100))))] =
        Json::object({{"content", content}, {"special", is_special}, {"normalized", !is_special}});
  }
  if (in_file.is_array())
    for (const Json& token : in_file)
      if (is_token(token) && field(token, "id").is_integer()) tokens[token["id"].get<std::int64_t>()] = token;
  return tokens;
}

bool is_standard(std::string_view name) {
  return std::find(std::begin(named_tokens), std::end(named_tokens), name) != std::end(named_tokens);
}

// The names of `roles` in the order in which their tokens are added: the standard ones, then a model's own as its
// tokenizer_config.json writes them.
std::vector<std::string> order_of(const Roles& roles, const Json& config) {
  std::vector<std::string> order;
  for (const auto name : named_tokens) order.emplace_back(name);
  if (std::all_of(roles.named.begin(), roles.named.end(), [](const auto& entry) { return is_standard(entry.first); }))
    return order;
  for (const auto& [key, value] : config.items())
    if (key.ends_with("_token") && !is_standard(key)) order.emplace_back(key);
  for (const auto& [key, value] : config["extra_special_tokens"].items()) order.emplace_back(key);
  for (const auto& [name, token] : roles.named) order.push_back(name);  // of other files
  return order;
}

void set_class_defaults(const Json& config, std::string_view tokenizer_json, Roles& roles, TokenizerConfig& out) {
  const Json& written = field(config, "tokenizer_class");
  std::string name = written.is_string() ? written.get<std::string>() : "";
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const auto* c = std::find_if(std::begin(class_defaults), std::end(class_defaults),
                               [&](const ClassDefaults& d) { return d.name == name; });
  // a Llama tokenizer that is byte-level is of no class, as in transformers
  if (c == std::end(class_defaults) ||
      (name == "LlamaTokenizer" && tokenizer_json.find("\"ByteLevel\"") != tokenizer_json.npos))
    return;
  if (!c->bos.empty() && !config.contains("bos_token")) roles.named.try_emplace("bos_token", c->bos);
  if (!c->eos.empty() && !config.contains("eos_token")) roles.named.try_emplace("eos_token", c->eos);
  if (const Json& space = field(config, "add_prefix_space"); c->sets_prefix_space && space.is_boolean())
    out.add_prefix_space = space.get<bool>();
}

}  // namespace

Result<TokenizerConfig> read_tokenizer_config(const std::string& folder, std::string_view tokenizer_json,
                                              const Json& in_file) {
  const std::string path = folder + "/tokenizer_config.json";
  const Json config = HALYARD_TRY(optional_object(path));
  TokenizerConfig out;
  const bool decoder = config.contains("added_tokens_decoder");
  const std::string map_path = folder + "/special_tokens_map.json", legacy_path = folder + "/added_tokens.json";
  const Json map = decoder ? Json::object() : HALYARD_TRY(optional_object(map_path));
  Roles roles = roles_of(config, map);
  set_class_defaults(config, tokenizer_json, roles, out);
  auto tokens = decoder ? decoder_of(config["added_tokens_decoder"])
                        : legacy_tokens(HALYARD_TRY(optional_object(legacy_path)), in_file, roles);
  if (!tokens) return fail(std::move(tokens).error(), decoder ? path : legacy_path);

  std::set<std::string> known, named;
  if (in_file.is_array())
    for (const Json& token : in_file)
      if (is_token(token)) known.insert(content_of(token));
  for (const auto& [name, token] : roles.named) named.insert(content_of(token));
  const auto add = [&](const Json& token, bool special, const std::string& file) {
    out.added.push_back({entry_of(token, special), file});
    known.insert(content_of(token));
  };
  for (const auto& [id, token] : *tokens) add(token, named.contains(content_of(token)), decoder ? path : legacy_path);
  const auto add_unless_known = [&](const Json& token, bool special, std::string_view key) {
    if (is_token(token) && !known.contains(content_of(token))) add(token, special, map.contains(key) ? map_path : path);
  };
  for (const std::string& name : order_of(roles, config))
    if (const auto it = roles.named.find(name); it != roles.named.end()) add_unless_known(it->second, true, name);
  if (roles.extra.is_array())
    for (const Json& token : roles.extra) add_unless_known(token, false, "extra_special_tokens");
  for (const auto& [name, token] : roles.named) out.special_tokens[name] = content_of(token);
  out.split_special_tokens = field(config, "split_special_tokens") == true;
  return out;
}

}  // namespace halyard::text

// What the files beside tokenizer.json say of a tokenizer: tokenizer_config.json, special_tokens_map.json, added_tokens.json.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/json.h"

namespace halyard::text {

/// A token of another file than tokenizer.json.
struct ForeignToken {
  Json entry;        ///< an object as in tokenizer.json's added_tokens
  std::string file;  ///< the path of the file that names it
};

struct TokenizerConfig {
  std::vector<ForeignToken> added;                    ///< after those of tokenizer.json, in this order
  std::map<std::string, std::string> special_tokens;  ///< "bos_token": "<s>", …: what templates may name
  bool split_special_tokens = false;                  ///< special tokens in a text are cut up like any text
  std::optional<bool> add_prefix_space;               ///< overrides that of the byte-level pre-tokenizer
};

/// Reads the files of a folder, any of which may be absent, as transformers does: added_tokens_decoder where
/// tokenizer_config.json has it, else special_tokens_map.json over tokenizer_config.json, and added_tokens.json.
/// `tokenizer_json` is the content of tokenizer.json and `in_file` its added_tokens; both may be empty where only the special
/// tokens are wanted. Errors name the file.
Result<TokenizerConfig> read_tokenizer_config(const std::string& folder, std::string_view tokenizer_json,
                                              const Json& in_file);

}  // namespace halyard::text

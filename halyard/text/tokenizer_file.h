// tokenizer.json as read: the two long lists apart, the rest as JSON.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "halyard/base/json.h"
#include "halyard/text/vocabulary.h"

namespace halyard::text {

struct TokenizerFile {
  Json rest;                           // everything but the two lists below
  std::vector<VocabularyEntry> vocab;  // model.vocab where it is an object, in the order written
  bool has_vocab = false;
  std::vector<std::pair<std::string, std::string>> merges;  // model.merges, in the order written: earlier is stronger
};

/// Reads in one pass, without a JSON tree of the lists: they are nearly all of a file of megabytes.
Result<TokenizerFile> read_tokenizer_file(std::string_view json);

}  // namespace halyard::text

// The folders of testdata/text/tokenizer_files.json, written where a test can open them.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "halyard/base/json.h"
#include "halyard/testing/paths.h"

namespace halyard::testing {

/// What transformers makes of each; testdata/text/make_tokenizers.py made it.
inline Json tokenizer_files() {
  std::ifstream in(source_dir() / "testdata/text/tokenizer_files.json");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse_json(text, {.exact_integers = true}).value();
}

/// A folder with `files` beside the shared tokenizer.json; gone with the object.
class TokenizerFolder {
 public:
  TokenizerFolder(const Json& all, const Json& files) {
    std::string name = (std::filesystem::temp_directory_path() / "halyard-tokenizer-XXXXXX").string();
    if (::mkdtemp(name.data())) path_ = name;
    write("tokenizer.json", all["tokenizer.json"]);
    for (const auto& [file, content] : files.items()) write(std::string(file), content);
  }
  TokenizerFolder(const TokenizerFolder&) = delete;
  TokenizerFolder& operator=(const TokenizerFolder&) = delete;
  ~TokenizerFolder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }

 private:
  void write(const std::string& file, const Json& content) const {
    std::filesystem::create_directories((path_ / file).parent_path());
    std::ofstream(path_ / file) << (content.is_string() ? content.get<std::string>() : content.dump());
  }
  std::filesystem::path path_;
};

}  // namespace halyard::testing

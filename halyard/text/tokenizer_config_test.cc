#include "halyard/text/tokenizer_config.h"

#include <gtest/gtest.h>

#include "halyard/testing/tokenizer_files.h"
#include "halyard/text/tokenizer.h"

namespace halyard {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(TokenizerConfig, TheFilesOfAFolderMeanWhatTransformersTakesThemFor) {
  const Json all = testing::tokenizer_files();
  const auto text = all["text"].get<std::string>();
  ASSERT_GT(all["cases"].size(), 30U);
  for (const auto& [name, c] : all["cases"].items()) {
    SCOPED_TRACE(name);
    const testing::TokenizerFolder folder(all, c["files"]);
    const auto tokenizer = Tokenizer::load_folder(folder.path());
    ASSERT_TRUE(tokenizer) << tokenizer.error().str();
    const Ids ids = c["ids"].get<Ids>();
    EXPECT_EQ(tokenizer->encode(text, false).value(), ids);
    EXPECT_EQ(tokenizer->decode(ids, true).value(), c["skipped"].get<std::string>());
    std::map<std::string, std::string> special;
    for (const auto& [role, token] : c["special_tokens"].items()) special[std::string(role)] = token.get<std::string>();
    if (c["class"] != "TokenizersBackend") special.erase("unk_token");  // of a class only bos and eos are known
    EXPECT_EQ(tokenizer->special_tokens(), special);
    if (!c["eos"].is_null()) {
      EXPECT_EQ(tokenizer->token_to_id(tokenizer->special_tokens().at("eos_token")), c["eos"].get<int>());
    }
  }
}

TEST(TokenizerConfig, RefusesFilesThatAreNotWhatTheyShouldBeByName) {
  const Json all = testing::tokenizer_files();
  const struct {
    const char *file, *content, *mention;
  } cases[] = {{"tokenizer_config.json", "[", "JSON"},
               {"tokenizer_config.json", "[]", "object"},
               {"tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "a"}}})", "\"x\""},
               {"tokenizer_config.json", R"({"added_tokens_decoder": {"1": 5}})", "added_tokens_decoder"},
               {"tokenizer_config.json", R"({"added_tokens_decoder": []})", "added_tokens_decoder"},
               {"tokenizer_config.json", R"({"eos_token": {"content": "a", "lstrip": 5}})", "lstrip"},
               {"special_tokens_map.json", "5", "object"},
               {"special_tokens_map.json", "null", "object"},  // an AttributeError in transformers 5.24.0
               {"added_tokens.json", R"({"<a>": -1})", "<a>"},
               {"added_tokens.json", "version https://git-lfs.github.com/spec/v1\n", "Git LFS"}};
  for (const auto& c : cases) {
    const testing::TokenizerFolder folder(all, Json::object({{c.file, c.content}}));
    const auto tokenizer = Tokenizer::load_folder(folder.path());
    ASSERT_FALSE(tokenizer) << c.content;
    EXPECT_NE(tokenizer.error().str().find(c.mention), std::string::npos) << tokenizer.error().str();
    EXPECT_EQ(tokenizer.error().str().find(folder.path() + "/" + c.file + ": "), 0U) << tokenizer.error().str();
  }
}

TEST(TokenizerConfig, TellsWhichFileATokenComesFrom) {
  const Json all = testing::tokenizer_files();
  const auto file_of = [&](const Json& files) {
    const testing::TokenizerFolder folder(all, files);
    const auto tokenizer = Tokenizer::load_folder(folder.path());
    EXPECT_TRUE(tokenizer) << tokenizer.error().str();
    const auto id = tokenizer ? tokenizer->token_to_id("<new>") : std::nullopt;
    EXPECT_TRUE(id);
    return id ? tokenizer->file_of(*id).substr(folder.path().size() + 1) : "";
  };
  EXPECT_EQ(
      file_of(Json::object({{"tokenizer_config.json", R"({"added_tokens_decoder": {"99": {"content": "<new>"}}})"}})),
      "tokenizer_config.json");
  EXPECT_EQ(file_of(Json::object({{"tokenizer_config.json", R"({"eos_token": "<new>"})"}})), "tokenizer_config.json");
  EXPECT_EQ(file_of(Json::object({{"special_tokens_map.json", R"({"eos_token": "<new>"})"}})),
            "special_tokens_map.json");
  EXPECT_EQ(file_of(Json::object({{"added_tokens.json", R"({"<new>": 99})"}})), "added_tokens.json");
}

}  // namespace
}  // namespace halyard

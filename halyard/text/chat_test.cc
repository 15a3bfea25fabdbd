#include "halyard/text/chat.h"

#include <gtest/gtest.h>

#include "halyard/testing/tokenizer_files.h"

namespace halyard {
namespace {

TEST(ChatFiles, TheTemplateIsTheOneThatTransformersTakes) {
  const Json all = testing::tokenizer_files();
  const Json empty = Json::object({{"messages", Json::array()}});
  for (const auto& [name, c] : all["cases"].items()) {
    const testing::TokenizerFolder folder(all, c["files"]);
    for (const bool tools : {false, true}) {
      SCOPED_TRACE(std::string(name) + (tools ? " with tools" : ""));
      const Json& want = c[tools ? "tool_template" : "template"];
      const auto chat = load_chat_template(folder.path(), tools);
      const bool found = chat && *chat;
      EXPECT_EQ(found, !want.is_null());
      if (found && !want.is_null()) { EXPECT_EQ((*chat)->render(empty).value(), want.get<std::string>()); }
    }
  }
}

TEST(ChatFiles, SpecialTokensAreThoseThatTransformersGivesATemplate) {
  const Json all = testing::tokenizer_files();
  for (const auto& [name, c] : all["cases"].items()) {
    const testing::TokenizerFolder folder(all, c["files"]);
    Json want = Json(c["special_tokens"]);
    if (c["class"] != "TokenizersBackend") want.erase("unk_token");
    EXPECT_EQ(Json(load_special_tokens(folder.path()).value()), want) << name;
  }
}

}  // namespace
}  // namespace halyard

#include "halyard/text/tokenizer.h"

#include <chrono>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "halyard/base/file.h"
#include "halyard/base/json.h"
#include "halyard/testing/paths.h"

namespace halyard {
namespace {

using Ids = std::vector<std::int32_t>;

struct Case {
  std::string text;
  Ids ids;
  Ids ids_special;
  std::string decoded;
  std::string decoded_skip_special;
};

std::string folder_of(const std::string& kind) { return "text/tokenizers/" + kind; }

std::vector<Case> read_cases(const std::string& path) {
  std::ifstream in(path);
  std::vector<Case> cases;
  for (std::string line; std::getline(in, line);) {
    const auto json = parse_json(line);
    if (!json) {
      ADD_FAILURE() << path << ": " << json.error().str();
      break;
    }
    Case c{(*json)["text"], (*json)["ids"], {}, (*json)["decoded"], (*json)["decoded_skip_special"]};
    c.ids_special = (*json)["ids_special"].is_null() ? c.ids : (*json)["ids_special"].get<Ids>();
    cases.push_back(std::move(c));
  }
  return cases;
}

class Golden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto json = testing::golden(folder_of(GetParam()) + "/tokenizer.json");
    const auto list = testing::golden(folder_of(GetParam()) + "/cases.jsonl");
    if (json.empty() || list.empty()) GTEST_SKIP() << "no golden " << folder_of(GetParam());
    auto loaded = Tokenizer::load(json);
    ASSERT_TRUE(loaded) << loaded.error().str();
    tokenizer_.emplace(*std::move(loaded));
    cases_ = read_cases(list);
    ASSERT_FALSE(cases_.empty());
  }
  std::optional<Tokenizer> tokenizer_;
  std::vector<Case> cases_;
};

TEST_P(Golden, EncodesAsTheTokenizersLibraryDoes) {
  for (const Case& c : cases_) {
    const auto ids = tokenizer_->encode(c.text, false);
    ASSERT_TRUE(ids) << ids.error().str();
    EXPECT_EQ(*ids, c.ids) << "text: " << c.text;
    EXPECT_EQ(*tokenizer_->encode(c.text, true), c.ids_special) << "text: " << c.text;
  }
}

TEST_P(Golden, DecodesAsTheTokenizersLibraryDoes) {
  for (const Case& c : cases_) {
    EXPECT_EQ(tokenizer_->decode(c.ids, false).value(), c.decoded) << "text: " << c.text;
    EXPECT_EQ(tokenizer_->decode(c.ids, true).value(), c.decoded_skip_special) << "text: " << c.text;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, Golden, ::testing::Values("qwen2", "llama3", "gpt2", "o200k", "deepseek", "starcoder", "added"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace halyard

#include "halyard/engine/text_model.h"

#include <fstream>

#include <gtest/gtest.h>

#include "halyard/io/model_dir.h"
#include "halyard/testing/tokenizer_files.h"

namespace halyard {
namespace {

TEST(TextModel, AnEosThatOnlyTheTokenizersFilesNameEndsAText) {
  const Json all = testing::tokenizer_files();
  for (const auto& [name, c] : all["cases"].items()) {
    const testing::TokenizerFolder folder(all, c["files"]);
    std::ofstream(folder.path() + "/config.json") << "{}";
    const std::string header = "{}      ";
    std::ofstream(folder.path() + "/model.safetensors", std::ios::binary)
        << std::string("\x08\0\0\0\0\0\0\0", 8) + header;
    const auto dir = ModelDir::open(folder.path());
    ASSERT_TRUE(dir) << dir.error().str();
    const auto text = engine::TextModel::load(*dir, false);
    ASSERT_TRUE(text) << text.error().str();
    std::vector<std::int32_t> stop;
    if (!c["eos"].is_null()) stop.push_back(c["eos"].get<std::int32_t>());
    EXPECT_EQ(text->stop_ids(), stop) << name;
  }
}

}  // namespace
}  // namespace halyard

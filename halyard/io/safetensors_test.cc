#include "halyard/io/safetensors.h"
#include "halyard/io/config.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/io/model_dir.h"
#include "halyard/testing/cpu_time.h"
#include "halyard/testing/paths.h"
#include "halyard/testing/patience.h"

namespace halyard {
namespace {

namespace fs = std::filesystem;

class SafeTensorsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "halyard-io-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  fs::path folder_;
};

TEST_F(SafeTensorsTest, WhatIsWrittenIsReadBack) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<std::uint8_t> b = {7, 8, 9};
  const std::vector<TensorToWrite> tensors = {{"odd", DType::u8, {3}, std::as_bytes(std::span(b))},
                                              {"größe", DType::f32, {2, 3}, std::as_bytes(std::span(a))},
                                              {"empty", DType::bf16, {0, 4}, {}}};
  ASSERT_TRUE(write_safetensors(path("t.safetensors"), tensors, {{"format", "mlx"}}));
  const auto read = SafeTensors::open(path("t.safetensors"));
  ASSERT_TRUE(read) << read.error().str();
  ASSERT_EQ(read->tensors().size(), 3U);
  EXPECT_EQ(read->metadata(), (Metadata{{"format", "mlx"}}));
  for (const TensorToWrite& want : tensors) {
    const Tensor* got = read->find(want.name);
    ASSERT_NE(got, nullptr) << want.name;
    EXPECT_EQ(got->dtype, want.dtype);
    EXPECT_EQ(got->shape, want.shape);
    EXPECT_TRUE(std::equal(got->data.begin(), got->data.end(), want.data.begin(), want.data.end()));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(got->data.data()) % size_of(got->dtype), 0U);
  }
  EXPECT_EQ(read->find("od"), nullptr);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);  // no temporary file is left
}

TEST_F(SafeTensorsTest, ATensorKeepsItsFileMapped) {
  const std::vector<std::int32_t> x = {1, 2, 3};
  const TensorToWrite t{"x", DType::i32, {3}, std::as_bytes(std::span(x))};
  ASSERT_TRUE(write_safetensors(path("t"), {&t, 1}));
  Tensor kept;
  {
    const auto read = SafeTensors::open(path("t"));
    ASSERT_TRUE(read);
    kept = *read->find("x");
  }
  EXPECT_EQ(*kept.file, path("t"));
  EXPECT_EQ(std::to_integer<int>(kept.data[4]), 2);
}

TEST_F(SafeTensorsTest, WritingRefusesWhatCannotBeReadBack) {
  const std::vector<std::uint8_t> b = {1, 2};
  const auto bytes = std::as_bytes(std::span(b));
  const auto refused = [&](std::vector<TensorToWrite> tensors, const Metadata& metadata = {}) {
    const bool ok = write_safetensors(path("t"), tensors, metadata).has_value();
    return !ok && fs::is_empty(folder_);
  };
  EXPECT_TRUE(refused({{"a", DType::u8, {3}, bytes}}));
  EXPECT_TRUE(refused({{"a", DType::u8, {2}, bytes}, {"a", DType::u8, {2}, bytes}}));
  EXPECT_TRUE(refused({{"a\xff", DType::u8, {2}, bytes}}));
  EXPECT_TRUE(refused({{"__metadata__", DType::u8, {2}, bytes}}));
  EXPECT_TRUE(refused({}, {{"k", "\xff"}}));
  EXPECT_FALSE(write_safetensors(folder_.string(), {}));
  EXPECT_FALSE(write_safetensors(path("none/t"), {}));
}

// 100,000 experts' weights in five shards with an index, as a large mixture of experts has them.
TEST_F(SafeTensorsTest, ACheckpointOfManyExpertsOpensAtOnce) {
  constexpr int shards = 5, each = 20'000;
  const std::vector<std::uint8_t> w(2);
  Json map = Json::object();
  for (int s = 0; s < shards; ++s) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", s + 1, shards);
    std::vector<TensorToWrite> tensors;
    for (int i = 0; i < each; ++i) {
      tensors.push_back({fmt::format("model.layers.{}.mlp.experts.{}.down_proj.weight", i % 64, i * shards + s),
                         DType::bf16,
                         {1, 1},
                         std::as_bytes(std::span(w))});
      map[tensors.back().name] = file;
    }
    ASSERT_TRUE(write_safetensors(path(file), tensors));
  }
  std::ofstream(path("model.safetensors.index.json")) << Json::object({{"weight_map", map}});
  std::ofstream(path("config.json")) << "{}";
  const double start = testing::thread_ms();
  const auto model = ModelDir::open(folder_.string());
  const double ms = testing::thread_ms() - start;
  ASSERT_TRUE(model) << model.error().str();
  ASSERT_EQ(model->tensors().size(), std::size_t{shards} * each);
  EXPECT_TRUE(std::is_sorted(model->tensors().begin(), model->tensors().end(),
                             [](const Tensor& a, const Tensor& b) { return a.name < b.name; }));
  for (const auto& [name, file] : map.items()) {
    const Tensor* t = model->find(name);
    ASSERT_NE(t, nullptr) << name;
    ASSERT_EQ(*t->file, path(file.get<std::string>()));
  }
  fmt::print("100,000 tensors in {:.0f} ms\n", ms);
  EXPECT_LT(ms, 2000 * testing::patience);  // ten times what is wanted, for slow machines
}

// mlx-lm loads all model*.safetensors, transformers what the index names.
TEST_F(SafeTensorsTest, TheTensorsThatAreThereDecideAndTheIndexHelps) {
  const std::vector<std::uint8_t> first{1}, second{2};
  const auto shard = [&](const char* file, const std::vector<const char*>& names, const std::vector<std::uint8_t>& w) {
    std::vector<TensorToWrite> tensors;
    for (const char* name : names) tensors.push_back({name, DType::u8, {1}, std::as_bytes(std::span(w))});
    ASSERT_TRUE(write_safetensors(path(file), tensors));
  };
  const auto index = [&](const char* text) { std::ofstream(path("model.safetensors.index.json")) << text; };
  std::ofstream(path("config.json")) << "{}";
  shard("model-00001-of-00002.safetensors", {"a", "b"}, first);
  shard("model-00002-of-00002.safetensors", {"c", "d"}, first);
  for (const char* some : {R"({"weight_map":{"a":"model-00001-of-00002.safetensors"}})",
                           R"({"weight_map":{"d":"./model-00002-of-00002.safetensors"}})"}) {
    index(some);
    const auto model = ModelDir::open(folder_.string());
    ASSERT_TRUE(model) << model.error().str();
    EXPECT_EQ(model->tensors().size(), 4U);
    EXPECT_EQ(model->weight_files().size(), 2U);
  }
  // Of another way to cut the same model up, and of a download that broke off, shards are left.
  shard("model-00001-of-00003.safetensors", {"b", "c", "e"}, second);
  std::ofstream(path("model-00003-of-00003.safetensors")) << "cut off";
  index(R"({"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00001-of-00002.safetensors",
            "c":"model-00001-of-00003.safetensors","d":"model-00002-of-00002.safetensors"}})");
  const auto model = ModelDir::open(folder_.string());
  ASSERT_TRUE(model) << model.error().str();
  EXPECT_EQ(model->tensors().size(), 5U);
  for (const auto& [name, value] : std::map<std::string, int>{{"a", 1}, {"b", 1}, {"c", 2}, {"d", 1}, {"e", 2}})
    EXPECT_EQ(static_cast<int>(model->find(name)->data[0]), value) << name;
  index(R"({"weight_map":{"a":"model-00001-of-00002.safetensors"}})");
  EXPECT_NE(ModelDir::open(folder_.string()).error().str().find("tensor \"b\" is also in"), std::string::npos);
}

TEST_F(SafeTensorsTest, OfANameTwiceInTheIndexTheLastCounts) {
  const std::vector<std::uint8_t> w(1);
  const TensorToWrite a{"a", DType::u8, {1}, std::as_bytes(std::span(w))},
      b{"b", DType::u8, {1}, std::as_bytes(std::span(w))};
  ASSERT_TRUE(write_safetensors(path("model-1.safetensors"), {&b, 1}));
  ASSERT_TRUE(write_safetensors(path("model-2.safetensors"), {&a, 1}));
  std::ofstream(path("config.json")) << "{}";
  const auto index = [&](const char* text) { std::ofstream(path("model.safetensors.index.json")) << text; };
  index(
      R"({"metadata":{"weight_map":[1]},"weight_map":{"b":"model-1.safetensors","a":"absent.safetensors","a":"model-2.safetensors"}})");
  const auto model = ModelDir::open(folder_.string());
  ASSERT_TRUE(model) << model.error().str();
  EXPECT_EQ(model->tensors().size(), 2U);
  index(R"({"weight_map":{"b":"./model-1.safetensors","c":"model-1.safetensors","c":"absent.safetensors"}})");
  EXPECT_NE(ModelDir::open(folder_.string()).error().str().find("absent.safetensors: there is no such file"),
            std::string::npos);
}

TEST(ModelDir, TheDefaultModelOpens) {
  const auto path = testing::default_model();
  if (!fs::exists(path)) GTEST_SKIP() << "no " << path;
  const auto model = ModelDir::open(path.string());
  ASSERT_TRUE(model) << model.error().str();
  EXPECT_EQ(model->config().string("model_type").value(), "qwen3");
  EXPECT_EQ(model->quantization_of("model.layers.0.mlp.down_proj").value(), (QuantConfig{4, 64, "affine"}));
  EXPECT_EQ(model->quantization_of("model.norm").value(), std::nullopt);
  EXPECT_TRUE(model->tokenizer().present && model->chat_template().present);
  EXPECT_TRUE(model->generation_config());
  EXPECT_NE(model->find("model.norm.weight"), nullptr);
  EXPECT_GT(model->weight_bytes(), 10'000'000U);
}

TEST(ModelDir, EveryFamilyOpens) {
  const auto families = testing::golden("families");
  if (families.empty()) GTEST_SKIP() << "no goldens/families";
  int opened = 0;
  for (const auto& entry : fs::directory_iterator(families)) {
    if (!entry.is_directory()) continue;
    const auto model = ModelDir::open(entry.path().string());
    EXPECT_TRUE(model) << model.error().str();
    ++opened;
  }
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace halyard

// The families against the logits of their judges: goldens/families.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>

#include "halyard/engine/sequence.h"
#include "halyard/io/config.h"
#include "halyard/io/safetensors.h"
#include "halyard/testing/json.h"
#include "halyard/testing/models.h"
#include "halyard/testing/paths.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;
using ops::Precision;

class Family : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    folder_ = golden(std::string("families/") + GetParam());
    if (folder_.empty()) GTEST_SKIP() << "the golden families/" << GetParam() << " is not here";
    auto golden = SafeTensors::open(folder_ / "golden.safetensors");
    ASSERT_TRUE(golden) << golden.error().str();
    golden_ = std::move(*golden);
  }

  models::Model load(Precision precision, int threads = 2) const { return load_model(folder_, precision, threads); }
  template <class T> std::vector<T> expected(const std::string& name) const { return values<T>(*golden_, name); }

  std::filesystem::path folder_;
  std::optional<SafeTensors> golden_;
};

TEST_P(Family, ExactLogitsAreTheJudgesHoweverThePromptIsCut) {
  const models::Model model = load(Precision::exact);
  for (const std::string i : {"0", "1"}) {
    const auto tokens = expected<std::int32_t>("tokens_" + i);
    const auto judged = expected<float>("logits_" + i);
    const double tolerance = 0.002 * standard_deviation(judged);
    const std::vector<float> whole = logits_of(model, tokens, tokens.size());
    EXPECT_LE(max_difference(whole, judged), tolerance) << "prompt " << i;
    EXPECT_EQ(logits_of(model, tokens, 5), whole) << "in chunks of 5, prompt " << i;
    EXPECT_EQ(logits_of(model, tokens, 1), whole) << "token by token, prompt " << i;
  }
}

TEST_P(Family, ExactGreedyTokensAreTheJudges) {
  const models::Model model = load(Precision::exact);
  const auto judged = expected<std::int32_t>("greedy_1");
  const auto margin = expected<float>("greedy_margin_1");
  const std::vector<std::int32_t> ours = greedy(model, expected<std::int32_t>("tokens_1"), judged.size());
  for (std::size_t i = 0; i < judged.size() && margin[i] >= 0.01F; ++i) ASSERT_EQ(ours[i], judged[i]) << "step " << i;
}

TEST_P(Family, FastLogitsAreCloseHoweverThePromptIsCut) {
  const models::Model model = load(Precision::fast);
  for (const std::string i : {"0", "1"}) {
    const auto tokens = expected<std::int32_t>("tokens_" + i);
    const auto judged = expected<float>("logits_" + i);
    for (const std::size_t chunk : {tokens.size(), std::size_t{5}, std::size_t{1}}) {
      EXPECT_LE(mean_kl(judged, logits_of(model, tokens, chunk), model.info().vocab_size), 0.01)
          << "prompt " << i << " in chunks of " << chunk;
    }
  }
}

TEST_P(Family, LogitsAreTheSameForAnyNumberOfThreadsWithAndWithoutSessions) {
  const auto tokens = expected<std::int32_t>("tokens_0");
  for (const Precision precision : {Precision::exact, Precision::fast}) {
    const std::vector<float> one = logits_of(load(precision, 1), tokens, 7);
    EXPECT_EQ(logits_of(load(precision, 2), tokens, 7), one);
    EXPECT_EQ(logits_of(load(precision, 5), tokens, 7), one);
    EXPECT_EQ(logits_of(load(precision, 2), tokens, 7, /*use_session=*/false), one);
  }
}

// A golden's folder with another config.json; gone with the object.
class Changed {
 public:
  Changed(const std::filesystem::path& golden, const std::function<void(Json&)>& change) {
    std::string name = (std::filesystem::temp_directory_path() / "halyard-family-XXXXXX").string();
    if (::mkdtemp(name.data())) path_ = name;
    std::filesystem::copy(golden, path_);
    Json config = expect(read_json_object(golden / "config.json", 1 << 20));
    change(config);
    std::ofstream(path_ / "config.json") << config.dump();
  }
  Changed(const Changed&) = delete;
  Changed& operator=(const Changed&) = delete;
  ~Changed() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void expect_judged_logits(const std::filesystem::path& model, const std::filesystem::path& golden) {
  const SafeTensors judged = expect(SafeTensors::open(golden / "golden.safetensors"));
  const auto tokens = values<std::int32_t>(judged, "tokens_1");
  const auto logits = values<float>(judged, "logits_1");
  const auto ours = logits_of(load_model(model, Precision::exact), tokens, tokens.size());
  EXPECT_LE(max_difference(ours, logits), 0.002 * standard_deviation(logits));
}

// mlx-lm 0.32 goes by the shapes where no override names the layer.
TEST(OddModel, BitsAndGroupsThatTheConfigHasWrongAreSettledByTheShapes) {
  const auto folder = golden("families/llama-affine4-g32");
  if (folder.empty()) GTEST_SKIP() << "no golden";
  for (const auto& [bits, group] : {std::pair{8, 32}, std::pair{4, 64}, std::pair{8, 128}}) {
    const Changed model(folder, [&, bits = bits, group = group](Json& config) {
      for (const char* key : {"quantization", "quantization_config"})
        if (config.contains(key)) config[key]["bits"] = bits, config[key]["group_size"] = group;
    });
    expect_judged_logits(model.path(), folder);
  }
}

// Absent, transformers 5.24 says untied for these families and mlx-lm tied: whether there is a head settles it.
TEST(OddModel, WithoutTieWordEmbeddingsTheHeadIsTheOneThatIsThere) {
  for (const char* name : {"families/llama", "families/qwen2"}) {
    const auto folder = golden(name);
    if (folder.empty()) GTEST_SKIP() << "no golden";
    const Changed model(folder, [](Json& config) { config.erase("tie_word_embeddings"); });
    expect_judged_logits(model.path(), folder);
  }
}

TEST(OddModel, ATensorThatIsWantedAndOfATypeThatIsNotKnownIsRefusedByItsTypesName) {
  for (const std::string type : {"F8_E4M3", "F8_E5M2", "C64"}) {
    const auto folder = golden("families/qwen2");
    if (folder.empty()) GTEST_SKIP() << "no golden";
    const Changed model(folder, [](Json&) {});
    const auto file = model.path() / "model.safetensors";
    std::ifstream in(file, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const std::string name = "model.norm.weight";
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    Json header = testing::json_of(bytes.substr(8, length));
    ASSERT_TRUE(header.contains(name));
    const std::string data = bytes.substr(8 + length);
    Json& entry = header[name];
    entry["dtype"] = type;
    const auto size = entry["data_offsets"][1].get<std::size_t>() - entry["data_offsets"][0].get<std::size_t>();
    entry["shape"] = Json::array({type == "C64" ? size / 8 : size});
    const std::string text = header.dump();
    length = text.size();
    std::string prefix(8, '\0');
    std::memcpy(prefix.data(), &length, 8);
    const std::string changed = prefix + text + data;
    std::ofstream(file, std::ios::binary) << changed;
    const ModelDir dir = expect(ModelDir::open(model.path()));
    const auto loaded = models::Model::load(expect(Device::open("cpu", {.cpu = {.threads = 1}})), dir, Precision::fast);
    ASSERT_FALSE(loaded);
    EXPECT_NE(loaded.error().str().find("got " + type), std::string::npos) << loaded.error().str();
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, Family,
                         ::testing::Values("gemma3_text", "gemma3_text-affine4-g32", "llama", "llama2",
                                           "llama-affine4-g32", "mamba2", "mistral", "qwen2", "qwen3",
                                           "qwen3-affine2-g64", "qwen3-affine3-g64", "qwen3-affine4-g32",
                                           "qwen3-affine4-g64", "qwen3-affine4-g128", "qwen3-affine5-g64",
                                           "qwen3-affine6-g64", "qwen3-affine8-g64", "qwen3_moe",
                                           "qwen3_moe-affine4-g32"),
                         [](const auto& p) {
                           std::string name = p.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace halyard::engine

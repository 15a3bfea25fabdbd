// Model directories that must be refused, each with an error that says what is wrong.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/environment.h"
#include "halyard/base/json.h"
#include "halyard/io/config.h"
#include "halyard/io/model_dir.h"
#include "halyard/testing/cpu_time.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/json.h"
#include "halyard/testing/paths.h"
#include "halyard/testing/patience.h"

namespace halyard {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

struct TempFolder {
  fs::path path;
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "halyard-bad-XXXXXX").string();
    if (::mkdtemp(name.data())) path = name;
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() { fs::remove_all(path); }
};

void write(const fs::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

std::string packed(std::string_view header, std::string_view data, std::uint64_t length) {
  std::string out(sizeof length, '\0');
  std::memcpy(out.data(), &length, sizeof length);
  return out.append(header).append(data);
}
std::string packed(std::string_view header, std::string_view data) { return packed(header, data, header.size()); }

// Two tensors: "a", f32 [2, 2], and "b", u8 [3].
Json header() {
  return *parse_json(R"({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                         "b": {"dtype": "U8", "shape": [3], "data_offsets": [16, 19]}, "__metadata__": {"format": "mlx"}})");
}
const std::string kData(19, '\0');
constexpr const char* kConfig = R"({"model_type": "qwen3", "quantization": {"bits": 4, "group_size": 32}})";

void write_model(const fs::path& folder) {
  write(folder / "config.json", kConfig);
  write(folder / kWeights, packed(header().dump(), kData));
}

struct Case {
  std::string name;
  std::function<void(const fs::path&)> change;
  Strings must_mention;
};

Case weights(std::string name, std::string content, Strings mention = {}) {
  mention.push_back(kWeights);
  return {std::move(name), [content](const fs::path& f) { write(f / kWeights, content); }, mention};
}
// The header with the value at `pointer` replaced.
Case entry(std::string name, const char* pointer, const char* value, Strings mention = {}) {
  Json h = header();
  testing::at_path(h, pointer) = *parse_json(value);
  return weights(std::move(name), packed(h.dump(), kData), std::move(mention));
}
Case config(std::string name, std::string content, Strings mention = {}) {
  mention.push_back("config.json");
  return {std::move(name), [content](const fs::path& f) { write(f / "config.json", content); }, mention};
}
Case quant(std::string name, const char* value, Strings mention) {
  return config(std::move(name), fmt::format(R"({{"quantization": {}}})", value), std::move(mention));
}
Case index(std::string name, const char* content, Strings mention = {}) {
  mention.push_back(kIndexFile);
  return {std::move(name),
          [content](const fs::path& f) {
            fs::rename(f / kWeights, f / "model-1.safetensors");  // beside model.safetensors no index is an error
            write(f / kIndexFile, content);
          },
          mention};
}
Case instead(std::string name, const char* file, std::function<void(const fs::path&)> make) {
  return {std::move(name),
          [=](const fs::path& f) {
            fs::remove(f / file);
            make(f / file);
          },
          {file}};
}

std::vector<Case> cases() {
  const std::string h = header().dump();
  const auto folder = [](const fs::path& p) { fs::create_directory(p); };
  const auto pipe = [](const fs::path& p) { ::mkfifo(p.c_str(), 0600); };
  const auto link = [](const char* to) { return [=](const fs::path& p) { fs::create_symlink(to, p); }; };
  const std::string twice = h.substr(0, h.size() - 1) + R"(,"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})";
  return {
      weights("empty", ""),
      weights("seven bytes", "1234567"),
      weights("length 0", packed(h, kData, 0)),
      weights("length past the file", packed(h, kData, 1'000'000'000)),
      weights("length 2^63 + 8", packed(h, kData, (1ULL << 63) + 8)),
      weights("length 2^64 - 8", packed(h, kData, ~7ULL)),
      weights("length short", packed(h, kData, h.size() - 5)),
      weights("not json", packed("{nothing}", kData)),
      weights("not utf-8", packed("{\"\xff\": 1}", kData)),
      weights("array", packed("[]", "")),
      weights("deep", packed("{\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}", "")),
      weights("text after the header", packed(h + "x", kData)),
      weights("a byte short", packed(h, kData.substr(1))),
      weights("a byte too many", packed(h, kData + "x")),
      weights("a tensor twice", packed(twice, kData), {"a"}),
      entry("entry a number", "/a", "7", {"\"a\""}),
      entry("dtype unknown", "/a/dtype", "\"F13\"", {"F13", "dtype"}),
      entry("dtype a number", "/a/dtype", "4", {"dtype"}),
      entry("dtype absent", "/a", R"({"shape": [4], "data_offsets": [0, 16]})", {"dtype", "absent"}),
      entry("extent negative", "/a/shape", "[-2, -2]", {"shape"}),
      entry("extent a fraction", "/a/shape", "[2.5, 2]", {"shape", "2.5"}),
      entry("shape a string", "/a/shape", "\"2x2\"", {"shape"}),
      entry("nine extents", "/a/shape", "[1,1,1,1,1,1,1,2,2]", {"shape", "9"}),
      entry("elements wrap", "/a/shape", "[4294967296, 4294967296]", {"shape", "64 bits"}),
      entry("bytes wrap", "/a/shape", "[4611686018427387904]", {"shape", "64 bits"}),
      entry("petabytes", "/c",
            R"({"dtype": "U8", "shape": [4503599627370496], "data_offsets": [19, 4503599627370515]})", {"\"c\""}),
      entry("offsets reversed", "/a/data_offsets", "[16, 0]", {"data_offsets"}),
      entry("offset 2^64", "/a/data_offsets", "[0, 18446744073709551616]", {"data_offsets"}),
      entry("offset negative", "/a/data_offsets", "[-16, 0]", {"data_offsets"}),
      entry("three offsets", "/a/data_offsets", "[0, 16, 16]", {"data_offsets"}),
      entry("overlap", "/b/data_offsets", "[15, 18]", {"\"b\"", "same bytes"}),
      entry("size", "/a/shape", "[2, 1]", {"\"a\"", "16", "8"}),
      entry("metadata a number", "/__metadata__/format", "7", {"__metadata__"}),
      entry("name with NUL", "/a\\u0000", "7", {"a"}),
      {"hole",
       [](const fs::path& f) {
         Json g = header();
         g["b"]["data_offsets"] = Json::array({17, 20});
         write(f / kWeights, packed(g.dump(), kData + "x"));
       },
       {kWeights, "\"b\""}},
      config("config empty", ""),
      config("config an array", "[]"),
      config("config cut", R"({"model_type": )"),
      config("config not utf-8", "{\"a\": \"\xff\"}"),
      config("config deep", "{\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"),
      quant("7 bits", R"({"bits": 7, "group_size": 32})", {"bits", "7"}),
      quant("bits a string", R"({"bits": "4"})", {"bits", "\"4\""}),
      quant("groups of 48", R"({"bits": 4, "group_size": 48})", {"group_size", "48"}),
      quant("groups of 0", R"({"bits": 4, "group_size": 0})", {"group_size"}),
      quant("mode unknown", R"({"mode": "quadratic"})", {"quadratic"}),
      quant("mxfp4 in groups of 64", R"({"mode": "mxfp4", "group_size": 64})", {"group_size", "mxfp4"}),
      quant("override", R"({"bits": 4, "group_size": 32, "x.y": {"bits": 9}})", {"x.y", "bits"}),
      quant("quantization a string", "\"4bit\"", {"quantization"}),
      index("index not json", "{"),
      index("index without a map", "{}", {"weight_map"}),
      index("index map a list", R"({"weight_map": ["a"]})", {"weight_map"}),
      index("index map empty", R"({"weight_map": {}})", {"weight_map"}),
      index("shard a number", R"({"weight_map": {"a": 2}})", {"\"a\""}),
      index("shard above", R"({"weight_map": {"a": "../outside"}})", {"../outside"}),
      index("shard a device", R"({"weight_map": {"a": "/dev/zero"}})", {"/dev/zero"}),
      index("shard a dot", R"({"weight_map": {"a": "."}})"),
      index("shard with NUL", R"({"weight_map": {"a": "model.safetensors\u0000.txt"}})"),
      index("tensor in no shard", R"({"weight_map": {"nobody": "model.safetensors"}})", {"nobody"}),
      index("shard absent", R"({"weight_map": {"a": "model-1.safetensors", "c": "gone.safetensors"}})",
            {"gone.safetensors", "\"c\""}),
      {"tensor in two shards",
       [](const fs::path& f) { fs::copy_file(f / kWeights, f / "model-2.safetensors"); },
       {"model-2.safetensors"}},
      {"no weights", [](const fs::path& f) { fs::remove(f / kWeights); }, {"weights"}},
      instead("config absent", "config.json", [](const fs::path&) {}),
      instead("config a folder", "config.json", folder),
      instead("config a pipe", "config.json", pipe),
      instead("config endless", "config.json", link("/dev/zero")),
      instead("config dangling", "config.json", link("nothing")),
      instead("weights a folder", kWeights, folder),
      instead("weights a pipe", kWeights, pipe),
      instead("weights endless", kWeights, link("/dev/zero")),
      instead("weights dangling", kWeights, link("nothing")),
      instead("weights a circle", kWeights, link(kWeights)),
      instead("tokenizer a pipe", "tokenizer.json", pipe),
      instead("tokenizer a folder", "tokenizer.json", folder),
  };
}

TEST(BadInput, TheModelThatTheFaultsArePlantedInOpens) {
  const TempFolder folder;
  write_model(folder.path);
  const auto model = ModelDir::open(folder.path.string());
  ASSERT_TRUE(model) << model.error().str();
  EXPECT_EQ(model->tensors().size(), 2U);
}

TEST(BadInput, IsRefusedNamingTheFaultQuicklyAndInLittleMemory) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const TempFolder folder;
    write_model(folder.path);
    c.change(folder.path);
    const testing::LargestNew largest;
    const double start = testing::thread_ms();
    const auto model = ModelDir::open(folder.path.string());
    const double ms = testing::thread_ms() - start;
    ASSERT_FALSE(model);
    const std::string error = model.error().str();
    for (const std::string& word : c.must_mention)
      EXPECT_NE(error.find(word), error.npos) << error << "\nlacks " << word;
    EXPECT_EQ(error.find('\n'), error.npos);
    EXPECT_LT(error.size(), 1000U);
    EXPECT_LT(ms, 50 * testing::patience);
    EXPECT_LT(largest.bytes(), 1U << 20);
  }
}

TEST(BadInput, PathsThatAreNoFolderAreRefusedByName) {
  const TempFolder folder;
  write(folder.path / "notes.txt", "Dear diary");
  write(folder.path / "x.bin", std::string("GGUF\3\0\0\0", 8));
  const auto open = [&](const char* name) { return ModelDir::open((folder.path / name).string()); };
  EXPECT_EQ(open("nobody").error().code, Errc::not_found);
  EXPECT_NE(open("notes.txt").error().str().find("notes.txt: a model is a folder or a .gguf file"), std::string::npos);
  EXPECT_EQ(open("x.bin").error().code, Errc::unsupported);
  EXPECT_EQ(ModelDir::open(std::string("a\0b", 3)).error().code, Errc::invalid_argument);
}

// mlx-lm 0.32 and transformers 5.24 load all of these: the former never reads the index, the latter only where there is no
// model.safetensors.
TEST(OddInput, AGoodWeightFileDecidesWhateverTheIndexBesideItSays) {
  for (const char* content : {"", "{", "{}", R"({"weight_map": {}})", R"({"weight_map": {"a": "gone.safetensors"}})",
                              R"({"weight_map": {"a": 2}})", R"({"weight_map": {"a": "../outside"}})",
                              R"({"weight_map": {"a": "./model.safetensors", "extra": "model.safetensors"}})"}) {
    const TempFolder folder;
    write_model(folder.path);
    write(folder.path / kIndexFile, content);
    const auto model = ModelDir::open(folder.path.string());
    ASSERT_TRUE(model) << content << ": " << model.error().str();
    EXPECT_EQ(model->tensors().size(), 2U);
  }
}

TEST(OddInput, ShardsDecideWhereTheIndexHasWrongEntries) {
  for (const char* content :
       {R"({"weight_map": {"a": "./model-1.safetensors"}})", R"({"weight_map": {"a": "gone.safetensors"}})",
        R"({"weight_map": {"a": "model-1.safetensors", "extra": "model-1.safetensors"}})"}) {
    const TempFolder folder;
    write_model(folder.path);
    fs::rename(folder.path / kWeights, folder.path / "model-1.safetensors");
    write(folder.path / kIndexFile, content);
    const auto model = ModelDir::open(folder.path.string());
    ASSERT_TRUE(model) << content << ": " << model.error().str();
    EXPECT_EQ(model->tensors().size(), 2U);
  }
}

TEST(OddInput, MetadataMayBeNullAndUnusedTensorsOfAnyTypeOfTheFormat) {
  const TempFolder folder;
  write_model(folder.path);
  Json h = header();
  h["__metadata__"] = nullptr;
  h["a"]["dtype"] = "C64";
  h["a"]["shape"] = Json::array({2});
  write(folder.path / kWeights, packed(h.dump(), kData));
  const auto model = ModelDir::open(folder.path.string());
  ASSERT_TRUE(model) << model.error().str();
  EXPECT_EQ(model->find("a")->type, "C64");
}

TEST(OddInput, PythonsWordsForFloatsAreNumbers) {
  const TempFolder folder;
  write_model(folder.path);
  write(folder.path / "config.json",
        R"({"a": Infinity, "b": [-Infinity, NaN, 1], "c": "Infinity \" NaN", "d": {"__float__": "NaN"}})");
  write(folder.path / "generation_config.json", R"({"x": NaN})");
  const auto model = ModelDir::open(folder.path.string());
  ASSERT_TRUE(model) << model.error().str();
  EXPECT_EQ(model->config().number("a", {.non_finite = true}).value(), HUGE_VAL);
  EXPECT_EQ(model->config().json()["b"][0].get<double>(), -HUGE_VAL);
  EXPECT_TRUE(std::isnan(model->config().json()["b"][1].get<double>()));
  EXPECT_TRUE(std::isnan(model->config().json()["d"].get<double>()));
  EXPECT_EQ(model->config().string("c").value(), "Infinity \" NaN");
  EXPECT_NE(model->config().integer("a", 0, 9).error().str().find("got Infinity"), std::string::npos);
  write(folder.path / "config.json", "{\"a\": Infinityx}");
  EXPECT_FALSE(ModelDir::open(folder.path.string()));
}

// testdata/io/make_files.py asked safetensors, mlx and Python's json.
TEST(OddInput, HeadersAndNumbersAreTakenWhereTheReferencesTakeThem) {
  std::ifstream in(testing::source_dir() / "testdata/io/files.json");
  const Json expected = parse_json(std::string{std::istreambuf_iterator<char>(in), {}}).value();
  const TempFolder folder;
  write_model(folder.path);
  for (const Json& c : expected["safetensors"]) {
    write(folder.path / kWeights, packed(c[0].dump(), std::string(16, '\0')));
    EXPECT_EQ(ModelDir::open(folder.path.string()).has_value(), c[1].get<bool>()) << c[0].dump();
  }
  std::string saved;
  const auto hex = expected["saved"].get<std::string>();
  for (std::size_t i = 0; i < hex.size(); i += 2) saved += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  write(folder.path / kWeights, saved);
  EXPECT_TRUE(ModelDir::open(folder.path.string()));
  for (const Json& c : expected["json"]) {
    write(folder.path / "config.json", c[0].get<std::string>());
    const auto model = ModelDir::open(folder.path.string());
    EXPECT_EQ(model.has_value(), !c[1].is_null()) << c[0];
    const Json& x = model ? model->config().json()["x"] : Json();
    if (c[1] == "inf" || c[1] == "-inf" || c[1] == "nan") {
      EXPECT_EQ(fmt::format("{}", x.get<double>()), c[1].get<std::string>());
    }
  }
}

TEST(OddInput, TheRootOfAHubCacheFolderMeansItsSnapshot) {
  const TempFolder folder;
  const fs::path root = folder.path / "models--org--name";
  fs::create_directories(root / "refs");
  for (const char* commit : {"abc", "def"}) {
    fs::create_directories(root / "snapshots" / commit);
    write_model(root / "snapshots" / commit);
  }
  EXPECT_NE(ModelDir::open(root.string()).error().str().find("2 snapshots"), std::string::npos);
  write(root / "refs" / "main", "def\n");
  EXPECT_TRUE(ModelDir::open(root.string()).value().path().ends_with("snapshots/def"));
  fs::remove(root / "refs" / "main");
  fs::remove_all(root / "snapshots" / "def");
  EXPECT_TRUE(ModelDir::open(root.string() + "/").value().path().ends_with("snapshots/abc"));
}

TEST(BadInput, LfsPointersAndNamesOfTheHubAreCalledThat) {
  const TempFolder folder;
  constexpr const char* pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  for (const char* file : {kWeights, "config.json"}) {
    write_model(folder.path);
    write(folder.path / file, pointer);
    const std::string error = ModelDir::open(folder.path.string()).error().str();
    EXPECT_NE(error.find(std::string(file) + ": a Git LFS pointer"), std::string::npos) << error;
  }
  EXPECT_NE(ModelDir::open("mlx-community/Qwen3-0.6B-4bit").error().str().find("on the Hub"), std::string::npos);
  EXPECT_EQ(ModelDir::open("./no/folder").error().str().find("on the Hub"), std::string::npos);
}

TEST(BadInput, OverridesDecideOverTheRest) {
  const TempFolder folder;
  write_model(folder.path);
  write(
      folder.path / "config.json",
      R"({"quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4", "x": {"bits": 8, "group_size": 64}, "y": false, "z": true}})");
  const auto model = ModelDir::open(folder.path.string());
  ASSERT_TRUE(model) << model.error().str();
  EXPECT_EQ(model->quantization_of("x").value(), (QuantConfig{8, 64, "affine"}));
  EXPECT_EQ(model->quantization_of("y").value(), std::nullopt);
  EXPECT_EQ(model->quantization_of("z").value(), (QuantConfig{4, 32, "mxfp4"}));
  EXPECT_EQ(model->quantization_of("a").value(), std::nullopt);  // no a.scales
}

// Faults that only the architecture shows are in the same classes; the program's tests hold those.
bool needs_architecture(const std::string& name) {
  static const Strings prefixes = {"config-type",        "config-hidden",       "config-inner",     "config-rows",
                                   "config-layers",      "config-heads",        "config-head-",     "config-kv-heads",
                                   "config-theta-zero",  "config-theta-string", "config-eps",       "config-rope",
                                   "config-layer-bits",  "config-quant-absent", "config-theta-nan", "config-untied",
                                   "index-tensor-absent"};
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& p) { return name.starts_with(p); });
}

bool mentions(const std::string& error, const Json& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const Json& w) { return error.find(w.get<std::string>()) != error.npos; });
}

class MakeBad : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto script = testing::golden("make_bad.py");
    if (script.empty()) GTEST_SKIP() << "no goldens/make_bad.py";
    const std::string python = environment("HALYARD_PYTHON").value_or("python3");
    if (std::system((python + " -c 'import numpy' 2>/dev/null").c_str()) != 0) GTEST_SKIP() << "no python3 with numpy";
    root_ = folder_.path / "made";
    ASSERT_EQ(std::system(fmt::format("{} '{}' '{}' >/dev/null", python, script.string(), root_.string()).c_str()), 0);
  }
  Json list(const char* name) const { return read_list((root_ / name).string()); }
  static Json read_list(const std::string& path) {
    std::ifstream in(path);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    return parse_json(text).value();
  }
  TempFolder folder_;
  fs::path root_;
};

TEST_F(MakeBad, EveryFaultOfTheFilesIsRefusedNamingIt) {
  int refused = 0;
  for (const Json& c : list("manifest.json")) {
    const auto name = c["name"].get<std::string>(), kind = c["class"].get<std::string>();
    if (kind != "safetensors" && kind != "index" && kind != "config" && kind != "file-system") continue;
    if (needs_architecture(name) || (c.contains("skip_if_root") && ::geteuid() == 0)) continue;
    SCOPED_TRACE(name);
    const auto model = ModelDir::open((root_ / c["path"].get<std::string>()).string());
    ASSERT_FALSE(model);
    const std::string error = model.error().str();
    for (const Json& word : c["must_mention"]) EXPECT_NE(error.find(word.get<std::string>()), error.npos) << error;
    EXPECT_TRUE(!c.contains("mention_any") || mentions(error, c["mention_any"])) << error;
    ++refused;
  }
  EXPECT_GT(refused, 60);
}

TEST_F(MakeBad, EveryOddButValidFolderOpens) {
  int opened = 0;
  for (const Json& c : list("must_load.json")) {
    const auto path = (root_ / c["path"].get<std::string>()).string();
    if (path.ends_with(".gguf")) continue;
    const auto model = ModelDir::open(path);
    EXPECT_TRUE(model || c.contains("may_refuse")) << c["name"] << ": " << model.error().str();
    opened += model.has_value();
  }
  EXPECT_GT(opened, 40);
}

}  // namespace
}  // namespace halyard

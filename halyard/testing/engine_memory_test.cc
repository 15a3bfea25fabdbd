// Memory that runs out above the device layer: each allocation of a call fails once. The call says so, and succeeds when made
// again.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/base/json_members.h"
#include "halyard/engine/batch.h"
#include "halyard/engine/engine.h"
#include "halyard/engine/generator.h"
#include "halyard/engine/perplexity.h"
#include "halyard/engine/text_model.h"
#include "halyard/io/safetensors.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/small_model.h"
#include "halyard/testing/tokenizer_files.h"
#include "halyard/text/chat.h"
#include "halyard/text/chat_template.h"
#include "halyard/text/tokenizer.h"

namespace halyard {
namespace {

using namespace testing;
using Tokens = std::vector<std::int32_t>;

template <class F> void expect_each_said(const char* what, const F& call) {
  SCOPED_TRACE(what);
  std::uint64_t said = 0;
  for (std::uint64_t n = 1;; ++n) {
    bool failed = false, threw = false;
    std::optional<Errc> error;
    {
      const FailNew fail(n);
      try {
        const auto r = call();
        if (!r) error = r.error().code;
      } catch (...) { threw = true; }
      failed = fail.failed();
    }
    ASSERT_FALSE(threw) << "allocation " << n;
    ASSERT_EQ(error.value_or(Errc::out_of_memory), Errc::out_of_memory) << "allocation " << n;
    said += error.has_value();
    if (failed) continue;
    ASSERT_FALSE(error.has_value());
    break;
  }
  EXPECT_GT(said, 0U);
}

TEST(MemoryRunsOut, WhileTokenizersAreReadAndUsed) {
  const std::string json = R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3}, "merges": ["a b"]},
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "d+"}, "content": "c"}]},
    "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "c|[^c]+"}, "behavior": "Isolated", "invert": false},
    "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    "added_tokens": [{"id": 4, "content": "<a token that is longer than short strings are>", "special": true, "lstrip": false,
                      "rstrip": false, "single_word": false, "normalized": false}]})";
  expect_each_said("parse", [&] { return Tokenizer::parse(json, "a tokenizer with a long name"); });
  const Tokenizer t = expect(Tokenizer::parse(json, "a tokenizer with a long name"));
  const std::string text = "ababdddc<a token that is longer than short strings are>ab";
  const Tokens ids = expect(t.encode(text, true));
  expect_each_said("encode", [&] { return t.encode(text, true); });
  expect_each_said("decode", [&] { return t.decode(ids, false); });
  expect_each_said("stream", [&]() -> Result<void> {
    StreamDecoder stream(t, false);
    for (const std::int32_t id : ids) (void)stream.add(id);
    (void)stream.finish();
    if (stream.error()) return tl::unexpected<Error>(*stream.error());
    return {};
  });
}

TEST(MemoryRunsOut, WhileChatsAreRendered) {
  const std::string source =
      "{% macro m(x) %}{{ x | upper }}{% endmacro %}{% for message in messages %}{{ m(message.content) ~ "
      "message | tojson }}{% endfor %}{{ tools | length }}";
  const std::string name = "a template with a long name";
  const Json input = Json::object(
      {{"messages",
        Json::array({Json::object({{"role", "user"}, {"content", "a content that is longer than short strings"}})})},
       {"tools", Json::array()}});
  expect_each_said("parse", [&] {
    std::optional<std::string> text, called;
    {
      const SpareNew spare;
      text = source, called = name;
    }
    return ChatTemplate::parse(*std::move(text), *std::move(called));
  });
  const ChatTemplate chat = expect(ChatTemplate::parse(source, name));
  const Json context = expect(chat_context(input));
  expect_each_said("render", [&] { return chat.render(context); });
}

std::size_t files_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(MemoryRunsOut, WhileFoldersAreRead) {
  const Json config =
      Json::object({{"model_type", "qwen3"},
                    {"quantization", Json::object({{"bits", 4}, {"group_size", 64}, {"lm_head", false}})},
                    {"eos_token_id", Json::array({1, 2})},
                    {"rope_scaling", Json::object({{"factor", 2.5}, {"rope_type", "linear"}})}});
  const Json token = Json::object({{"content", "<a token that is longer than short strings are>"}, {"lstrip", true}});
  const Json files = Json::object(
      {{"config.json", config},
       {"generation_config.json", R"({"eos_token_id": 1, "temperature": NaN})"},
       {"tokenizer_config.json",
        Json::object({{"eos_token", token}, {"extra_special_tokens", Json::array({"<x>", token})}})},
       {"special_tokens_map.json", Json::object({{"bos_token", token}})},
       {"added_tokens.json", Json::object({{"<another token that is longer than short ones>", 300}})},
       {"additional_chat_templates/tool_use.jinja", "{{ tools | tojson }}{{ messages[0].content }}"},
       {"chat_template.jinja", "{% for m in messages %}{{ m.role ~ m.content ~ eos_token }}{% endfor %}"}});
  const TokenizerFolder folder(tokenizer_files(), files);
  const std::string path = folder.path(), index = path + "/model.safetensors.index.json";
  const std::vector<std::byte> bytes(64);
  const std::string names[] = {"model.layers.0.a long name.weight", "model.layers.1.a long name.weight", "c"};
  const std::vector<TensorToWrite> first = {{names[0], DType::u8, {64}, bytes}, {names[1], DType::f32, {4, 4}, bytes}};
  const std::vector<TensorToWrite> second = {{names[2], DType::u8, {64}, bytes}};
  const Metadata metadata = {{"format", "a format that is longer than short strings are"}};
  const std::size_t before = files_in(path), descriptors = files_in("/proc/self/fd");
  const std::string shard = path + "/model-1.safetensors";
  expect_each_said("write_safetensors", [&]() -> Result<void> {
    auto written = write_safetensors(shard, first, metadata);
    const SpareNew spare;
    EXPECT_EQ(files_in(path), before + std::filesystem::exists(shard));  // nothing half written stays
    return written;
  });
  ASSERT_TRUE(write_safetensors(path + "/model-2.safetensors", second, {}));
  expect_each_said("SafeTensors", [&]() -> Result<void> {
    const SafeTensors file = HALYARD_TRY(SafeTensors::open(shard));
    EXPECT_EQ(file.tensors().size(), 2U);
    EXPECT_EQ(file.metadata(), metadata);
    return {};
  });

  // What is read where no call fails is all of it: with an index, without one, through the root of a Hub's cache.
  const auto open = [&](const char* what, const std::string& from) {
    expect_each_said(what, [&]() -> Result<void> {
      const ModelDir dir = HALYARD_TRY(ModelDir::open(from));
      const SpareNew spare;
      EXPECT_EQ(dir.tensors().size(), 3U);
      EXPECT_EQ(dir.weight_files().size(), 2U);
      EXPECT_TRUE(dir.generation_config() && dir.quantization() && dir.tokenizer().present);
      EXPECT_TRUE(dir.has_quantization_override("lm_head"));
      return {};
    });
  };
  open("ModelDir", path);
  std::ofstream(index) << Json::object(
      {{"weight_map", Json::object({{names[0], "model-1.safetensors"}, {names[2], "./model-2.safetensors"}})}});
  open("ModelDir with an index", path);
  const TokenizerFolder hub(tokenizer_files(), Json::object({{"refs/main", "abc\n"}, {"snapshots/x/y", ""}}));
  std::filesystem::create_directory_symlink(path, hub.path() + "/snapshots/abc");
  open("ModelDir of a Hub's cache", hub.path());

  const Tokenizer whole = expect(Tokenizer::load_folder(path));
  EXPECT_EQ(whole.special_tokens().size(), 2U);
  expect_each_said("tokenizer", [&]() -> Result<void> {
    const Tokenizer t = HALYARD_TRY(Tokenizer::load_folder(path));
    EXPECT_EQ(t.vocab_size(), whole.vocab_size());
    EXPECT_EQ(t.special_tokens(), whole.special_tokens());
    return {};
  });
  expect_each_said("special tokens", [&]() -> Result<void> {
    EXPECT_EQ(HALYARD_TRY(load_special_tokens(path)).size(), 2U);
    return {};
  });
  for (const bool tools : {false, true})
    expect_each_said("chat template", [&]() -> Result<void> {
      EXPECT_TRUE(HALYARD_TRY(load_chat_template(path, tools)));
      return {};
    });
  const ModelDir dir = expect(ModelDir::open(path));
  const auto load = [&] { return engine::TextModel::load(dir, true); };
  expect_each_said("text model", load);
  const engine::TextModel text = expect(load());
  const engine::ChatMessage message = {"user", "a message that is longer than short strings are"};
  const std::string kwargs = R"({"a long key that is not short": [1, 2.5, {"x": 123456789012345678901234567890}]})";
  expect_each_said("prompt", [&] { return text.render({&message, 1}, kwargs); });
  expect_each_said("ids", [&] { return text.encode("abab", true, 1000); });
  EXPECT_EQ(files_in("/proc/self/fd"), descriptors + dir.weight_files().size());
}

TEST(MemoryRunsOut, WhileJsonIsRead) {
  std::string text = "{";
  for (int i = 0; i < 40; ++i)
    text += fmt::format(R"("a key that is longer than short ones {}": [{{"x": "{}"}}, []],)", i, std::string(30, 'v'));
  text +=
      R"("tools": [{}], "messages": [{"role": "user", "thinking": "a thought that is longer than short strings are"}]})";
  expect_each_said("parse_json", [&] { return parse_json(text); });
  std::size_t members = 0;
  const JsonMember count = [&](std::string_view, const Json&) -> Result<void> { return ++members, Result<void>(); };
  expect_each_said("read_json_members", [&] { return read_json_members(text, count); });
  Json input = expect(parse_json(text));
  const Json tokens = Json::object({{"bos_token", "a token that is longer than short strings are"}});
  Json chat = Json::object(
      {{"messages", input["messages"]}, {"tools", input["tools"]}, {"kwargs", Json::object({{"x", text}})}});
  expect_each_said("with_special_tokens", [&] {
    Json given;
    {
      const SpareNew spare;
      given = chat;
    }
    return with_special_tokens(std::move(given), tokens);
  });
  expect_each_said("chat_context", [&] { return chat_context(chat); });
}

TEST(MemoryRunsOut, WhileModelsRun) {
  Device device = expect(Device::open("cpu", {.cpu = {.threads = 1}}));
  const Json config = small_config("llama");
  const ConfigView view(config, "config");
  PoisonedWeights weights;
  const auto load = [&] { return models::Model::load(device, view, weights, ops::Precision::fast); };
  expect_each_said("load", load);
  const models::Model model = expect(load());
  const Tokens prompt = {1, 2, 3, 4, 5};

  expect_each_said("sequence", [&] { return engine::Sequence::make(model); });
  engine::Sequence sequence = expect(engine::Sequence::make(model));
  SamplerOptions sampling;
  sampling.temp = 1, sampling.top_k = 5, sampling.repetition_penalty = 1.1, sampling.seed = 1;
  expect_each_said("generate", [&] {
    sequence.reset();
    return engine::generate(sequence, prompt, {.max_tokens = 3, .sampling = sampling},
                            {.on_token = [](std::int32_t) -> Result<bool> { return true; }});
  });
  expect_each_said("perplexity", [&] { return engine::perplexity(sequence, prompt, 4, {}); });

  const auto batch_of = [&] { return engine::Batch::make(model, {.positions = 256}); };
  expect_each_said("batch", batch_of);
  engine::Batch batch = expect(batch_of());
  expect_each_said("open", [&]() -> Result<void> {
    const engine::Batch::Id a = HALYARD_TRY(batch.open());
    const engine::Batch::Part part = {a, prompt};
    if (auto done = batch.step({&part, 1}); !done)
      return batch.close(a), tl::unexpected<Error>(std::move(done).error());
    auto b = batch.fork(a);
    batch.close(a);
    if (!b) return tl::unexpected<Error>(std::move(b).error());
    batch.close(*b);
    return {};
  });

  const auto engine_of = [&] { return engine::Engine::make(model, {.positions = 256}); };
  expect_each_said("engine", engine_of);
  engine::Engine engine = expect(engine_of());
  expect_each_said("submit", [&] {
    engine::Request r;
    {
      const SpareNew spare;
      r = {.prompt = prompt, .options = {.max_tokens = 2}, .n = 2};
    }
    return engine.submit(std::move(r));
  });
}

}  // namespace
}  // namespace halyard

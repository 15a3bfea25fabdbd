// Memory that runs out above the device layer: each allocation of a call fails once. The call says so, and succeeds when made
// again.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "halyard/engine/batch.h"
#include "halyard/engine/engine.h"
#include "halyard/engine/generator.h"
#include "halyard/engine/perplexity.h"
#include "halyard/testing/fail_new.h"
#include "halyard/testing/small_model.h"
#include "halyard/text/chat_template.h"
#include "halyard/text/tokenizer.h"

namespace halyard {
namespace {

using namespace testing;
using Tokens = std::vector<std::int32_t>;

// Of a call with many allocations, every sixteenth and fewer fail.
template <class F> void expect_each_said(const char* what, const F& call) {
  SCOPED_TRACE(what);
  std::uint64_t said = 0;
  for (std::uint64_t n = 1;; n += 1 + n / 16) {
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

TEST(MemoryRunsOut, WhileModelsRun) {
  Device device = expect(Device::open("cpu", {.cpu = {.threads = 1}}));
  const Json config = Json::object({{"model_type", "llama"},
                                    {"hidden_size", 64},
                                    {"num_hidden_layers", 2},
                                    {"num_attention_heads", 4},
                                    {"num_key_value_heads", 2},
                                    {"head_dim", 16},
                                    {"intermediate_size", 128},
                                    {"vocab_size", kSmallVocab},
                                    {"tie_word_embeddings", false},
                                    {"max_position_embeddings", 400},
                                    {"rms_norm_eps", 1e-6}});
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

// What the passes make of one token's work.
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "halyard/engine/kv_cache.h"
#include "halyard/hal/recording.h"
#include "halyard/io/config.h"
#include "halyard/models/synthetic.h"
#include "halyard/ops/fusion.h"
#include "halyard/testing/models.h"

namespace halyard::engine {
namespace {

using namespace halyard::testing;
using ops::Precision;

/// The decoding of one token, captured.
struct Decode {
  models::Model model;
  KvCache cache = expect(KvCache::make(
      model.device(), model.info().layers,
      {.dtype = model.precision() == Precision::exact ? DType::f32 : DType::f16, .limit = 256, .step = 1}));

  ComputeGraph graph() {
    Device device = model.device();
    CommandEncoder e = expect(device.command_encoder());
    models::StepTensors step;
    step.tokens = expect(device.alloc(DType::i32, {1}));
    step.positions = expect(device.alloc(DType::i32, {1}));
    step.slots = expect(device.alloc(DType::i32, {1}));
    step.batch = {expect(device.alloc(DType::i32, {1, 4})), expect(device.alloc(DType::i32, {1, cache.max_pages()}))};
    step.logits = expect(device.alloc(DType::f32, {1, model.info().vocab_size}));
    step.cache = cache.layers();
    e.start_capture();
    expect(model.record(e, step));
    return expect(e.take_capture());
  }
};

Decode decode_of(const Json& config, std::string_view format, Precision precision) {
  models::SyntheticWeights weights(expect(models::synthetic_format(format)));
  return {expect(models::Model::load(expect(Device::open("cpu", {.cpu = {.threads = 2}})), ConfigView(config, "config"),
                                     weights, precision))};
}

/// Dispatches of each kernel.
std::map<std::string, std::size_t> kernels(const ComputeGraph& g) {
  std::map<std::string, std::size_t> count;
  for (const Record& r : g.recording().records) ++count[std::string(r.kernel->def->name)];
  return count;
}

std::string size_of(const ComputeGraph& g) { return fmt::format("{} nodes, {} barriers", g.size(), g.barriers()); }

TEST(DecodeGraph, OfTheDefaultModelsShapeIsHalved) {
  Decode decode = decode_of(expect(models::synthetic_config("gutenberg-29m")), "q4", Precision::fast);
  const ComputeGraph recorded = decode.graph();
  EXPECT_EQ(size_of(recorded), "189 nodes, 139 barriers");
  EXPECT_EQ(size_of(remove_dead(recorded)), size_of(recorded)) << "nothing is recorded in vain";
  EXPECT_EQ(reorder(recorded).barriers(), 139U) << "nor in a bad order";

  const PlannedGraph optimized = expect(optimize(recorded, {{}, ops::fusion_rules()}));
  EXPECT_EQ(size_of(optimized.graph), "76 nodes, 58 barriers");
  EXPECT_LT(optimized.bytes_after, optimized.bytes_before);
  const std::map<std::string, std::size_t> expected = {{"embedding_panels", 1},     {"rope_angles", 1},
                                                       {"rms_norm_pack", 17},       {"matmul_affine4_fast", 17},
                                                       {"matmul_affine4_heads", 8}, {"matmul_affine4_heads_append", 16},
                                                       {"attention_pack", 8},       {"matmul_affine4_gated_pack", 8}};
  EXPECT_EQ(kernels(optimized.graph), expected);
  EXPECT_EQ(expect(optimized.graph.compile()).barriers(), 58U);
}

TEST(DecodeGraph, InExactArithmeticLosesTheOpsBetweenProjectionsAndCache) {
  Decode decode = decode_of(expect(models::synthetic_config("gutenberg-29m")), "q4", Precision::exact);
  const ComputeGraph recorded = decode.graph();
  const PlannedGraph optimized = expect(optimize(recorded, {{}, ops::fusion_rules()}));
  EXPECT_EQ(recorded.size() - optimized.graph.size(), 8U * 5);
  EXPECT_EQ(recorded.barriers() - optimized.graph.barriers(), 8U * 4);
}

TEST(DecodeGraph, OfALlamaWithWideWeightsTakesTheSameShape) {
  const Json config = Json::object({{"model_type", "llama"},
                                    {"hidden_size", 128},
                                    {"num_hidden_layers", 2},
                                    {"num_attention_heads", 4},
                                    {"num_key_value_heads", 2},
                                    {"intermediate_size", 256},
                                    {"vocab_size", 97},
                                    {"rms_norm_eps", 1e-5},
                                    {"max_position_embeddings", 64}});
  Decode decode = decode_of(config, "q8", Precision::fast);
  const PlannedGraph optimized = expect(optimize(decode.graph(), {{}, ops::fusion_rules()}));
  const auto count = kernels(optimized.graph);
  EXPECT_EQ(count.at("matmul_affine8_heads"), 2U) << "the queries";
  EXPECT_EQ(count.at("matmul_affine8_heads_append"), 4U) << "the keys, turned, and the values";
  EXPECT_EQ(count.at("matmul_affine8_gated_pack"), 2U);
  EXPECT_EQ(count.count("rope_half_split"), 0U);
}

}  // namespace
}  // namespace halyard::engine

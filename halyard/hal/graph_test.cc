#include "halyard/hal/graph.h"

#include <random>

#include <gtest/gtest.h>

#include "halyard/base/json.h"
#include "halyard/hal/recording.h"
#include "halyard/testing/kernels.h"

namespace halyard {
namespace {

using namespace testing;

Buffer part(const Buffer& b, std::size_t begin, std::size_t end) {
  return value(b.view(begin * 4, DType::i32, {end - begin}));
}

TEST(Graph, EdgesAreTheHazardsOfTheirRanges) {
  Device d = value(Device::open("cpu"));
  const Buffer a = value(d.alloc(DType::i32, {64})), b = value(d.alloc(DType::i32, {64}));
  auto e = value(d.command_encoder());
  e.start_capture();
  ok(run(e, add_constant_kernel, {part(a, 0, 16), part(b, 0, 16)}, 16, 1));    // 0
  ok(run(e, add_constant_kernel, {part(a, 0, 16), part(b, 16, 32)}, 16, 1));   // 1: other bytes
  ok(run(e, add_constant_kernel, {part(b, 8, 24), part(a, 32, 48)}, 16, 1));   // 2 reads what 0 and 1 wrote
  ok(run(e, add_constant_kernel, {part(b, 32, 48), part(a, 0, 16)}, 16, 1));   // 3 overwrites what 0 and 1 read
  ok(run(e, add_constant_kernel, {part(a, 48, 64), part(b, 24, 40)}, 16, 1));  // 4 overwrites 1's, and what 3 read
  const auto graph = value(e.take_capture());
  const std::vector<GraphEdge> expected = {{0, 2, true, false, false}, {1, 2, true, false, false},
                                           {0, 3, false, true, false}, {1, 3, false, true, false},
                                           {1, 4, false, false, true}, {3, 4, false, true, false}};
  EXPECT_EQ(value(graph.edges()), expected);
}

/// Whether two nodes' ranges conflict, from first principles.
bool conflict(const Record& a, const Record& b) {
  for (std::size_t i = 0; i < a.kernel->def->access.size(); ++i)
    for (std::size_t j = 0; j < b.kernel->def->access.size(); ++j) {
      const Binding &x = a.bindings[i], &y = b.bindings[j];
      const bool writes = a.kernel->def->access[i] != Access::read || b.kernel->def->access[j] != Access::read;
      const bool overlap = x.allocation == y.allocation && x.bytes && y.bytes && x.offset < y.offset + y.bytes &&
                           y.offset < x.offset + x.bytes;
      if (writes && overlap) return true;
    }
  return false;
}

TEST(Graph, PathsJoinExactlyTheConflictsAndWhatFollowsFromThem) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  Device d = value(Device::open("cpu"));
  const Buffer memory[] = {value(d.alloc(DType::i32, {64})), value(d.alloc(DType::i32, {64}))};
  const auto window = [&] {
    const std::size_t begin = random() % 60, n = random() % std::min<std::size_t>(20, 64 - begin);
    return part(memory[random() % 2], begin, begin + n);  // may be empty
  };
  for (int program = 0; program < 200; ++program) {
    auto e = value(d.command_encoder());
    e.start_capture();
    for (int i = 0; i < 25; ++i) {
      if (random() % 3 == 0) ok(run(e, scale_in_place_kernel, {window()}, 1, 1U));
      else ok(run(e, add_constant_kernel, {window(), window()}, 1, 1));
    }
    const auto graph = value(e.take_capture());
    const auto& records = graph.recording().records;
    const std::size_t n = records.size();
    const auto edges = value(graph.edges());
    std::vector<std::vector<bool>> path(n, std::vector<bool>(n)), needed = path;
    for (const GraphEdge& g : edges) {
      EXPECT_TRUE(conflict(records[g.from], records[g.to])) << g.from << " -> " << g.to;
      EXPECT_TRUE(g.raw || g.war || g.waw);
      path[g.from][g.to] = true;
    }
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = i + 1; j < n; ++j) needed[i][j] = conflict(records[i], records[j]);
    for (auto* m : {&path, &needed})
      for (std::size_t k = 0; k < n; ++k)
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t j = 0; j < n; ++j)
            if ((*m)[i][k] && (*m)[k][j]) (*m)[i][j] = true;
    ASSERT_EQ(path, needed) << "program " << program;
  }
}

TEST(Graph, DumpsNodesRangesAndEdges) {
  Device d = value(Device::open("cpu"));
  const Buffer a = value(d.alloc(DType::i32, {64})), b = value(d.alloc(DType::i32, {64}));
  auto e = value(d.command_encoder());
  e.start_capture();
  ok(run(e, add_constant_kernel, {a, part(b, 16, 32)}, 16, 1));
  ok(run(e, scale_in_place_kernel, {b}, 64, 1U));
  const auto graph = value(e.take_capture());
  EXPECT_EQ(graph.to_dot(),
            "digraph {\n  node [shape=box];\n"
            "  n0 [label=\"0 test_add_constant\\n16 × 1 × 1\"];\n"
            "  n1 [label=\"1 test_scale\\n64 × 1 × 1\"];\n"
            "  n0 -> n1 [label=\"RAW WAW\"];\n}\n");
  const Json json = value(parse_json(graph.to_json()));
  EXPECT_EQ(json["nodes"][0]["bindings"][1],
            (Json::object({{"memory", 1}, {"access", "w"}, {"begin", 64}, {"end", 128}})));
  EXPECT_EQ(json["nodes"][1]["grid"], Json::array({64, 1, 1}));
  EXPECT_EQ(json["nodes"][1]["barrier"], true);
  EXPECT_EQ(json["edges"],
            Json::array({Json::object({{"from", 0}, {"to", 1}, {"hazards", Json::array({"RAW", "WAW"})}})}));
}

}  // namespace
}  // namespace halyard

#include "halyard/hal/graph.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include <fmt/format.h>

#include "halyard/base/json.h"
#include "halyard/hal/allocation.h"
#include "halyard/hal/draft.h"
#include "halyard/hal/state.h"
#include "halyard/hal/stretches.h"

namespace halyard {
namespace {

/// Who touched a stretch of memory last.
struct Touch {
  std::int64_t writer = -1;            // -1: no node yet
  std::vector<std::uint32_t> readers;  // since the writer
};

}  // namespace

ComputeGraph::ComputeGraph(std::shared_ptr<const Recording> r, std::shared_ptr<DeviceState> d)
    : recording_(std::move(r)), device_(std::move(d)) {}

const Recording& ComputeGraph::recording() const {
  static const Recording none;
  return recording_ ? *recording_ : none;  // null where it was moved from
}

std::size_t ComputeGraph::size() const { return recording().records.size(); }

std::size_t ComputeGraph::barriers() const {
  const auto& r = recording().records;
  return static_cast<std::size_t>(std::count_if(r.begin(), r.end(), [](const Record& x) { return x.barrier_before; }));
}

Result<std::vector<GraphEdge>> ComputeGraph::edges() const {
  return guarded([&]() -> Result<std::vector<GraphEdge>> { return edges_of(recording()); });
}

std::vector<GraphEdge> edges_of(const Recording& recording) {
  std::vector<GraphEdge> edges;
  ByteMap<Touch> memory;
  std::map<std::uint32_t, GraphEdge> into;  // the current node's, by `from`
  for (std::uint32_t node = 0; node < recording.records.size(); ++node) {
    const Record& r = recording.records[node];
    const auto edge = [&](std::int64_t from) -> GraphEdge& {
      const auto f = static_cast<std::uint32_t>(from);
      return into.try_emplace(f, GraphEdge{f, node}).first->second;
    };
    const auto other = [&](std::int64_t n) { return n >= 0 && n != node; };
    // All reads first: a dispatch reads what was there before it.
    for_each_read(r, [&](const Binding& b) {
      memory.visit(b, [&](Touch& t, std::uint64_t) {
        if (other(t.writer)) edge(t.writer).raw = true;
        if (t.readers.empty() || t.readers.back() != node) t.readers.push_back(node);
      });
    });
    for_each_write(r, [&](const Binding& b) {
      memory.visit(b, [&](Touch& t, std::uint64_t) {
        bool read_between = false;
        for (const std::uint32_t reader : t.readers) {
          if (!other(reader)) continue;
          edge(reader).war = true;
          read_between = true;
        }
        if (!read_between && other(t.writer)) edge(t.writer).waw = true;
        t.writer = node;
        t.readers.clear();
      });
    });
    for (const auto& [from, e] : into) edges.push_back(e);
    into.clear();
  }
  return edges;
}

namespace {

std::vector<std::string> hazards_of(const GraphEdge& e) {
  std::vector<std::string> names;
  if (e.raw) names.emplace_back("RAW");
  if (e.war) names.emplace_back("WAR");
  if (e.waw) names.emplace_back("WAW");
  return names;
}

std::string_view letter_of(Access a) { return a == Access::read ? "r" : a == Access::write ? "w" : "x"; }

std::string quoted(std::string text) { return Json(printable(std::move(text))).dump(); }

std::string dot_of(const Recording& recording) {
  std::string out = "digraph {\n  node [shape=box];\n";
  for (std::size_t i = 0; i < recording.records.size(); ++i) {
    const Record& r = recording.records[i];
    const std::string name = printable(std::string(r.kernel->def->name));
    out += fmt::format("  n{} [label={}];\n", i,
                       Json(fmt::format("{} {}\n{} × {} × {}", i, name, r.grid.x, r.grid.y, r.grid.z)).dump());
  }
  for (const GraphEdge& e : edges_of(recording))
    out += fmt::format("  n{} -> n{} [label=\"{}\"];\n", e.from, e.to, fmt::join(hazards_of(e), " "));
  return out + "}\n";
}

std::string json_of(const Recording& recording) {
  std::string nodes, edges;
  const auto append = [](std::string& list, std::string item) { list += (list.empty() ? "" : ",") + std::move(item); };
  std::unordered_map<const Allocation*, std::size_t> numbers;
  for (const Record& r : recording.records) {
    std::string bindings;
    const AccessList& access = r.kernel->def->access;
    for (std::size_t i = 0; i < access.size(); ++i) {
      const Binding& b = r.bindings[i];
      const std::size_t number = numbers.try_emplace(b.allocation, numbers.size()).first->second;
      append(bindings, fmt::format(R"({{"memory":{},"access":"{}","begin":{},"end":{}}})", number, letter_of(access[i]),
                                   b.offset, b.offset + b.bytes));
    }
    append(nodes, fmt::format(R"({{"kernel":{},"grid":[{},{},{}],"barrier":{},"bindings":[{}]}})",
                              quoted(std::string(r.kernel->def->name)), r.grid.x, r.grid.y, r.grid.z, r.barrier_before,
                              bindings));
  }
  for (const GraphEdge& e : edges_of(recording))
    append(edges,
           fmt::format(R"({{"from":{},"to":{},"hazards":["{}"]}})", e.from, e.to, fmt::join(hazards_of(e), R"(",")")));
  return fmt::format(R"({{"nodes":[{}],"edges":[{}]}})", nodes, edges);
}

}  // namespace

std::string ComputeGraph::to_dot() const {
  return if_memory([&] { return dot_of(recording()); });
}
std::string ComputeGraph::to_json() const {
  return if_memory([&] { return json_of(recording()); });
}

}  // namespace halyard

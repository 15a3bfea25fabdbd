#include "halyard/hal/passes.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/draft.h"

namespace halyard {

Draft::Draft(const ComputeGraph& graph) : unused(graph.recording().unused), device(graph.device()) {
  for (const Record& r : graph.recording().records) nodes.push_back({r, {}});
  for (const RecordedPlace& p : graph.recording().places) nodes[p.record].places.push_back(p);
  for (const auto& a : graph.recording().retained) memory.try_emplace(a.get(), a);
}

ComputeGraph Draft::finish() const {
  auto to = std::make_shared<Recording>();
  to->unused = unused;
  MemRanges running;
  std::unordered_set<const Allocation*> retained;
  for (const Node& node : nodes) {
    Record r = node.record;
    r.barrier_before = needs_barrier(running, r);
    const std::size_t n = r.kernel->def->access.size();
    auto* bindings = reinterpret_cast<Binding*>(to->arena.take(n * sizeof(Binding)));
    std::copy_n(r.bindings, n, bindings);
    r.bindings = bindings;
    std::byte* constants = to->arena.take(r.constants_bytes);
    std::memcpy(constants, r.constants, r.constants_bytes);
    r.constants = constants;
    r.block = new (to->arena.take(sizeof(Grid))) Grid(*r.block);
    for (std::size_t i = 0; i < n; ++i)
      if (retained.insert(bindings[i].allocation).second) to->retained.push_back(memory.at(bindings[i].allocation));
    for (RecordedPlace p : node.places) {
      p.record = static_cast<std::uint32_t>(to->records.size());
      to->places.push_back(std::move(p));
    }
    to->records.push_back(r);
  }
  return ComputeGraph(std::move(to), device);
}

bool needs_barrier(MemRanges& running, const Record& r) {
  const AccessList& access = r.kernel->def->access;
  return !running.place_dispatch(access.size(), [&](std::size_t i) {
    const Binding& b = r.bindings[i];
    return BufferRange{b.allocation, b.offset, b.offset + b.bytes,
                       access[i] == Access::read ? MemRangeRole::src : MemRangeRole::dst};
  });
}

Binding binding_of(const Buffer& b) { return {b.allocation().get(), b.offset_bytes(), b.size_bytes()}; }

std::vector<Binding> scratch_of(const ComputeGraph& graph, const Scratch& scratch) {
  std::vector<Binding> all;
  for (const Buffer& b : scratch.windows)
    if (b) all.push_back(binding_of(b));
  for (const AllocationRef& a : graph.recording().retained)
    if (a->placeholder) all.push_back({a.get(), 0, a->memory.bytes});
  return all;
}

Result<void> check_scratch(const ComputeGraph& graph, const Scratch& scratch) {
  for (std::size_t i = 0; i < scratch.windows.size(); ++i)
    if (const Buffer& b = scratch.windows[i]; b && b.allocation()->device != graph.device())
      return fail(Errc::invalid_argument,
                  fmt::format("scratch window {} is memory of another device than the graph's", i));
  return {};
}

namespace {

ComputeGraph without_dead(const ComputeGraph& graph, const Scratch& scratch) {
  Draft d(graph);
  ByteMap<bool> dead;  // after the node in hand, which goes from the last to the first
  for (const Binding& b : scratch_of(graph, scratch)) dead.set(b, true);
  std::vector<Node> kept;
  for (auto node = d.nodes.rbegin(); node != d.nodes.rend(); ++node) {
    bool needed = false, writes = false;
    for_each_write(node->record, [&](const Binding& b) {
      writes = true;
      needed |= dead.any(b, false);
    });
    if (writes && !needed) {
      d.unused.insert(d.unused.end(), node->places.begin(), node->places.end());
      continue;
    }
    for_each_overwritten(node->record, [&](const Binding& b) { dead.set(b, true); });
    for_each_read(node->record, [&](const Binding& b) { dead.set(b, false); });
    kept.push_back(std::move(*node));
  }
  d.nodes.assign(std::make_move_iterator(kept.rbegin()), std::make_move_iterator(kept.rend()));
  return d.finish();
}

ComputeGraph reordered(const ComputeGraph& graph) {
  Draft d(graph);
  std::vector<std::uint32_t> phase(d.nodes.size(), 0);
  for (const GraphEdge& e : edges_of(graph.recording()))
    phase[e.to] = std::max(phase[e.to], phase[e.from] + 1);  // sorted by `to`
  std::vector<std::uint32_t> order(d.nodes.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return phase[a] < phase[b]; });
  std::vector<Node> nodes;
  for (const std::uint32_t i : order) nodes.push_back(std::move(d.nodes[i]));
  d.nodes = std::move(nodes);
  return d.finish();
}

// What the pass makes; where there is no memory for that, the graph as it is.
template <class Pass> ComputeGraph or_as_it_is(const ComputeGraph& graph, const Pass& pass) {
  const auto made = guarded([&]() -> Result<ComputeGraph> { return pass(); });
  return made ? *made : graph;
}

}  // namespace

ComputeGraph remove_dead(const ComputeGraph& graph, const Scratch& scratch) {
  return or_as_it_is(graph, [&] { return without_dead(graph, scratch); });
}

ComputeGraph reorder(const ComputeGraph& graph) {
  return or_as_it_is(graph, [&] { return reordered(graph); });
}

Result<PlannedGraph> optimize(const ComputeGraph& graph, const OptimizeOptions& options) {
  // Memory of their own takes none: only the last plan's places are bytes.
  Device device(graph.device());
  const PlaceMemory nowhere = [&](std::size_t bytes) { return device.placeholder(DType::u8, {bytes}); };
  const PlannedGraph apart =
      HALYARD_TRY(plan_memory(remove_dead(graph, options.scratch), options.scratch, {Sharing::none, nowhere}));
  const ComputeGraph fused = HALYARD_TRY(fuse(reorder(apart.graph), options.rules, apart.scratch));
  PlannedGraph planned = HALYARD_TRY(
      plan_memory(reorder(remove_dead(fused, apart.scratch)), apart.scratch, {Sharing::phases, options.memory}));
  planned.bytes_before = apart.bytes_before;
  return planned;
}

}  // namespace halyard

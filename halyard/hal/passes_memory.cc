// Memory planning. Values are found by following each byte from who writes it to who reads it. They are placed by size, the
// largest first, each in the smallest gap that is free all its time (Pisarchyk and Lee 2020, "greedy by size").
#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "halyard/hal/allocation.h"
#include "halyard/hal/device.h"
#include "halyard/hal/draft.h"

namespace halyard {
namespace {

constexpr std::uint64_t kAlignment = 64;
std::uint64_t round_up(std::uint64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

/// A binding of a node.
struct Use {
  std::uint32_t node, binding;
};

/// What some uses write and others read.
struct Value {
  std::vector<Use> uses;
  Allocation* allocation = nullptr;
  std::uint64_t begin = UINT64_MAX, end = 0;   // where it lies; begin is a multiple of kAlignment
  std::uint32_t first = UINT32_MAX, last = 0;  // the phases that use it
  bool stays = false;                          // not all of it is scratch
  std::uint64_t at = 0;                        // where it will lie in the new allocation
  std::uint64_t bytes() const { return round_up(end - begin); }
};

/// Sets that are joined two at a time.
class Forest {
 public:
  std::uint32_t add() {
    parent_.push_back(static_cast<std::uint32_t>(parent_.size()));
    return parent_.back();
  }
  std::uint32_t root(std::uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(std::uint32_t a, std::uint32_t b) { parent_[root(b)] = root(a); }

 private:
  std::vector<std::uint32_t> parent_;
};

std::vector<std::uint32_t> phases_of(const Draft& d) {
  std::vector<std::uint32_t> phases;
  MemRanges running;
  std::uint32_t phase = 0;
  for (const Node& n : d.nodes) phases.push_back(phase += needs_barrier(running, n.record));
  return phases;
}

/// The values in allocations that have scratch.
std::vector<Value> values_of(const Draft& d, const std::vector<Binding>& scratch) {
  ByteMap<bool> is_scratch;
  for (const Binding& b : scratch) is_scratch.set(b, true);
  const auto has_scratch = [&](const Binding& b) {
    return b.bytes &&
           std::any_of(scratch.begin(), scratch.end(), [&](const Binding& s) { return s.allocation == b.allocation; });
  };

  std::vector<Use> uses;
  Forest forest;
  constexpr std::uint32_t nobody = UINT32_MAX;
  ByteMap<std::optional<std::uint32_t>> writer;  // the use that wrote it
  for (std::uint32_t node = 0; node < d.nodes.size(); ++node) {
    const Record& r = d.nodes[node].record;
    const AccessList& access = r.kernel->def->access;
    std::array<std::uint32_t, AccessList::max_bindings> use{};
    for (std::uint32_t i = 0; i < access.size(); ++i) {
      use[i] = has_scratch(r.bindings[i]) ? forest.add() : nobody;
      if (use[i] != nobody) uses.push_back({node, i});
    }
    // All reads first: a dispatch reads what was there before it.
    for (std::uint32_t i = 0; i < access.size(); ++i)
      if (use[i] != nobody && access[i] != Access::write)
        writer.visit(r.bindings[i], [&](const auto& from, std::uint64_t) {
          if (from) forest.join(*from, use[i]);
        });
    for (std::uint32_t i = 0; i < access.size(); ++i)
      if (use[i] != nobody && access[i] != Access::read) writer.set(r.bindings[i], use[i]);
  }

  const std::vector<std::uint32_t> phases = phases_of(d);
  std::vector<Value> by_root(uses.size());
  for (std::uint32_t i = 0; i < uses.size(); ++i) {
    const Binding& b = d.nodes[uses[i].node].record.bindings[uses[i].binding];
    Value& v = by_root[forest.root(i)];
    v.uses.push_back(uses[i]);
    v.allocation = b.allocation;
    v.begin = std::min(v.begin, b.offset / kAlignment * kAlignment);
    v.end = std::max(v.end, b.offset + b.bytes);
    v.first = std::min(v.first, phases[uses[i].node]);
    v.last = std::max(v.last, phases[uses[i].node]);
    v.stays |= is_scratch.any(b, false);
  }
  std::erase_if(by_root, [](const Value& v) { return v.uses.empty(); });
  return by_root;
}

/// The start of the smallest gap between `others`, sorted by place, that has room; else the end.
std::uint64_t best_fit(std::uint64_t bytes, const std::vector<const Value*>& others) {
  std::uint64_t end = 0, best = 0, best_room = UINT64_MAX;
  for (const Value* o : others) {
    const std::uint64_t room = o->at > end ? o->at - end : 0;
    if (room >= bytes && room < best_room) {
      best = end;
      best_room = room;
    }
    end = std::max(end, o->at + o->bytes());
  }
  return best_room == UINT64_MAX ? end : best;
}

/// Places the values; the bytes they take together.
std::uint64_t place(std::vector<Value*> values, Sharing sharing) {
  std::stable_sort(values.begin(), values.end(),
                   [](const Value* a, const Value* b) { return a->bytes() > b->bytes(); });
  std::uint64_t total = 0;
  std::vector<const Value*> placed, others;  // sorted by place
  for (Value* v : values) {
    others.clear();
    for (const Value* p : placed)
      if (sharing == Sharing::none || (p->first <= v->last && v->first <= p->last)) others.push_back(p);
    v->at = best_fit(v->bytes(), others);
    total = std::max(total, v->at + v->bytes());
    placed.insert(std::upper_bound(placed.begin(), placed.end(), v, [](auto* a, auto* b) { return a->at < b->at; }), v);
  }
  return total;
}

/// Bytes of scratch that the nodes bind.
std::uint64_t bytes_bound(const Draft& d, const std::vector<Binding>& scratch) {
  ByteMap<bool> uncounted;
  for (const Binding& b : scratch) uncounted.set(b, true);
  std::uint64_t sum = 0;
  for (const Node& n : d.nodes)
    for (std::size_t i = 0; i < n.record.kernel->def->access.size(); ++i)
      uncounted.visit(n.record.bindings[i], [&](bool& b, std::uint64_t bytes) {
        if (b) sum += bytes;
        b = false;
      });
  return sum;
}

/// The node's bindings, in the draft's memory.
Binding* own_bindings(Draft& d, Node& n) {
  const std::size_t count = n.record.kernel->def->access.size();
  auto* copy = reinterpret_cast<Binding*>(d.arena.take(count * sizeof(Binding)));
  std::copy_n(n.record.bindings, count, copy);
  n.record.bindings = copy;
  return copy;
}

Result<PlannedGraph> planned(const ComputeGraph& graph, const Scratch& scratch, const PlanMemoryOptions& options) {
  if (!graph.device())
    return fail(Errc::invalid_state, "a graph that no encoder captured has no device to plan memory of");
  HALYARD_TRY(check_scratch(graph, scratch));
  Draft d(graph);
  std::vector<Binding> windows = scratch_of(graph, scratch);
  std::vector<Value> values = values_of(d, windows);
  std::vector<Value*> moving;
  for (Value& v : values)
    if (!v.stays) moving.push_back(&v);
  PlannedGraph made{graph, scratch, bytes_bound(d, windows), 0};
  made.bytes_after = made.bytes_before;
  if (moving.empty()) return made;

  const std::uint64_t bytes = place(moving, options.sharing);
  const Buffer memory =
      HALYARD_TRY(options.memory ? options.memory(bytes) : Device(graph.device()).alloc(DType::u8, {bytes}));
  const Buffer arena = HALYARD_TRY(memory.view(0, DType::u8, {bytes}));
  if (arena.offset_bytes() % kAlignment != 0 || arena.allocation()->device != graph.device())
    return fail(Errc::invalid_argument,
                fmt::format("memory to plan in: expected memory of the graph's device, aligned to {}", kAlignment));
  d.memory.try_emplace(arena.allocation().get(), AllocationRef(*arena.allocation()));
  std::vector<Binding*> own(d.nodes.size());
  for (const Value* v : moving)
    for (const Use& u : v->uses) {
      if (!own[u.node]) own[u.node] = own_bindings(d, d.nodes[u.node]);
      Binding& b = own[u.node][u.binding];
      b = {arena.allocation().get(), arena.offset_bytes() + v->at + (b.offset - v->begin), b.bytes};
    }
  made.bytes_after = bytes_bound(d, windows) + arena.size_bytes();
  made.scratch.windows.push_back(arena);
  made.graph = d.finish();
  return made;
}

}  // namespace

Result<PlannedGraph> plan_memory(const ComputeGraph& graph, const Scratch& scratch, const PlanMemoryOptions& options) {
  return guarded([&] { return planned(graph, scratch, options); });
}

}  // namespace halyard

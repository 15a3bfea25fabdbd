// Fusion: the rules say what may become one dispatch, this file whether the graph allows it.
#include <algorithm>
#include <array>
#include <cstring>
#include <deque>

#include <fmt/format.h>

#include "halyard/hal/device.h"
#include "halyard/hal/draft.h"
#include "halyard/hal/driver.h"
#include "halyard/hal/launch.h"
#include "halyard/hal/state.h"

namespace halyard {
namespace {

bool conflict(const Record& a, const Record& b) {
  bool found = false;
  const auto against = [&](const Record& writer, const Record& other) {
    for_each_write(writer, [&](const Binding& w) {
      for (std::size_t i = 0; i < other.kernel->def->access.size(); ++i) found |= overlap(w, other.bindings[i]);
    });
  };
  against(a, b);
  against(b, a);
  return found;
}

bool reads(const Record& r, const Binding& window) {
  bool found = false;
  for_each_read(r, [&](const Binding& b) { found |= b == window; });
  return found;
}
bool writes(const Record& r, const Binding& window) {
  bool found = false;
  for_each_write(r, [&](const Binding& b) { found |= b == window; });
  return found;
}
bool writes_any_of(const Record& r, const Binding& window) {
  bool found = false;
  for_each_write(r, [&](const Binding& b) { found |= overlap(b, window); });
  return found;
}

/// A node that is to be fused, in the order of the rule.
struct Part {
  std::size_t at;
  Record record;
};

/// Whether the fused dispatch finds what its parts found, leaves what they left, and may have its tiles run side by side.
bool does_as_its_parts(const AccessList& accesses, const Joined& fused, std::span<const Part> parts) {
  const auto window = [&](Joined::From f) -> const Binding& { return parts[f.part].record.bindings[f.binding]; };
  for (std::size_t i = 0; i < fused.bindings.size(); ++i) {
    const Joined::From from = fused.bindings[i];
    const Part& part = parts[from.part];
    const Binding& b = window(from);
    const Access access = accesses[i];
    if (access != Access::write &&
        (!reads(part.record, b) || std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
          return p.at < part.at && writes_any_of(p.record, b);
        })))
      return false;
    if (access == Access::read) continue;
    if (!writes(part.record, b) || std::any_of(parts.begin(), parts.end(), [&](const Part& p) {
          return p.at > part.at && writes_any_of(p.record, b);
        }))
      return false;
    // One tile must not write what another has yet to read or write.
    for (std::size_t k = 0; k < fused.bindings.size(); ++k) {
      const Joined::From other = fused.bindings[k];
      if (k != i && overlap(window(other), b) && !(fused.in_place && other.part == from.part)) return false;
    }
  }
  return true;
}

class Fuser {
 public:
  Fuser(Draft& d, std::vector<Binding> scratch) : d_(d), scratch_(std::move(scratch)) {
    for (const Node& n : d.nodes) nodes_.push_back(&n);
    barriers_ = count_barriers(nodes_);
  }
  std::size_t size() const { return nodes_.size(); }
  /// The nodes as they are now.
  std::vector<Node> nodes() const {
    std::vector<Node> all;
    for (const Node* n : nodes_) all.push_back(*n);
    return all;
  }

  /// Tries to fuse node `at` as the rule's consumer. The fused node's place, if it was done.
  Result<std::optional<std::size_t>> try_rule(const FusionRule& rule, std::size_t at) {
    if (record(at).kernel->def->name != rule.consumer || !rule.fused->forms.has(d_.device->driver->backend()))
      return std::nullopt;
    sources_ = sources_of(at);
    chosen_.clear();
    return choose(rule, at);
  }

 private:
  using Sequence = std::vector<const Node*>;
  const Record& record(std::size_t node) const { return nodes_[node]->record; }

  std::size_t count_barriers(const Sequence& nodes) {
    running_.reset();
    std::size_t n = 0;
    for (const Node* node : nodes) n += needs_barrier(running_, node->record);
    return n;
  }

  /// For each binding that the node reads, in their order: the last node before it that writes any of it.
  std::vector<std::size_t> sources_of(std::size_t at) const {
    std::vector<std::size_t> sources;
    for_each_read(record(at), [&](const Binding& b) {
      for (std::size_t i = at; i-- > 0;) {
        if (!writes_any_of(record(i), b)) continue;
        sources.push_back(i);
        break;
      }
    });
    return sources;
  }

  /// Goes through the ways to choose the rule's producers among the sources.
  Result<std::optional<std::size_t>> choose(const FusionRule& rule, std::size_t at) {
    if (chosen_.size() == rule.producers.size()) return attempt(rule, at);
    for (const std::size_t s : sources_) {
      if (record(s).kernel->def->name != rule.producers[chosen_.size()]) continue;
      if (std::find(chosen_.begin(), chosen_.end(), s) != chosen_.end()) continue;
      chosen_.push_back(s);
      const auto done = HALYARD_TRY(choose(rule, at));
      if (done) return done;
      chosen_.pop_back();
    }
    return std::nullopt;
  }

  Result<std::optional<std::size_t>> attempt(const FusionRule& rule, std::size_t at) {
    std::vector<std::size_t> nodes = chosen_;
    nodes.push_back(at);
    std::vector<Record> records;
    std::vector<Part> parts;
    for (const std::size_t n : nodes) {
      records.push_back(record(n));
      parts.push_back({n, record(n)});
    }
    const std::optional<Joined> joined = rule.join(records);
    if (!joined) return std::nullopt;
    HALYARD_TRY(check(*rule.fused, *joined, parts));
    if (!does_as_its_parts(rule.fused->access, *joined, parts)) return std::nullopt;
    const auto node = HALYARD_TRY(make(*rule.fused, *joined, parts));
    if (!node) return std::nullopt;

    std::sort(nodes.begin(), nodes.end());
    const bool all_move_down =
        std::all_of(nodes.begin(), nodes.end(), [&](std::size_t n) { return may_cross(n, n + 1, at, nodes); });
    if (all_move_down && replace(nodes, at, *node)) return at - (nodes.size() - 1);
    const std::size_t first = nodes.front();
    if (nodes.size() == 2 && may_cross(at, first + 1, at, nodes) && replace(nodes, first, *node)) return first;
    return std::nullopt;
  }

  static Result<void> check(const KernelDef& into, const Joined& f, std::span<const Part> parts) {
    if (f.bindings.size() != into.access.size())
      return fail(Errc::invalid_argument, fmt::format("fusing into {}: it has {} bindings, got {}", into.name,
                                                      into.access.size(), f.bindings.size()));
    for (const Joined::From b : f.bindings)
      if (b.part >= parts.size() || b.binding >= parts[b.part].record.kernel->def->access.size())
        return fail(Errc::invalid_argument,
                    fmt::format("fusing into {}: there is no binding {} of part {}", into.name, b.binding, b.part));
    return {};
  }

  /// The node of a fused dispatch; nothing where its form asks for more scratch or blocks than there may be, or it leaves a
  /// parameter no place.
  Result<std::optional<Node>> make(const KernelDef& into, const Joined& f, std::span<const Part> parts) {
    Node node;
    for (std::size_t i = 0; i < parts.size(); ++i)
      for (RecordedPlace p : nodes_[parts[i].at]->places) {
        if (i >= f.constants_at.size() || !f.constants_at[i]) return std::nullopt;
        p.at += *f.constants_at[i];
        node.places.push_back(std::move(p));
      }
    auto* bindings = reinterpret_cast<Binding*>(d_.arena.take(f.bindings.size() * sizeof(Binding)));
    std::array<std::size_t, AccessList::max_bindings> sizes;
    for (std::size_t i = 0; i < f.bindings.size(); ++i) {
      bindings[i] = parts[f.bindings[i].part].record.bindings[f.bindings[i].binding];
      sizes[i] = bindings[i].bytes;
    }
    const KernelRef kernel = HALYARD_TRY(Device(d_.device).kernel(into));
    const Capabilities& capabilities = d_.device->driver->capabilities();
    const Launch launch =
        HALYARD_TRY(launch_of(*kernel.get(), {f.constants, std::span(sizes).first(f.bindings.size()), capabilities}));
    if (!check_launch(*kernel.get(), launch.grid, launch.block, launch.shared_bytes, *d_.device->driver))
      return std::nullopt;
    std::byte* constants = d_.arena.take(f.constants.size());
    std::memcpy(constants, f.constants.data(), f.constants.size());
    const Grid* block = new (d_.arena.take(sizeof(Grid))) Grid(launch.block);
    node.record = {kernel.get(),
                   bindings,
                   constants,
                   block,
                   launch.grid,
                   static_cast<std::uint32_t>(launch.shared_bytes),
                   static_cast<std::uint16_t>(f.constants.size()),
                   false};
    return node;
  }

  /// Whether `node` conflicts with none of the nodes [begin, end), parts left out.
  bool may_cross(std::size_t node, std::size_t begin, std::size_t end, const std::vector<std::size_t>& parts) const {
    for (std::size_t i = begin; i < end; ++i)
      if (!std::binary_search(parts.begin(), parts.end(), i) && conflict(record(node), record(i))) return false;
    return true;
  }

  /// Puts `fused` in the place of the part `place` and drops the others, unless somebody would miss what they wrote or there
  /// would be more barriers.
  bool replace(const std::vector<std::size_t>& parts, std::size_t place, const Node& fused) {
    Sequence nodes;
    std::size_t at = 0;
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (i == place) at = nodes.size();
      if (i == place) nodes.push_back(&fused);
      else if (!std::binary_search(parts.begin(), parts.end(), i)) nodes.push_back(nodes_[i]);
    }
    for (const std::size_t p : parts)
      if (!may_lose_the_rest(record(p), nodes, at)) return false;
    const std::size_t barriers = count_barriers(nodes);
    if (barriers > barriers_) return false;
    barriers_ = barriers;
    nodes[at] = &made_.emplace_back(fused);
    nodes_ = std::move(nodes);
    return true;
  }

  /// Whether nobody reads what `part` wrote, but nodes[at] does not write, after that.
  bool may_lose_the_rest(const Record& part, const Sequence& nodes, std::size_t at) const {
    ByteMap<bool> lost;
    for_each_write(part, [&](const Binding& b) { lost.set(b, true); });
    for_each_write(nodes[at]->record, [&](const Binding& b) { lost.set(b, false); });
    const auto any_lost = [&](const Binding& b) { return writes_any_of(part, b) && lost.any(b, true); };
    for (std::size_t i = at + 1; i < nodes.size(); ++i) {
      bool read = false;
      for_each_read(nodes[i]->record, [&](const Binding& b) { read |= any_lost(b); });
      if (read) return false;
      for_each_overwritten(nodes[i]->record, [&](const Binding& b) {
        if (any_lost(b)) lost.set(b, false);
      });
    }
    for (const Binding& b : scratch_) lost.set(b, false);
    bool left = false;
    for_each_write(part, [&](const Binding& b) { left |= lost.any(b, true); });
    return !left;
  }

  Draft& d_;
  std::vector<Binding> scratch_;
  Sequence nodes_;
  std::deque<Node> made_;
  MemRanges running_;
  std::size_t barriers_ = 0;
  std::vector<std::size_t> sources_, chosen_;
};

Result<ComputeGraph> fused(const ComputeGraph& graph, std::span<const FusionRule> rules, const Scratch& scratch) {
  if (!graph.device())
    return fail(Errc::invalid_state, "a graph that no encoder captured has no device to fuse kernels for");
  HALYARD_TRY(check_scratch(graph, scratch));
  for (std::size_t i = 0; i < rules.size(); ++i)
    if (!rules[i].fused || !rules[i].join || rules[i].producers.empty())
      return fail(Errc::invalid_argument,
                  fmt::format("rule {} of fusion: expected producers, a fused kernel and a function", i));
  Draft d(graph);
  Fuser fuser(d, scratch_of(graph, scratch));
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t at = 0; at < fuser.size(); ++at)
      for (std::size_t r = 0; r < rules.size(); ++r) {
        const auto place = HALYARD_TRY(fuser.try_rule(rules[r], at));
        if (!place) continue;
        changed = true;
        at = *place;
        r = SIZE_MAX;  // from the first rule again, for the new node
      }
  }
  d.nodes = fuser.nodes();
  return d.finish();
}

}  // namespace

Result<ComputeGraph> fuse(const ComputeGraph& graph, std::span<const FusionRule> rules, const Scratch& scratch) {
  return guarded([&] { return fused(graph, rules, scratch); });
}

}  // namespace halyard

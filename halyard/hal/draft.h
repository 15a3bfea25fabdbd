// A graph taken apart, for the passes to change. Internal to hal.
#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "halyard/hal/graph.h"
#include "halyard/hal/hazard.h"
#include "halyard/hal/passes.h"
#include "halyard/hal/stretches.h"

namespace halyard {

struct Node {
  Record record;                      ///< its bindings and constants lie in the draft's arena, or in the graph's
  std::vector<RecordedPlace> places;  ///< whose `record` is not kept up to date
};

struct Draft {
  /// `graph` must outlive it.
  explicit Draft(const ComputeGraph& graph);
  /// The nodes in their order, barriers placed anew.
  ComputeGraph finish() const;

  std::vector<Node> nodes;
  std::vector<RecordedPlace> unused;
  std::shared_ptr<DeviceState> device;
  std::unordered_map<const Allocation*, AllocationRef> memory;  // all that a node may bind
  Arena arena;
};

/// ComputeGraph::edges(), where memory that runs out is the caller's business.
std::vector<GraphEdge> edges_of(const Recording&);

/// Whether a barrier must stand before the record, after those that `running` knows; books it there.
bool needs_barrier(MemRanges& running, const Record&);

/// The graph's scratch: the windows that are there, and its placeholders.
std::vector<Binding> scratch_of(const ComputeGraph&, const Scratch&);
Binding binding_of(const Buffer&);
/// An error where a window is of another device than the graph's. Null windows count for nothing.
Result<void> check_scratch(const ComputeGraph&, const Scratch&);

}  // namespace halyard

// Captured dispatches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "halyard/base/result.h"
#include "halyard/hal/plan.h"

namespace halyard {

struct DeviceState;
struct Recording;

/// Node `to` must run after node `from`: one of them writes bytes that the other binds too.
struct GraphEdge {
  std::uint32_t from, to;  ///< from < to
  bool raw = false;        ///< to reads what from wrote
  bool war = false;        ///< to overwrites what from read
  bool waw = false;        ///< to overwrites what from wrote
  friend bool operator==(const GraphEdge&, const GraphEdge&) = default;
};

/// Dispatches recorded instead of run, each with its ranges: a directed acyclic graph. Holds references to the memory it
/// uses.
class ComputeGraph {
 public:
  explicit ComputeGraph(std::shared_ptr<const Recording>, std::shared_ptr<DeviceState> = nullptr);
  /// Dispatches captured.
  std::size_t size() const;
  /// Barriers that the recorded order needs.
  std::size_t barriers() const;
  const Recording& recording() const;
  /// The device of the encoder that captured it; null where none did.
  const std::shared_ptr<DeviceState>& device() const { return device_; }

  /// The hazards between nodes, from their byte ranges, sorted by `to`, then `from`. An edge that follows from others is
  /// left out where a write in between has taken its place.
  Result<std::vector<GraphEdge>> edges() const;
  /// For Graphviz. Empty, as to_json(), where there is no memory for it.
  std::string to_dot() const;
  /// {"nodes": [{"kernel", "grid", "barrier", "bindings": [{"memory", "access", "begin", "end"}]}],
  /// "edges": [{"from", "to", "hazards"}]}: memory is numbered in order of first use, ranges are bytes of it.
  std::string to_json() const;

  /// The graph as a plan in its recorded order, barriers where they were. `parameters` are the names to be given values at
  /// each replay; other places keep what was recorded. Errors: a name that no dispatch declares; one whose places were
  /// recorded with different values; a place outside its dispatch's constants.
  Result<Plan> compile(std::span<const std::string_view> parameters = {}) const;

 private:
  Result<Plan> make_plan(std::span<const std::string_view> parameters) const;
  std::shared_ptr<const Recording> recording_;
  std::shared_ptr<DeviceState> device_;
};

}  // namespace halyard

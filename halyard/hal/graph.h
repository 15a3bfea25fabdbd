// Captured dispatches.
#pragma once

#include <cstddef>
#include <memory>

namespace halyard {

struct Recording;

/// Dispatches recorded instead of run, each with its ranges. Holds references to the memory it uses.
class ComputeGraph {
 public:
  explicit ComputeGraph(std::shared_ptr<const Recording>);
  /// Dispatches captured.
  std::size_t size() const;
  /// Barriers that the recorded order needs.
  std::size_t barriers() const;
  const Recording& recording() const { return *recording_; }

 private:
  std::shared_ptr<const Recording> recording_;
};

}  // namespace halyard

#include "halyard/hal/graph.h"

#include <algorithm>

#include "halyard/hal/state.h"

namespace halyard {

ComputeGraph::ComputeGraph(std::shared_ptr<const Recording> r) : recording_(std::move(r)) {}

std::size_t ComputeGraph::size() const { return recording_->records.size(); }

std::size_t ComputeGraph::barriers() const {
  const auto& r = recording_->records;
  return static_cast<std::size_t>(std::count_if(r.begin(), r.end(), [](const Record& x) { return x.barrier_before; }));
}

}  // namespace halyard

// Plans: a graph made ready once, and replayed with other values of its named parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace halyard {

struct PlanState;

/// A place in a dispatch's constants whose value may change from one replay to the next: an unsigned integer.
struct ParameterPlace {
  std::string_view name;
  std::uint32_t at = 0;     ///< bytes into the constants
  std::uint32_t bytes = 8;  ///< 4 or 8
  std::uint64_t most = 0;   ///< the greatest value the dispatch's buffers allow; its grid must not depend on the value
};

/// The value of a parameter for one replay.
struct PlanParameter {
  std::string_view name;
  std::uint64_t value = 0;
};

/// A handle, made by ComputeGraph::compile and replayed by CommandEncoder::replay, as often as one likes. Holds references
/// to the memory it uses. The same plan may be replayed by several threads; it works on the same buffers each time.
class Plan {
 public:
  explicit Plan(std::shared_ptr<const PlanState> s) : state_(std::move(s)) {}
  /// Dispatches of one replay.
  std::size_t size() const;
  std::size_t barriers() const;
  const PlanState& state() const { return *state_; }
  const std::shared_ptr<const PlanState>& shared() const { return state_; }

 private:
  std::shared_ptr<const PlanState> state_;
};

}  // namespace halyard

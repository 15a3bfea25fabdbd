// An independent judge of recorded work: which accesses are ordered, and how few barriers would have done. Shares no code
// with hazard tracking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halyard/hal/recording.h"

namespace halyard::testing {

/// Two dispatches, by their place in the recording, of which one writes bytes that the other reads or writes.
struct Conflict {
  std::size_t first, second;
};

/// The conflicts between dispatches of which neither happens before the other.
std::vector<Conflict> unordered_conflicts(std::span<const Record>);

/// Barriers between dispatches; one before the first separates nothing.
std::size_t count_barriers(std::span<const Record>);

/// The fewest barriers that order all conflicts, found by trying every set of places. `forced`: whether one must stand
/// before a dispatch, for each. At most 16 dispatches between two that are forced.
std::size_t fewest_barriers(std::span<const Record>, const std::vector<bool>& forced);

}  // namespace halyard::testing

#pragma once

#include <string_view>

#include "halyard/hal/buffer.h"

namespace halyard::ops {

/// Which rows of a step are whose, and where each sequence's state lies: in slots, the first axis of the state. A step reads
/// one slot and writes another, so that what it does not finish leaves no trace and sequences may begin with one state. A
/// sequence without rows reads and writes nothing.
struct SlotBatch {
  Buffer spans;     ///< i32 [S, 4]: of KvBatch's the first row and the rows count
  Buffer from, to;  ///< i32 [S]: the slot that is read, -1: zeros; and written, another than anybody reads
};

/// For ops that take one of so many sequences: an error where it is of another shape.
Result<void> check_slot_batch(std::string_view op, const SlotBatch&, std::size_t sequences);

}  // namespace halyard::ops

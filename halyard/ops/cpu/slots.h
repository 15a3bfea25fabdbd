// A sequence's rows and slots, as kernels over a SlotBatch find them. Everything has internal linkage, for kernels of several
// instruction sets include this.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halyard/hal/cpu/kernel.h"

namespace halyard::ops {
namespace {

struct SlotSpan {
  std::size_t first = 0, rows = 0;
  std::int64_t from = -1, to = -1;
};

/// Of sequence s; no rows where there is nothing to do. What is not there makes the command buffer fail. `spans`: their
/// binding, which from and to follow.
inline SlotSpan slot_span(const CpuTile& t, std::size_t spans, std::uint64_t s, std::uint64_t rows,
                          std::uint64_t slots) {
  const std::int32_t* span = t.as<std::int32_t>(spans) + 4 * s;
  const std::int64_t first = span[0], count = span[1], most = static_cast<std::int64_t>(rows),
                     from = t.as<std::int32_t>(spans + 1)[s], to = t.as<std::int32_t>(spans + 2)[s];
  if (count == 0) return {};
  if (first < 0 || count < 0 || first > most || count > most - first) {
    t.fail("rows %lld and on of a sequence are not among the step's %lld", first, most);
    return {};
  }
  if (from < -1 || from >= static_cast<std::int64_t>(slots) || to < 0 || to >= static_cast<std::int64_t>(slots) ||
      from == to) {
    t.fail("a state is read from slot %lld and written to slot %lld: expected two of those that are there", from, to);
    return {};
  }
  return {static_cast<std::size_t>(first), static_cast<std::size_t>(count), from, to};
}

}  // namespace
}  // namespace halyard::ops

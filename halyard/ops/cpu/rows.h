// The rows of a CPU tile whose work-items are several rows each. Everything has internal linkage, for kernels of several
// instruction sets include this.
#pragma once

#include <cstdint>

#include "halyard/hal/kernel.h"

namespace halyard::ops {
namespace {

/// row(r) for the tile's rows; one work-item does `item_rows` of all `rows`.
template <class Row>
void for_each_row(const CpuTile& t, std::uint64_t rows, std::uint64_t item_rows, const Row& row) {
  const std::uint64_t limit = t.x1 * item_rows, end = limit < rows ? limit : rows;
  for (std::uint64_t r = t.x0 * item_rows; r < end; ++r) row(r);
}

}  // namespace
}  // namespace halyard::ops

// How the CPU cuts rows and elements into tiles.
#pragma once

#include "halyard/hal/cpu/kernel.h"

namespace halyard::ops {

/// Elements of a tile of row-wise and element-wise kernels: a few microseconds.
inline constexpr std::uint64_t kTileElements = 2048;

/// Work-items are elements.
inline Launch in_elements(std::uint64_t elements, std::uint64_t each = kTileElements) {
  return {.grid = {elements}, .block = {each}};
}
/// Work-items are rows that take as long as `width` elements: as many a tile as make kTileElements, at least one.
inline Launch in_rows(std::uint64_t rows, std::uint64_t width, std::size_t scratch = 0) {
  return {
      .grid = {rows}, .block = {width && width < kTileElements ? kTileElements / width : 1}, .shared_bytes = scratch};
}

/// The same for arguments with members of these names.
template <class Arguments> Launch in_elements_of(const LaunchInputs& in) {
  return in_elements(in.arguments.as<Arguments>().elements);
}
template <class Arguments> Launch in_rows_of(const LaunchInputs& in) {
  const auto a = in.arguments.as<Arguments>();
  return in_rows(a.rows, a.width);
}

}  // namespace halyard::ops

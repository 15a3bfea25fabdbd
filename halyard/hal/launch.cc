#include "halyard/hal/launch.h"

#include <fmt/format.h>

namespace halyard {

Result<Launch> launch_of(const CompiledKernel& k, const LaunchInputs& inputs) {
  if (!k.launch)
    return fail(
        Errc::invalid_argument,
        fmt::format("kernel {}: its form does not decide a grid: expected a dispatch that brings one", k.def->name));
  const Launch l = k.launch(inputs);
  if (!l.block.x || !l.block.y || !l.block.z)
    return fail(Errc::invalid_argument, fmt::format("kernel {}: its form makes empty blocks", k.def->name));
  return l;
}

Result<void> refuse_launch(const CompiledKernel& k, const Grid& grid, const Grid& block, std::size_t shared_bytes,
                           const Capabilities& c) {
  if (too_many_blocks(grid, block))
    return fail(
        Errc::invalid_argument,
        fmt::format("kernel {}: expected at most {} blocks, got a grid of {} × {} × {} in blocks of {} × {} × {}",
                    k.def->name, max_blocks, grid.x, grid.y, grid.z, block.x, block.y, block.z));
  return fail(Errc::invalid_argument, fmt::format("kernel {} asks for {} bytes of shared memory, at most {} are there",
                                                  k.def->name, shared_bytes, c.max_shared_bytes));
}

}  // namespace halyard

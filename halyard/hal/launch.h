// Whether and how a dispatch is launched. Internal to hal.
#pragma once

#include "halyard/hal/driver.h"

namespace halyard {

/// What the kernel's form makes of a dispatch; an error where it makes nothing of any.
Result<Launch> launch_of(const CompiledKernel&, const LaunchInputs&);
/// Whether a dispatch may be run so.
Result<void> refuse_launch(const CompiledKernel&, const Grid& grid, const Grid& block, std::size_t shared_bytes,
                           const Capabilities&);
inline Result<void> check_launch(const CompiledKernel& k, const Grid& grid, const Grid& block, std::size_t shared_bytes,
                                 const Driver& driver) {
  // Asking the driver is a call, which few dispatches need.
  if (too_many_blocks(grid, block) || (shared_bytes && shared_bytes > driver.capabilities().max_shared_bytes))
      [[unlikely]]
    return refuse_launch(k, grid, block, shared_bytes, driver.capabilities());
  return {};
}

}  // namespace halyard

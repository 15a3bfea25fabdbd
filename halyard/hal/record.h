// What an encoder records: plain data, read by hazard tracking, graphs, passes and every driver alike.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halyard/hal/kernel.h"

namespace halyard {

class Allocation;

/// A kernel ready to run on one device. Owned by the device, at a stable address.
struct CompiledKernel {
  virtual ~CompiledKernel() = default;
  const KernelDef* def = nullptr;
  const void* device = nullptr;  ///< the DeviceState it belongs to
  Grid block = {};               ///< Launch::block of dispatches that bring their grid
  LaunchFn launch = nullptr;     ///< of those that do not; null: all must
};

/// The bytes of one allocation that a dispatch binds.
struct Binding {
  Allocation* allocation;
  std::uint64_t offset, bytes;
  friend bool operator==(const Binding&, const Binding&) = default;
};

/// One dispatch. Bindings and constants lie in the recording's arena. A cache line: there are many.
struct Record {
  const CompiledKernel* kernel;
  const Binding* bindings;     ///< kernel->def->access.size() of them
  const std::byte* constants;  ///< aligned to 8
  const Grid* block;           ///< of the Launch, as grid and shared_bytes; the kernel's, or in the arena
  Grid grid;
  std::uint32_t shared_bytes;
  std::uint16_t constants_bytes;
  bool barrier_before;  ///< all records before this one finish first
};

static_assert(sizeof(Record) == 64);

}  // namespace halyard

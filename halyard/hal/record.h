// What an encoder records: plain data in an arena, read by hazard tracking, graphs and every driver alike.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "halyard/hal/kernel.h"

namespace halyard {

class Allocation;
struct PlanState;

/// A kernel ready to run on one device. Owned by the device, at a stable address.
struct CompiledKernel {
  const KernelDef* def = nullptr;
  const void* device = nullptr;  ///< the DeviceState it belongs to
  CpuKernelFn cpu = nullptr;
};

/// The bytes of one allocation that a dispatch binds.
struct Binding {
  Allocation* allocation;
  std::uint64_t offset, bytes;
  friend bool operator==(const Binding&, const Binding&) = default;
};

/// One dispatch. Bindings and constants lie in the recording's arena.
struct Record {
  const CompiledKernel* kernel;
  const Binding* bindings;     ///< kernel->def->access.size() of them
  const std::byte* constants;  ///< aligned to 8
  Grid grid;
  std::uint32_t constants_bytes;
  std::uint32_t shared_bytes;
  bool barrier_before;         ///< all records before this one finish first
};

/// Memory handed out front to back and freed together.
class Arena {
 public:
  /// Uninitialised bytes, aligned to 8.
  std::byte* take(std::size_t bytes) {
    bytes = (bytes + 7) & ~std::size_t{7};
    if (bytes > left_) grow(bytes);
    std::byte* p = next_;
    next_ += bytes;
    left_ -= bytes;
    return p;
  }

 private:
  void grow(std::size_t bytes) {
    const std::size_t block = std::max<std::size_t>(bytes, std::size_t{16} << 10);
    blocks_.push_back(std::make_unique_for_overwrite<std::byte[]>(block));
    next_ = blocks_.back().get();
    left_ = block;
  }
  std::vector<std::unique_ptr<std::byte[]>> blocks_;
  std::byte* next_ = nullptr;
  std::size_t left_ = 0;
};

/// A ParameterPlace of a captured record.
struct RecordedPlace {
  std::string name;
  std::uint32_t record, at, bytes;
  std::uint64_t most;
};

/// A plan replayed after the first `at` records: all of them finish before it starts, and it before the next one.
struct PlanCall {
  std::shared_ptr<const PlanState> plan;
  std::size_t at;
  const std::byte* constants;  ///< PlanState::constants with this replay's values
};

/// A sequence of dispatches and everything they need to stay valid.
struct Recording {
  std::vector<Record> records;
  std::vector<std::shared_ptr<Allocation>> retained;  ///< each allocation that a record binds, at least once
  Arena arena;
  std::vector<PlanCall> calls;        ///< in order; none in a graph's
  std::vector<RecordedPlace> places;  ///< parameters; a graph's only
  std::vector<RecordedPlace> unused;  ///< parameters of dispatches that a pass removed: their names and bounds still hold
};

}  // namespace halyard

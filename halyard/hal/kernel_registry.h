// The kernels of a device: known by name, compiled once for each specialisation. Internal to hal.
#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "halyard/hal/driver.h"

namespace halyard {

struct DeviceState;

/// Compiled kernels stay at their address as long as the device. Thread-safe. Functions may throw std::bad_alloc, having
/// changed nothing.
class KernelRegistry {
 public:
  explicit KernelRegistry(DeviceState& device) : device_(device) {}

  /// Compiles it where it is new; nobody who looks for others waits for that.
  Result<const CompiledKernel*> find_or_compile(const KernelDef&, const Constants& specialisation);
  /// Makes kernels known by name. An error where another kernel has the name.
  Result<void> add(std::span<const KernelDef* const>);
  const KernelDef* named(std::string_view) const;  ///< null: there is none

 private:
  struct Entry {
    Constants specialisation;
    std::unique_ptr<CompiledKernel> compiled;
  };
  const CompiledKernel* find(const KernelDef&, const Constants& specialisation) const;
  bool has_another_named(const KernelDef&) const;

  DeviceState& device_;
  mutable std::shared_mutex mutex_;  // held for moments only
  std::mutex compile_mutex_;         // by who compiles, before mutex_
  std::unordered_map<std::string_view, const KernelDef*> by_name_;
  std::unordered_map<const KernelDef*, std::vector<Entry>> compiled_;
};

}  // namespace halyard

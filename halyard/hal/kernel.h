// Kernels: named functions over bound buffers, constants and a grid, declared once and compiled lazily per device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "halyard/base/types.h"

namespace halyard {

/// What a kernel does with a binding. Written means all of the window: a kernel that leaves bytes of it as they were reads
/// and writes it.
enum class Access : std::uint8_t { read, write, read_write };

/// The bindings a kernel declares, in order, written as a string: 'r' read, 'w' write, 'x' read and write. 'w' is for a
/// window whose old content does not matter: bytes of it that the kernel leaves alone are undefined afterwards.
class AccessList {
 public:
  static constexpr std::size_t max_bindings = 16;
  constexpr AccessList() = default;
  constexpr AccessList(std::string_view letters) {
    for (const char c : letters) {
      if (size_ == max_bindings || (c != 'r' && c != 'w' && c != 'x')) {
        valid_ = false;
        return;
      }
      access_[size_++] = c == 'r' ? Access::read : c == 'w' ? Access::write : Access::read_write;
    }
  }
  constexpr AccessList(const char* letters) : AccessList(std::string_view(letters)) {}
  constexpr std::size_t size() const { return size_; }
  constexpr bool valid() const { return valid_; }
  constexpr Access operator[](std::size_t i) const { return access_[i]; }

 private:
  std::array<Access, max_bindings> access_{};
  std::size_t size_ = 0;
  bool valid_ = true;
};

/// Work-items along three axes; x is innermost.
struct Grid {
  std::uint64_t x = 1, y = 1, z = 1;
  friend bool operator==(const Grid&, const Grid&) = default;
};

/// Up to 128 bytes of plain data handed to a kernel with each dispatch (or, at look-up, to specialise it).
class Constants {
 public:
  static constexpr std::size_t max_bytes = 128;
  Constants() noexcept {}  // not defaulted: `= {}` would clear all bytes first, at every dispatch
  template <class T>
  requires(std::is_trivially_copyable_v<T> && sizeof(T) <= max_bytes && !std::is_same_v<T, Constants>)
      Constants(const T& value)
      : size_(sizeof(T)) {
    std::memcpy(bytes_, &value, sizeof(T));
  }

  const std::byte* data() const { return bytes_; }
  std::size_t size() const { return size_; }
  /// The bytes as a T; T's default where there are none.
  template <class T> T as() const {
    T value{};
    if (size_ == sizeof(T)) std::memcpy(&value, bytes_, sizeof(T));
    return value;
  }
  friend bool operator==(const Constants& a, const Constants& b) {
    return a.size_ == b.size_ && std::memcmp(a.bytes_, b.bytes_, a.size_) == 0;
  }

 private:
  std::uint32_t size_ = 0;
  alignas(8) std::byte bytes_[max_bytes];
};

/// The kinds of device there may be. A kernel has a form for each that can run it.
enum class Backend : std::uint8_t { cpu, cuda, vulkan };

struct Capabilities;
struct CpuForm;   // hal/cpu/kernel.h
struct CudaForm;  // of the drivers to come
struct VulkanForm;

/// How one dispatch is run.
struct Launch {
  Grid grid;                     ///< all its work-items
  Grid block = {};               ///< of them, those that one CPU tile or GPU block does
  std::size_t shared_bytes = 0;  ///< scratch of each block
};
/// What a form makes a Launch of.
struct LaunchInputs {
  const Constants& arguments;
  std::span<const std::size_t> sizes;  ///< bytes of each binding's window
  const Capabilities& device;
};
using LaunchFn = Launch (*)(const LaunchInputs&);

/// The forms of a kernel: the code, and how a dispatch is cut up. What is in one is its backend's business alone; null: that
/// backend does not have the kernel.
struct KernelForms {
  const CpuForm* cpu = nullptr;
  const CudaForm* cuda = nullptr;
  const VulkanForm* vulkan = nullptr;
  constexpr bool has(Backend b) const {
    switch (b) {
      case Backend::cpu: return cpu != nullptr;
      case Backend::cuda: return cuda != nullptr;
      case Backend::vulkan: return vulkan != nullptr;
    }
    return false;
  }
};

/// A kernel's declaration: what is computed, from what. Static data: it must outlive every device that uses it.
struct KernelDef {
  std::string_view name;  ///< unique on a device
  AccessList access;      ///< one letter a binding
  KernelForms forms = {};
};

struct CompiledKernel;

/// A compiled kernel of one device: a handle, valid as long as the device.
class KernelRef {
 public:
  KernelRef() = default;
  explicit KernelRef(const CompiledKernel* k) : kernel_(k) {}
  explicit operator bool() const { return kernel_ != nullptr; }
  const CompiledKernel* get() const { return kernel_; }
  std::string_view name() const;

 private:
  const CompiledKernel* kernel_ = nullptr;
};

}  // namespace halyard

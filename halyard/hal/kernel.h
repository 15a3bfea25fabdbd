// Kernels: named functions over bound buffers, constants and a grid, declared once and compiled lazily per device.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "halyard/base/types.h"
#include "halyard/hal/cpu/isa.h"

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
      if (size_ == max_bindings || (c != 'r' && c != 'w' && c != 'x')) { valid_ = false; return; }
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
  Constants() = default;
  template <class T>
    requires(std::is_trivially_copyable_v<T> && sizeof(T) <= max_bytes && !std::is_same_v<T, Constants>)
  Constants(const T& value) : size_(sizeof(T)) { std::memcpy(bytes_, &value, sizeof(T)); }

  const std::byte* data() const { return bytes_; }
  std::size_t size() const { return size_; }
  /// The bytes as a T; T's default where there are none.
  template <class T>
  T as() const {
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

struct CpuJob;

/// What a CPU kernel sees: the work-items [x0,x1) × [y0,y1) × [z0,z1) of its grid, to be done by this call alone.
struct CpuTile {
  std::uint64_t x0, x1, y0, y1, z0, z1;
  Grid grid;                       ///< of the whole dispatch
  std::byte* const* buffers;       ///< first byte of each binding's window
  const std::size_t* sizes;        ///< bytes of each binding's window
  const void* constants;           ///< the dispatch's Constants; aligned to 8
  std::byte* shared;               ///< this thread's scratch of the dispatch's shared_bytes, aligned to 64, content undefined
  CpuJob* job;                     ///< for may_write() and fail()

  template <class T>
  T* as(std::size_t i) const { return reinterpret_cast<T*>(buffers[i]); }
  template <class T>
  const T& constants_as() const { return *static_cast<const T*>(constants); }
  /// Restartable kernels ask before they write to any binding, and return where the answer is no: another thread has done
  /// the tile meanwhile.
  bool may_write() const;
  /// Makes the command buffer fail. `format` is a printf format for two long long values; the first failure wins.
  void fail(const char* format, long long a = 0, long long b = 0) const;
};
/// What it throws fails its command buffer. It may not wait for that, nor for any behind it: such calls are errors.
using CpuKernelFn = void (*)(const CpuTile&);

/// Picks the function for an instruction set and for specialising constants; nullptr: not for these constants.
using CpuKernelSelect = CpuKernelFn (*)(Isa, const Constants& specialisation);

/// A kernel's declaration. Static data: it must outlive every device that uses it.
struct KernelDef {
  std::string_view name;         ///< unique on a device
  AccessList access;             ///< one letter a binding
  Grid tile;                     ///< work-items of one CPU tile along each axis; fixed, so that results never depend on threads
  CpuKernelSelect cpu = nullptr; ///< nullptr: the CPU device does not have it
  /// Its CPU tiles ask may_write(): where a thread loses its core in one of them, another does it again. What the first
  /// one reads may change meanwhile; whatever it finds, it must come to its end and stay within its windows.
  bool restartable = false;
};

/// A kernel function that is the same for every instruction set.
template <CpuKernelFn fn>
inline constexpr CpuKernelSelect cpu_portable = [](Isa, const Constants&) -> CpuKernelFn { return fn; };

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

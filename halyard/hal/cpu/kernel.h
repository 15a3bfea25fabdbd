// The CPU's form of a kernel: plain functions over tiles of a grid, one for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halyard/hal/cpu/isa.h"
#include "halyard/hal/kernel.h"

namespace halyard {

struct CpuJob;

/// What a CPU kernel sees: the work-items [x0,x1) × [y0,y1) × [z0,z1) of its grid, to be done by this call alone.
struct CpuTile {
  std::uint64_t x0, x1, y0, y1, z0, z1;
  Grid grid;                  ///< of the whole dispatch
  std::byte* const* buffers;  ///< first byte of each binding's window
  const std::size_t* sizes;   ///< bytes of each binding's window
  const void* constants;      ///< the dispatch's Constants; aligned to 8
  std::byte* shared;  ///< this thread's scratch of the dispatch's shared_bytes, aligned to 64, content undefined
  CpuJob* job;        ///< for may_write() and fail()

  template <class T> T* as(std::size_t i) const { return reinterpret_cast<T*>(buffers[i]); }
  template <class T> const T& constants_as() const { return *static_cast<const T*>(constants); }
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

/// How the CPU runs a kernel. Static data, as the KernelDef.
struct CpuForm {
  CpuKernelSelect select = nullptr;
  /// Work-items of one tile along each axis, where the dispatch brings its grid. Fixed, so that results never depend on threads.
  Grid tile = {};
  /// Its tiles ask may_write(): where a thread loses its core in one of them, another does it again. What the first
  /// one reads may change meanwhile; whatever it finds, it must come to its end and stay within its windows.
  bool restartable = false;
  LaunchFn launch = nullptr;  ///< the grid and its tiles, where the dispatch does not bring one
};

/// A form whose function is the same for every instruction set.
template <CpuKernelFn fn, Grid tile = Grid{}, bool restartable = false>
inline constexpr CpuForm cpu_form = {[](Isa, const Constants&) -> CpuKernelFn { return fn; }, tile, restartable};

}  // namespace halyard

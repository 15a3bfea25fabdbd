// Who a tile runs for, and how it is run. Internal to drivers that run CPU forms.
#pragma once

#include <exception>

#include "halyard/hal/cpu/attempt.h"
#include "halyard/hal/cpu/kernel.h"
#include "halyard/hal/submission.h"

namespace halyard {

/// A kernel of a device that runs CPU forms.
struct CpuKernel final : CompiledKernel {
  CpuKernelFn run = nullptr;
  bool restartable = false;
};
inline const CpuKernel& cpu_kernel(const Record& r) { return static_cast<const CpuKernel&>(*r.kernel); }
/// The form for an instruction set.
Result<std::unique_ptr<CompiledKernel>> compile_cpu_form(const KernelDef&, Isa, const Constants& specialisation);

/// Where kernels see memory of a device that runs CPU forms.
inline std::byte* cpu_address(const Memory& m) {
  return reinterpret_cast<std::byte*>(m.address);
}  // NOLINT: it came from a pointer

/// What a tile of a CPU kernel belongs to, for whoever calls kernels.
struct CpuJob {
  enum class Answer : std::uint8_t { none, yes, no };
  Submission* submission;
  const Record* record;
  cpu::Attempt* attempt = nullptr;  ///< null: nobody else may do it
  Answer answer = Answer::none;     ///< to may_write()
};

/// Runs a tile. What the kernel throws fails its command buffer.
void kernel_threw(const CpuTile&, const char* what);
inline void call_kernel(CpuKernelFn kernel, const CpuTile& t) {
  try {
    kernel(t);
  } catch (const std::exception& e) { kernel_threw(t, e.what()); } catch (...) {
    kernel_threw(t, "something that is no std::exception");
  }
}

}  // namespace halyard

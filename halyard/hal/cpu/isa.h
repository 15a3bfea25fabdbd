// Instruction sets that CPU kernels are compiled for. Files named *.isa.cc are compiled once for each, with HALYARD_ISA
// set to the enumerator's name; the best one the processor has is chosen when a device is opened.
//
// How an op offers its kernels:
//   in its x.cc:        const KernelDef add_def = {"add_f32", "rrw", {.cpu = &cpu::add}};
//   in its cpu.h:       template <Isa> void add_cpu(const CpuTile&);
//   in its cpu.cc:      const CpuForm add = {.select = HALYARD_CPU_KERNEL(add_cpu), .launch = …};
//   in its cpu.isa.cc:  template <> void add_cpu<kIsa>(const CpuTile& t) { … }
#pragma once

#include <string_view>

namespace halyard {

#if defined(__x86_64__)
#define HALYARD_FOR_EACH_ISA(X) X(plain) X(avx2) X(avx512) X(avx512vnni) X(avx512bf16)
#elif defined(__aarch64__)
#define HALYARD_FOR_EACH_ISA(X) X(plain) X(neon)
#else
#define HALYARD_FOR_EACH_ISA(X) X(plain)
#endif

#define HALYARD_ISA_ENUMERATOR(name) name,
/// Worst to best.
enum class Isa { HALYARD_FOR_EACH_ISA(HALYARD_ISA_ENUMERATOR) };
#undef HALYARD_ISA_ENUMERATOR

/// The enumerator's name.
std::string_view to_string(Isa);
/// The best instruction set this processor, operating system and build support.
Isa best_isa();

/// Whether this build has kernels for it. HALYARD_ISA_MOST is the last one it has, where it does not have all.
constexpr bool is_built([[maybe_unused]] Isa isa) {
#ifdef HALYARD_ISA_MOST
  return isa <= Isa::HALYARD_ISA_MOST;
#else
  return true;
#endif
}

#ifdef HALYARD_ISA
/// The instruction set this translation unit is compiled for.
inline constexpr Isa kIsa = Isa::HALYARD_ISA;
#endif

/// A CpuKernelSelect over the specialisations f<Isa>, one of which stands in each compilation of a *.isa.cc file.
#define HALYARD_CPU_KERNEL(f)                                                     \
  [](::halyard::Isa isa, const ::halyard::Constants&) -> ::halyard::CpuKernelFn { \
    switch (isa) { HALYARD_FOR_EACH_ISA_CASE(f) }                                 \
    return nullptr;                                                               \
  }
#define HALYARD_ISA_CASE(name, f)                                                             \
  case ::halyard::Isa::name:                                                                  \
    if constexpr (::halyard::is_built(::halyard::Isa::name)) return &f<::halyard::Isa::name>; \
    break;
#if defined(__x86_64__)
#define HALYARD_FOR_EACH_ISA_CASE(f) \
  HALYARD_ISA_CASE(plain, f)         \
  HALYARD_ISA_CASE(avx2, f)          \
  HALYARD_ISA_CASE(avx512, f)        \
  HALYARD_ISA_CASE(avx512vnni, f)    \
  HALYARD_ISA_CASE(avx512bf16, f)
#elif defined(__aarch64__)
#define HALYARD_FOR_EACH_ISA_CASE(f) HALYARD_ISA_CASE(plain, f) HALYARD_ISA_CASE(neon, f)
#else
#define HALYARD_FOR_EACH_ISA_CASE(f) HALYARD_ISA_CASE(plain, f)
#endif

}  // namespace halyard

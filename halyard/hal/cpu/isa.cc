#include "halyard/hal/cpu/isa.h"

namespace halyard {

std::string_view to_string(Isa isa) {
#define HALYARD_ISA_NAME(name) \
  case Isa::name: return #name;
  switch (isa) { HALYARD_FOR_EACH_ISA(HALYARD_ISA_NAME) }
#undef HALYARD_ISA_NAME
  return "unknown";
}

namespace {
Isa best_of_machine() {
#if defined(__x86_64__)
  // The compiler's run-time support checks the operating system's part (XCR0) too.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  if (vnni && __builtin_cpu_supports("avx512bf16")) return Isa::avx512bf16;
  if (vnni) return Isa::avx512vnni;
  if (avx512) return Isa::avx512;
  return avx2 ? Isa::avx2 : Isa::plain;
#elif defined(__aarch64__)
  return Isa::neon;
#else
  return Isa::plain;
#endif
}
}  // namespace

Isa best_isa() {
  Isa best = best_of_machine();
  while (!is_built(best)) best = static_cast<Isa>(static_cast<int>(best) - 1);
  return best;
}

}  // namespace halyard

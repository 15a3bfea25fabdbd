// What only a CPU device can be told.
#pragma once

#include <optional>

namespace halyard {

enum class Isa;  // hal/cpu/isa.h

struct CpuOptions {
  static constexpr int max_threads = 1024;
  int threads = 0;              ///< that work on a command buffer, the waiting one included; 0: one a core
  std::optional<Isa> isa = {};  ///< at most this instruction set; none: the best the processor has
  /// Keep large memory of the residency set, imported files too, from being swapped out or dropped once it has been
  /// touched, as far as the system allows and up to three quarters of the memory that was free at open(). On by default:
  /// it takes next to no time, and a token after a pause would else wait for a disk. See Device::residency(). HALYARD_PIN=0
  /// in the environment turns it off.
  bool pin = true;
};

}  // namespace halyard

// Which core a thread runs on, and moving it to another one.
#pragma once

#include <span>

namespace halyard::cpu {

/// The core that the calling thread runs on; -1 where the system does not say.
int current_core();

/// Moves the calling thread to a core that is not among `taken`, if it may run on one. It is not bound to that core: the
/// scheduler may move it again.
void leave_cores(std::span<const int> taken);

}  // namespace halyard::cpu

// Which core a thread runs on, whether it has one, and moving it to another.
#pragma once

#include <ctime>
#include <span>

namespace halyard::cpu {

/// The core that the calling thread runs on; -1 where the system does not say.
int current_core();

/// Moves the calling thread to a core that is not among `taken`, if it may run on one. It is not bound to that core: the
/// scheduler may move it again.
void leave_cores(std::span<const int> taken);

/// The processor time of one thread of this process.
using ThreadClock = clockid_t;
ThreadClock this_thread_clock();

/// Whether the clock's thread, which must exist, has no core: its time does not pass. False where the system does not say.
bool stands_still(ThreadClock);

}  // namespace halyard::cpu

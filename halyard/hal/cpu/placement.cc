#include "halyard/hal/cpu/placement.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace halyard::cpu {

#if defined(__linux__)

int current_core() { return ::sched_getcpu(); }

void leave_cores(std::span<const int> taken) {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  cpu_set_t others = allowed;
  for (const int core : taken)
    if (core >= 0 && core < CPU_SETSIZE) CPU_CLR(core, &others);
  if (CPU_COUNT(&others) == 0 || ::sched_setaffinity(0, sizeof others, &others) != 0) return;
  ::sched_setaffinity(0, sizeof allowed, &allowed);
}

#else

int current_core() { return -1; }
void leave_cores(std::span<const int>) {}

#endif

}  // namespace halyard::cpu

#include "halyard/hal/cpu/placement.h"

#include <chrono>

#if defined(__linux__)
#include <pthread.h>
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

ThreadClock this_thread_clock() {
  ThreadClock clock{};
  return ::pthread_getcpuclockid(::pthread_self(), &clock) == 0 ? clock : ThreadClock{};
}

bool stands_still(ThreadClock clock) {
  if (clock == ThreadClock{}) return false;
  timespec before, after;
  if (::clock_gettime(clock, &before) != 0) return false;
  const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(10);
  while (std::chrono::steady_clock::now() < until) {}
  return ::clock_gettime(clock, &after) == 0 && before.tv_sec == after.tv_sec && before.tv_nsec == after.tv_nsec;
}

#else

int current_core() { return -1; }
void leave_cores(std::span<const int>) {}
ThreadClock this_thread_clock() { return {}; }
bool stands_still(ThreadClock) { return false; }

#endif

}  // namespace halyard::cpu

// Time for tests that bound work: it stands still while others have the processor.
#pragma once

#include <ctime>

namespace halyard::testing {

/// Milliseconds of processor time that this thread has used.
inline double thread_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

}  // namespace halyard::testing

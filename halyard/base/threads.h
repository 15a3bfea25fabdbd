// Starting threads, which the system may refuse.
#pragma once

#include <exception>
#include <new>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "halyard/base/result.h"

namespace halyard {

/// Starts threads until there are `n`, each running f(its number). An error says which one could not be started; those before
/// it run, and are the caller's to stop and join.
template <class F> Result<void> start_threads(std::vector<std::thread>& to, std::size_t n, const F& f) {
  try {
    to.reserve(n);
    while (to.size() < n) to.emplace_back(f, to.size());
    return {};
  } catch (const std::exception& e) {
    const bool memory = dynamic_cast<const std::bad_alloc*>(&e) != nullptr;
    return fail(
        memory ? Errc::out_of_memory : Errc::limit_exceeded,
        fmt::format(
            "cannot start thread {} of {}: {}; ask for fewer threads, or let this process have more (ulimit -u, "
            "ulimit -v, a container's limit of pids or memory)",
            to.size() + 1, n, e.what()));
  }
}

}  // namespace halyard

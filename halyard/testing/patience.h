// How long tests wait.
#pragma once

namespace halyard::testing {

/// What a bound on time is multiplied by: sanitized code is many times slower, and says nothing about speed.
#ifdef HALYARD_SANITIZED
inline constexpr double patience = 20;
#else
inline constexpr double patience = 1;
#endif

}  // namespace halyard::testing

#include "halyard/base/seeded_hash.h"

#include <chrono>

#include <sys/random.h>

namespace halyard {

std::uint64_t random_seed() noexcept {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) == sizeof seed) return seed;
  seed = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  return (seed ^ reinterpret_cast<std::uintptr_t>(&seed)) * 0x9e3779b97f4a7c15U;
}

}  // namespace halyard

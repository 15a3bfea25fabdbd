// A small generator of random numbers whose sequence is the same everywhere: SplitMix64 (Steele, Lea, Flood, 2014).
#pragma once

#include <cstddef>
#include <cstdint>

namespace halyard::testing {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  /// 0 to n - 1.
  std::uint32_t below(std::size_t n) { return static_cast<std::uint32_t>((*this)() % n); }
  bool one_in(std::uint32_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

}  // namespace halyard::testing

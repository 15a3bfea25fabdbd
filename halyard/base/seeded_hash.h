// Hashes for tables whose keys a stranger chose: which of them collide depends on a seed that no file can know.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace halyard {

/// Random bits: the system's, or the clock's where it has none. Never fails.
std::uint64_t random_seed() noexcept;

class SeededHash {
 public:
  SeededHash() noexcept : by_(wide()), plus_(wide()), base_(random_seed() % kPrime | 1) {}

  /// Multiply-shift (M. Dietzfelbinger, 1996): two keys collide in the upper l bits by a chance of 2^-l.
  std::uint64_t operator()(std::uint64_t key) const noexcept {
    return static_cast<std::uint64_t>((by_ * key + plus_) >> 64);
  }
  /// A polynomial of the text's 7-byte parts modulo 2^61 - 1, its length among them: texts of n bytes become one by a
  /// chance of n / 2^63.
  std::uint64_t operator()(std::string_view text) const noexcept {
    std::uint64_t sum = text.size();
    for (; text.size() > 7; text.remove_prefix(7)) sum = step(sum, text.data(), 7);
    return (*this)(step(sum, text.data(), text.size()));
  }

 private:
  __extension__ typedef unsigned __int128 Wide;
  static constexpr std::uint64_t kPrime = (std::uint64_t{1} << 61) - 1;
  static Wide wide() noexcept { return Wide{random_seed()} << 64 | random_seed(); }
  std::uint64_t step(std::uint64_t sum, const char* bytes, std::size_t n) const {
    std::uint64_t part = 0;
    std::memcpy(&part, bytes, n);
    const Wide product = Wide{sum} * base_ + part;
    const auto folded = static_cast<std::uint64_t>(product & kPrime) + static_cast<std::uint64_t>(product >> 61);
    return folded >= kPrime ? folded - kPrime : folded;
  }

  Wide by_, plus_;
  std::uint64_t base_;
};

}  // namespace halyard

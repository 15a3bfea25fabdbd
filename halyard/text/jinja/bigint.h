// Integers of any size, as Python has them: for templates and tool schemas whose numbers pass 64 bits. Small ones stay
// std::int64_t in Value; these are seldom made, so they are simple rather than fast.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace halyard::jinja {

/// Decimal digits of the longest integer that is read or written: Python's limit.
inline constexpr std::size_t max_digits = 4300;

class BigInt {
 public:
  BigInt() = default;
  explicit BigInt(std::int64_t);
  static BigInt from_unsigned(std::uint64_t);
  /// The value without its fraction; `d` is finite.
  static BigInt truncated(double d);
  /// Digits of a base from 2 to 36, at least one, without sign or prefix. No value where one is not a digit.
  static std::optional<BigInt> parse(std::string_view digits, unsigned base);

  bool negative() const { return negative_; }
  bool zero() const { return words_.empty(); }
  bool odd() const { return !words_.empty() && (words_[0] & 1); }
  std::size_t bits() const;  ///< of the magnitude
  std::size_t ones() const;  ///< its bits that are set
  /// Where it fits.
  std::optional<std::int64_t> small() const;
  /// The nearest double, ties to even; infinite beyond the range.
  double nearest() const;
  /// Digits of the magnitude, lower case.
  std::string digits(unsigned base = 10) const;

  BigInt operator-() const;
  friend BigInt operator+(const BigInt&, const BigInt&);
  friend BigInt operator-(const BigInt& a, const BigInt& b) { return a + -b; }
  friend BigInt operator*(const BigInt&, const BigInt&);
  friend bool operator==(const BigInt&, const BigInt&) = default;
  /// Below, at or above 0 as a is less than, equal to or greater than b.
  friend int compare(const BigInt& a, const BigInt& b);

 private:
  using Words = std::vector<std::uint32_t>;  // least significant first, the last not 0
  friend std::pair<BigInt, BigInt> floor_divide(const BigInt&, const BigInt&);
  friend double true_divide(const BigInt&, const BigInt&);
  static int compare_words(const Words&, const Words&);
  static Words add_words(const Words&, const Words&);
  static Words subtract_words(const Words&, const Words&);  // a >= b
  static std::pair<Words, Words> divide_words(const Words&, const Words&);
  static Words shift_left(const Words&, std::size_t bits);
  static std::uint32_t divide_in_place(Words&, std::uint32_t by);  // the remainder
  static void multiply_add(Words&, std::uint32_t by, std::uint32_t plus);
  static void trim(Words&);
  static BigInt make(Words, bool negative);

  Words words_;
  bool negative_ = false;
};

int compare(const BigInt& a, const BigInt& b);
/// Quotient rounded towards minus infinity, and remainder of the divisor's sign. `b` is not 0.
std::pair<BigInt, BigInt> floor_divide(const BigInt& a, const BigInt& b);
/// The double nearest to a / b; infinite beyond the range. `b` is not 0.
double true_divide(const BigInt& a, const BigInt& b);

}  // namespace halyard::jinja

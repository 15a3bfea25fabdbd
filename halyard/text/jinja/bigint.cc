#include "halyard/text/jinja/bigint.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace halyard::jinja {

BigInt BigInt::make(Words words, bool negative) {
  BigInt b;
  trim(words);
  b.negative_ = negative && !words.empty();
  b.words_ = std::move(words);
  return b;
}

BigInt::BigInt(std::int64_t i)
    : BigInt(from_unsigned(i < 0 ? 0 - static_cast<std::uint64_t>(i) : static_cast<std::uint64_t>(i))) {
  negative_ = i < 0;
}

BigInt BigInt::from_unsigned(std::uint64_t u) {
  return make({static_cast<std::uint32_t>(u), static_cast<std::uint32_t>(u >> 32)}, false);
}

BigInt BigInt::truncated(double d) {
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(std::trunc(d)), &exponent);  // [0.5, 1) * 2^exponent
  const auto mantissa = static_cast<std::uint64_t>(std::ldexp(fraction, 64));
  const BigInt whole = from_unsigned(exponent >= 64 ? mantissa : exponent <= 0 ? 0 : mantissa >> (64 - exponent));
  return make(exponent > 64 ? shift_left(whole.words_, static_cast<std::size_t>(exponent - 64)) : whole.words_, d < 0);
}

std::optional<BigInt> BigInt::parse(std::string_view digits, unsigned base) {
  Words words;
  if (digits.empty()) return std::nullopt;
  std::uint32_t scale = 1, part = 0;  // as many digits at a time as fit a word
  for (const char c : digits) {
    const unsigned lower = static_cast<unsigned char>(c) | 0x20U;
    const unsigned value = c >= '0' && c <= '9'           ? static_cast<unsigned>(c - '0')
                           : lower >= 'a' && lower <= 'z' ? lower - 'a' + 10
                                                          : 99;
    if (value >= base) return std::nullopt;
    if (std::uint64_t{scale} * base >= (std::uint64_t{1} << 32)) {
      multiply_add(words, scale, part);
      scale = 1;
      part = 0;
    }
    scale *= base;
    part = part * base + value;
  }
  multiply_add(words, scale, part);
  return make(std::move(words), false);
}

std::size_t BigInt::ones() const {
  std::size_t n = 0;
  for (const std::uint32_t word : words_) n += static_cast<std::size_t>(std::popcount(word));
  return n;
}

void BigInt::trim(Words& w) {
  while (!w.empty() && w.back() == 0) w.pop_back();
}

void BigInt::multiply_add(Words& w, std::uint32_t by, std::uint32_t plus) {
  std::uint64_t carry = plus;
  for (auto& word : w) {
    carry += std::uint64_t{word} * by;
    word = static_cast<std::uint32_t>(carry);
    carry >>= 32;
  }
  if (carry) w.push_back(static_cast<std::uint32_t>(carry));
}

std::uint32_t BigInt::divide_in_place(Words& w, std::uint32_t by) {
  std::uint64_t rest = 0;
  for (std::size_t i = w.size(); i-- > 0;) {
    rest = rest << 32 | w[i];
    w[i] = static_cast<std::uint32_t>(rest / by);
    rest %= by;
  }
  trim(w);
  return static_cast<std::uint32_t>(rest);
}

std::size_t BigInt::bits() const {
  return words_.empty() ? 0 : words_.size() * 32 - static_cast<std::size_t>(std::countl_zero(words_.back()));
}

std::optional<std::int64_t> BigInt::small() const {
  if (words_.size() > 2) return std::nullopt;
  std::uint64_t u = 0;
  for (std::size_t i = words_.size(); i-- > 0;) u = u << 32 | words_[i];
  constexpr std::uint64_t top = std::uint64_t{1} << 63;
  if (u > top || (u == top && !negative_)) return std::nullopt;
  return static_cast<std::int64_t>(negative_ ? 0 - u : u);
}

double BigInt::nearest() const {
  const std::size_t n = bits();
  std::uint64_t top = 0;  // the upper 64 bits; the lowest of them stands for all that are lost
  const std::size_t lost = n > 64 ? n - 64 : 0;
  for (std::size_t i = 0; i < words_.size(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i * 32) - static_cast<std::ptrdiff_t>(lost);
    const std::uint64_t word = words_[i];
    if (at >= 0) top |= word << at;
    else if (at > -32) top |= word >> -at | ((word & ((std::uint64_t{1} << -at) - 1)) != 0);
    else top |= word != 0;
  }
  const double d = std::ldexp(static_cast<double>(top), static_cast<int>(std::min<std::size_t>(lost, 1 << 20)));
  return negative_ ? -d : d;
}

std::string BigInt::digits(unsigned base) const {
  std::string out;
  std::uint32_t chunk = base;  // as many digits at a time as fit a word
  int width = 1;
  for (; std::uint64_t{chunk} * base < (std::uint64_t{1} << 32); ++width) chunk *= base;
  for (Words rest = words_; !rest.empty();) {
    std::uint32_t part = divide_in_place(rest, chunk);
    for (int i = 0; i < width && (part || !rest.empty()); ++i, part /= base)
      out += "0123456789abcdefghijklmnopqrstuvwxyz"[part % base];
  }
  std::reverse(out.begin(), out.end());
  return out.empty() ? "0" : out;
}

BigInt BigInt::operator-() const { return make(words_, !negative_); }

int BigInt::compare_words(const Words& a, const Words& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  for (std::size_t i = a.size(); i-- > 0;)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return 0;
}

int compare(const BigInt& a, const BigInt& b) {
  if (a.negative_ != b.negative_) return a.negative_ ? -1 : 1;
  const int size = BigInt::compare_words(a.words_, b.words_);
  return a.negative_ ? -size : size;
}

BigInt::Words BigInt::add_words(const Words& a, const Words& b) {
  Words sum(std::max(a.size(), b.size()) + 1);
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < sum.size(); ++i) {
    carry += std::uint64_t{i < a.size() ? a[i] : 0} + (i < b.size() ? b[i] : 0);
    sum[i] = static_cast<std::uint32_t>(carry);
    carry >>= 32;
  }
  return sum;
}

BigInt::Words BigInt::subtract_words(const Words& a, const Words& b) {
  Words rest(a.size());
  std::int64_t borrow = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    borrow += std::int64_t{a[i]} - (i < b.size() ? std::int64_t{b[i]} : 0);
    rest[i] = static_cast<std::uint32_t>(borrow);
    borrow >>= 32;
  }
  return rest;
}

BigInt operator+(const BigInt& a, const BigInt& b) {
  if (a.negative_ == b.negative_) return BigInt::make(BigInt::add_words(a.words_, b.words_), a.negative_);
  const bool a_larger = BigInt::compare_words(a.words_, b.words_) >= 0;
  const BigInt &large = a_larger ? a : b, &less = a_larger ? b : a;
  return BigInt::make(BigInt::subtract_words(large.words_, less.words_), large.negative_);
}

BigInt operator*(const BigInt& a, const BigInt& b) {
  BigInt::Words product(a.words_.size() + b.words_.size());
  for (std::size_t i = 0; i < a.words_.size(); ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < b.words_.size(); ++j) {
      carry += product[i + j] + std::uint64_t{a.words_[i]} * b.words_[j];
      product[i + j] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    product[i + b.words_.size()] = static_cast<std::uint32_t>(carry);
  }
  return BigInt::make(std::move(product), a.negative_ != b.negative_);
}

BigInt::Words BigInt::shift_left(const Words& a, std::size_t bits) {
  Words out(a.size() + bits / 32 + 1);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::uint64_t word = std::uint64_t{a[i]} << (bits % 32);
    out[i + bits / 32] |= static_cast<std::uint32_t>(word);
    out[i + bits / 32 + 1] |= static_cast<std::uint32_t>(word >> 32);
  }
  trim(out);
  return out;
}

// Schoolbook long division (Knuth, The Art of Computer Programming 2, 4.3.1, algorithm D).
std::pair<BigInt::Words, BigInt::Words> BigInt::divide_words(const Words& a, const Words& b) {
  if (compare_words(a, b) < 0) return {{}, a};
  if (b.size() == 1) {
    Words quotient = a;
    const std::uint32_t rest = divide_in_place(quotient, b[0]);
    return {std::move(quotient), rest ? Words{rest} : Words{}};
  }
  const auto shift = static_cast<std::size_t>(std::countl_zero(b.back()));
  const Words divisor = shift_left(b, shift);
  Words rest = shift_left(a, shift);
  rest.resize(a.size() + 1);
  const std::size_t n = divisor.size();
  Words quotient(rest.size() - n);
  for (std::size_t j = quotient.size(); j-- > 0;) {
    const std::uint64_t top = std::uint64_t{rest[j + n]} << 32 | rest[j + n - 1];
    std::uint64_t guess = top / divisor[n - 1], left = top % divisor[n - 1];
    while (guess >> 32 || guess * divisor[n - 2] > (left << 32 | rest[j + n - 2])) {
      --guess;
      left += divisor[n - 1];
      if (left >> 32) break;
    }
    std::int64_t borrow = 0;
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i < n; ++i) {
      carry += guess * divisor[i];
      borrow += std::int64_t{rest[i + j]} - static_cast<std::int64_t>(carry & 0xffffffffU);
      rest[i + j] = static_cast<std::uint32_t>(borrow);
      borrow >>= 32;
      carry >>= 32;
    }
    borrow += std::int64_t{rest[j + n]} - static_cast<std::int64_t>(carry);
    rest[j + n] = static_cast<std::uint32_t>(borrow);
    if (borrow < 0) {  // one too many
      --guess;
      std::uint64_t back = 0;
      for (std::size_t i = 0; i < n; ++i) {
        back += std::uint64_t{rest[i + j]} + divisor[i];
        rest[i + j] = static_cast<std::uint32_t>(back);
        back >>= 32;
      }
      rest[j + n] += static_cast<std::uint32_t>(back);
    }
    quotient[j] = static_cast<std::uint32_t>(guess);
  }
  trim(rest);
  trim(quotient);
  if (shift > 0) {
    for (std::size_t i = 0; i < rest.size(); ++i)
      rest[i] = rest[i] >> shift | (i + 1 < rest.size() ? rest[i + 1] << (32 - shift) : 0);
    trim(rest);
  }
  return {std::move(quotient), std::move(rest)};
}

std::pair<BigInt, BigInt> floor_divide(const BigInt& a, const BigInt& b) {
  auto [quotient, rest] = BigInt::divide_words(a.words_, b.words_);
  BigInt q = BigInt::make(std::move(quotient), a.negative_ != b.negative_),
         r = BigInt::make(std::move(rest), a.negative_);
  if (!r.zero() && a.negative_ != b.negative_) {
    q = q - BigInt(1);
    r = r + b;
  }
  return {std::move(q), std::move(r)};
}

double true_divide(const BigInt& a, const BigInt& b) {
  if (a.zero()) return b.negative_ ? -0.0 : 0.0;
  // A quotient of 66 bits at least, its lowest bit standing for the rest: it rounds as the exact one does.
  const auto wanted = static_cast<std::ptrdiff_t>(b.bits()) - static_cast<std::ptrdiff_t>(a.bits()) + 67;
  const std::size_t up = wanted > 0 ? static_cast<std::size_t>(wanted) : 0;
  auto [quotient, rest] = BigInt::divide_words(BigInt::shift_left(a.words_, up), b.words_);
  if (!rest.empty()) quotient[0] |= 1;
  const double d = std::ldexp(BigInt::make(std::move(quotient), false).nearest(),
                              -static_cast<int>(std::min<std::size_t>(up, 1 << 20)));
  return a.negative_ != b.negative_ ? -d : d;
}

}  // namespace halyard::jinja

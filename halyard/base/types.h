// DType and Shape: what a buffer's bytes mean.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace halyard {

/// Element types. Sub-byte quantised weights are stored as u32 or u8 words; halyard/quant gives them meaning.
enum class DType : std::uint8_t { f32, f16, bf16, f64, i8, u8, i16, u16, i32, u32, i64, u64, boolean };

/// Bytes of one element.
std::size_t size_of(DType);
/// "f32", "bf16", …
std::string_view to_string(DType);
inline bool is_float(DType t) { return t == DType::f32 || t == DType::f16 || t == DType::bf16 || t == DType::f64; }

/// Distinct types for the 16-bit floats, so that `Buffer::read<bf16>()` is typed. Bits only; see halyard/base/float16.h.
struct f16 {
  std::uint16_t bits;
};
struct bf16 {
  std::uint16_t bits;
};

/// The DType of a C++ element type.
template <class T> struct dtype_of;
template <> struct dtype_of<float> { static constexpr DType value = DType::f32; };
template <> struct dtype_of<double> { static constexpr DType value = DType::f64; };
template <> struct dtype_of<f16> { static constexpr DType value = DType::f16; };
template <> struct dtype_of<bf16> { static constexpr DType value = DType::bf16; };
template <> struct dtype_of<std::int8_t> { static constexpr DType value = DType::i8; };
template <> struct dtype_of<std::uint8_t> { static constexpr DType value = DType::u8; };
template <> struct dtype_of<std::int16_t> { static constexpr DType value = DType::i16; };
template <> struct dtype_of<std::uint16_t> { static constexpr DType value = DType::u16; };
template <> struct dtype_of<std::int32_t> { static constexpr DType value = DType::i32; };
template <> struct dtype_of<std::uint32_t> { static constexpr DType value = DType::u32; };
template <> struct dtype_of<std::int64_t> { static constexpr DType value = DType::i64; };
template <> struct dtype_of<std::uint64_t> { static constexpr DType value = DType::u64; };
template <> struct dtype_of<bool> { static constexpr DType value = DType::boolean; };

/// Up to eight extents, outermost first, in row-major order. `{}` is a scalar.
class Shape {
 public:
  static constexpr std::size_t max_rank = 8;

  Shape() = default;
  Shape(std::initializer_list<std::size_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  /// Extents beyond max_rank make the shape invalid: ok() is false and every allocation refuses it.
  explicit Shape(std::span<const std::size_t> dims);

  bool ok() const { return rank_ <= max_rank; }
  std::size_t rank() const { return rank_; }
  std::size_t operator[](std::size_t i) const { return dims_[i]; }
  std::span<const std::size_t> dims() const { return {dims_.data(), ok() ? rank_ : 0}; }
  std::size_t back() const { return rank_ ? dims_[rank_ - 1] : 1; }

  /// The number of elements, or no value (false) where the product does not fit 64 bits.
  bool elements(std::size_t& count) const;
  /// The number of elements of a shape already known to fit (every buffer's).
  std::size_t elements() const {
    std::size_t n = 1;
    for (const std::size_t d : dims()) n *= d;
    return n;
  }
  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && std::equal(a.dims().begin(), a.dims().end(), b.dims().begin());
  }

 private:
  std::array<std::size_t, max_rank> dims_{};
  std::size_t rank_ = 0;
};

/// "[2, 3]"
std::string to_string(const Shape&);

}  // namespace halyard

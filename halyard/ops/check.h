// Checks that every op makes of its arguments before it records anything. Errors name the op and the argument.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "halyard/hal/buffer.h"

namespace halyard::ops {

/// Work-items of row-wise and element-wise kernels are this many elements: a few microseconds.
inline constexpr std::size_t kItemElements = 2048;

/// Work-items of `each` that make up `count`.
inline std::uint32_t items(std::size_t count, std::size_t each) {
  return static_cast<std::uint32_t>((count + each - 1) / each);
}

/// Rows of `width` elements (at least 1) that one work-item does.
inline std::size_t rows_per_item(std::size_t width) { return width < kItemElements ? kItemElements / width : 1; }

inline std::string describe(const Buffer& b) {
  return b ? fmt::format("{} {}", to_string(b.dtype()), to_string(b.shape())) : std::string("a null buffer");
}

inline tl::unexpected<Error> bad_argument(std::string_view op, std::string_view argument, std::string_view expected,
                                          std::string_view actual) {
  return fail(Errc::invalid_argument, fmt::format("{}: {}: expected {}, got {}", op, argument, expected, actual));
}

/// `b` is a tensor of one of these dtypes.
inline Result<void> check_dtype(std::string_view op, std::string_view argument, const Buffer& b,
                                std::initializer_list<DType> dtypes) {
  if (b)
    for (const DType t : dtypes)
      if (b.dtype() == t) return {};
  std::string expected;
  for (const DType t : dtypes) expected += fmt::format("{}{}", expected.empty() ? "" : " or ", to_string(t));
  return bad_argument(op, argument, expected, describe(b));
}

/// `b` is a tensor of one of these dtypes and of this shape.
inline Result<void> check_tensor(std::string_view op, std::string_view argument, const Buffer& b,
                                 std::initializer_list<DType> dtypes, const Shape& shape) {
  HALYARD_TRY(check_dtype(op, argument, b, dtypes));
  if (b.shape() == shape) return {};
  return bad_argument(op, argument, to_string(shape), to_string(b.shape()));
}

/// `b` is a tensor of one of these dtypes, of `rank` axes or (rank 0) at least one.
inline Result<void> check_rank(std::string_view op, std::string_view argument, const Buffer& b,
                               std::initializer_list<DType> dtypes, std::size_t rank) {
  HALYARD_TRY(check_dtype(op, argument, b, dtypes));
  if (rank ? b.shape().rank() == rank : b.shape().rank() > 0) return {};
  return bad_argument(op, argument, rank ? fmt::format("{} axes", rank) : std::string("at least one axis"),
                      to_string(b.shape()));
}

inline bool overlap(const Buffer& a, const Buffer& b) {
  return a.allocation() == b.allocation() && a.offset_bytes() < b.offset_bytes() + b.size_bytes() &&
         b.offset_bytes() < a.offset_bytes() + a.size_bytes();
}

/// `out` may be `in` itself, but not overlap it otherwise.
inline Result<void> check_in_place(std::string_view op, std::string_view argument, const Buffer& in, const Buffer& out) {
  if (!overlap(in, out) || (in.offset_bytes() == out.offset_bytes() && in.dtype() == out.dtype())) return {};
  return bad_argument(op, "out", fmt::format("the window of {} or one apart from it", argument),
                      fmt::format("one that begins {} bytes from it", out.offset_bytes() < in.offset_bytes()
                                                                           ? in.offset_bytes() - out.offset_bytes()
                                                                           : out.offset_bytes() - in.offset_bytes()));
}
/// `out` shares no bytes with `in`.
inline Result<void> check_apart(std::string_view op, std::string_view argument, const Buffer& in, const Buffer& out,
                                std::string_view out_name = "out") {
  if (!overlap(in, out)) return {};
  return bad_argument(op, out_name, fmt::format("memory apart from {}", argument), "overlapping windows");
}

}  // namespace halyard::ops

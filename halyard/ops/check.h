// Checks that every op makes of its arguments before it records anything. Errors name the op and the argument.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "halyard/hal/buffer.h"

namespace halyard::ops {

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

/// One of an op's buffers and its name; null where it was not given.
struct Argument {
  std::string_view name;
  const Buffer& buffer;
};

inline bool overlap(const Buffer& a, const Buffer& b) {
  return a && a.allocation() == b.allocation() && a.offset_bytes() < b.offset_bytes() + b.size_bytes() &&
         b.offset_bytes() < a.offset_bytes() + a.size_bytes();
}

/// What `out` may share bytes with, for every op: it may be a buffer of `in_place` itself, and is else apart from all others
/// that the op reads. Those may alias each other as they like.
inline Result<void> check_writes(std::string_view op, const Argument& out, std::initializer_list<Argument> in_place,
                                 std::initializer_list<Argument> apart) {
  for (const Argument& in : in_place) {
    const Buffer &a = in.buffer, &b = out.buffer;
    if (!overlap(a, b) || (a.offset_bytes() == b.offset_bytes() && a.dtype() == b.dtype())) continue;
    const std::size_t between =
        b.offset_bytes() < a.offset_bytes() ? a.offset_bytes() - b.offset_bytes() : b.offset_bytes() - a.offset_bytes();
    return bad_argument(op, out.name, fmt::format("the window of {} or one apart from it", in.name),
                        fmt::format("one that begins {} bytes from it", between));
  }
  for (const Argument& in : apart)
    if (overlap(in.buffer, out.buffer))
      return bad_argument(op, out.name, fmt::format("memory apart from {}", in.name), "overlapping windows");
  return {};
}

}  // namespace halyard::ops

#include "halyard/quant/format.h"

#include <limits>

#include <fmt/format.h>

namespace halyard::quant {
namespace {

// What n · k elements of `bits` take, or false where it does not fit.
bool bytes_of(std::size_t n, std::size_t k, std::size_t bits, std::size_t& bytes) {
  if (n != 0 && k > std::numeric_limits<std::size_t>::max() / n / bits) return false;
  bytes = n * k * bits / 8;
  return true;
}

Result<void> check_span(const MatrixView& m, const char* what, std::size_t n, std::size_t k, std::size_t bits,
                        std::size_t came) {
  std::size_t bytes = 0;
  if (!bytes_of(n, k, bits, bytes))
    return fail(Errc::invalid_argument, fmt::format("{}: {} [{}, {}] is larger than memory", m.name, what, n, k));
  if (bytes != came)
    return fail(Errc::invalid_argument, fmt::format("{}: {} [{}, {}] of {} bits each takes {} bytes, got {}", m.name, what,
                                                    n, k, bits, bytes, came));
  return {};
}

}  // namespace

Result<void> validate(const MatrixView& m) {
  if (m.dtype != DType::f32 && m.dtype != DType::f16 && m.dtype != DType::bf16)
    return fail(Errc::invalid_argument,
                fmt::format("{}: a weight is f32, f16 or bf16, got {}", m.name, to_string(m.dtype)));
  if (m.n == 0 || m.k == 0)
    return fail(Errc::invalid_argument, fmt::format("{}: a weight [{}, {}] has no elements", m.name, m.n, m.k));
  const std::size_t element_bits = 8 * size_of(m.dtype);
  if (m.format == Format::dense) return check_span(m, "data", m.n, m.k, element_bits, m.data.size());

  const bool known_bits = m.bits >= 2 && m.bits <= 8 && m.bits != 7;
  if (!known_bits)
    return fail(Errc::invalid_argument, fmt::format("{}: affine weights have 2, 3, 4, 5, 6 or 8 bits, got {}", m.name, m.bits));
  if (m.group_size != 32 && m.group_size != 64 && m.group_size != 128)
    return fail(Errc::invalid_argument,
                fmt::format("{}: affine groups have 32, 64 or 128 elements, got {}", m.name, m.group_size));
  const auto group = static_cast<std::size_t>(m.group_size);
  if (m.k % group != 0)
    return fail(Errc::invalid_argument, fmt::format("{}: {} columns do not divide into groups of {}", m.name, m.k, group));
  HALYARD_TRY(check_span(m, "data", m.n, m.k, static_cast<std::size_t>(m.bits), m.data.size()));
  HALYARD_TRY(check_span(m, "scales", m.n, m.k / group, element_bits, m.scales.size()));
  return check_span(m, "biases", m.n, m.k / group, element_bits, m.biases.size());
}

MatrixView rows_of(const MatrixView& m, std::size_t first, std::size_t n) {
  MatrixView part = m;
  part.n = n;
  for (auto* bytes : {&part.data, &part.scales, &part.biases}) {
    const std::size_t row = m.n ? bytes->size() / m.n : 0;
    *bytes = bytes->subspan(first * row, n * row);
  }
  return part;
}

}  // namespace halyard::quant

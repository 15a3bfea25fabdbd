#include "halyard/quant/format.h"

#include <limits>

#include <fmt/format.h>

#include "halyard/quant/affine.h"

namespace halyard::quant {
namespace {

// What n · k elements of `bits` take, or false where it does not fit.
bool bytes_of(std::size_t n, std::size_t k, std::size_t bits, std::size_t& bytes) {
  if (n != 0 && k > std::numeric_limits<std::size_t>::max() / n / bits) return false;
  bytes = n * k * bits / 8;
  return true;
}

std::size_t dense_row_bytes(const MatrixView& m) { return m.k * size_of(m.dtype); }

Result<void> validate_dense(const MatrixView& m) {
  return check_part(m, "data", m.n, m.k, 8 * size_of(m.dtype), m.data);
}

void decode_dense(const MatrixView& m, std::size_t row, std::size_t first, std::span<float> out) {
  for (std::size_t j = 0; j < out.size(); ++j) out[j] = element(m.dtype, m.data.data(), row * m.k + first + j);
}

constexpr FormatInfo dense_format = {"dense", dense_row_bytes, validate_dense, decode_dense};

}  // namespace

const FormatInfo& info(Format f) { return f == Format::dense ? dense_format : affine_format; }

Result<void> check_part(const MatrixView& m, const char* part, std::size_t n, std::size_t k, std::size_t bits,
                        std::span<const std::byte> came) {
  std::size_t bytes = 0;
  if (!bytes_of(n, k, bits, bytes))
    return fail(Errc::invalid_argument, fmt::format("{}: {} [{}, {}] is larger than memory", m.name, part, n, k));
  if (bytes != came.size())
    return fail(Errc::invalid_argument, fmt::format("{}: {} [{}, {}] of {} bits each takes {} bytes, got {}", m.name,
                                                    part, n, k, bits, bytes, came.size()));
  return {};
}

Result<void> validate(const MatrixView& m) {
  if (m.dtype != DType::f32 && m.dtype != DType::f16 && m.dtype != DType::bf16)
    return fail(Errc::invalid_argument,
                fmt::format("{}: a weight is f32, f16 or bf16, got {}", m.name, to_string(m.dtype)));
  if (m.n == 0 || m.k == 0)
    return fail(Errc::invalid_argument, fmt::format("{}: a weight [{}, {}] has no elements", m.name, m.n, m.k));
  return info(m.format).validate(m);
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

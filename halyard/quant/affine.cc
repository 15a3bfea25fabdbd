#include "halyard/quant/affine.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "halyard/base/float16.h"

namespace halyard::quant {
namespace {

template <class T> T load(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

float rounded_to(DType t, float x) {
  if (t == DType::f16) return to_float(to_f16(x));
  if (t == DType::bf16) return to_float(to_bf16(x));
  return x;
}

void store(DType t, std::byte* data, std::size_t i, float x) {
  const f16 h = to_f16(x);
  const bf16 b = to_bf16(x);
  const void* from = t == DType::f16    ? static_cast<const void*>(&h)
                     : t == DType::bf16 ? static_cast<const void*>(&b)
                                        : &x;
  std::memcpy(data + i * size_of(t), from, size_of(t));
}

struct Group {
  float scale, bias;
};

// The end of the range that is greater in magnitude becomes the bias, and the scale is bent so that zero is a whole step.
Group fit(std::span<const float> w, float steps) {
  const auto [least, greatest] = std::minmax_element(w.begin(), w.end());
  const bool negative = std::abs(*least) > std::abs(*greatest);
  const float width = std::max((*greatest - *least) / steps, 1e-7F);
  const float scale = negative ? width : -width;
  const float edge = negative ? *least : *greatest;
  const float q0 = std::rint(edge / scale);
  return q0 == 0 ? Group{scale, 0} : Group{edge / q0, edge};
}

void put_bits(std::byte* row, std::size_t bit, int bits, unsigned value) {
  for (int i = 0; i < bits; ++i, ++bit) row[bit / 8] |= static_cast<std::byte>(((value >> i) & 1U) << (bit % 8));
}

}  // namespace

float element(DType t, const std::byte* data, std::size_t i) {
  const std::byte* p = data + i * size_of(t);
  if (t == DType::f16) return to_float(load<f16>(p));
  if (t == DType::bf16) return to_float(load<bf16>(p));
  return load<float>(p);
}

Result<AffineMatrix> quantise_affine(const MatrixView& w, int bits, int group_size) {
  if (w.format != Format::dense)
    return fail(Errc::invalid_argument, fmt::format("{}: only a dense matrix can be quantised", w.name));
  HALYARD_TRY(validate(w));
  MatrixView shape = w;  // of the result, to check bits and group size against the columns
  shape.format = Format::affine;
  shape.bits = bits;
  shape.group_size = group_size;
  if (bits < 2 || bits > 8 || bits == 7 || (group_size != 32 && group_size != 64 && group_size != 128))
    return fail(Errc::invalid_argument,
                fmt::format("{}: affine has 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 or 128, got {} "
                            "bits in groups of {}",
                            w.name, bits, group_size));
  const auto group = static_cast<std::size_t>(group_size);
  if (w.k % group != 0)
    return fail(Errc::invalid_argument,
                fmt::format("{}: {} columns do not divide into groups of {}", w.name, w.k, group));

  const std::size_t groups = w.n * w.k / group;
  AffineMatrix out;
  out.data.resize(w.n * row_bytes(shape));
  out.scales.resize(groups * size_of(w.dtype));
  out.biases.resize(groups * size_of(w.dtype));
  const float steps = static_cast<float>((1 << bits) - 1);
  std::vector<float> values(group);
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t j = 0; j < group; ++j) values[j] = element(w.dtype, w.data.data(), g * group + j);
    const Group fitted = fit(values, steps);
    for (std::size_t j = 0; j < group; ++j) {
      const float q = std::clamp(std::rint((values[j] - fitted.bias) / fitted.scale), 0.0F, steps);
      put_bits(out.data.data(), (g * group + j) * static_cast<std::size_t>(bits), bits, static_cast<unsigned>(q));
    }
    store(w.dtype, out.scales.data(), g, fitted.scale);
    store(w.dtype, out.biases.data(), g, fitted.bias);
  }
  return out;
}

void unpack_affine(const std::byte* row, int bits, std::size_t first, std::span<std::uint8_t> q) {
  const unsigned mask = (1U << bits) - 1;
  std::size_t bit = first * static_cast<std::size_t>(bits);
  for (std::uint8_t& v : q) {
    const std::byte* p = row + bit / 8;
    const std::size_t shift = bit % 8;
    unsigned word = static_cast<unsigned>(p[0]);
    if (shift + static_cast<std::size_t>(bits) > 8) word |= static_cast<unsigned>(p[1]) << 8;
    v = static_cast<std::uint8_t>((word >> shift) & mask);
    bit += static_cast<std::size_t>(bits);
  }
}

namespace {

void decode_affine(const MatrixView& m, std::size_t row, std::size_t first, std::span<float> out) {
  const auto group = static_cast<std::size_t>(m.group_size);
  std::array<std::uint8_t, 128> q;
  for (std::size_t j = 0; j < out.size(); j += group) {
    const std::size_t count = std::min(group, out.size() - j), g = row * (m.k / group) + (first + j) / group;
    const float scale = element(m.dtype, m.scales.data(), g), bias = element(m.dtype, m.biases.data(), g);
    unpack_affine(m.data.data() + row * row_bytes(m), m.bits, first + j, std::span(q).first(count));
    for (std::size_t i = 0; i < count; ++i) out[j + i] = scale * static_cast<float>(q[i]) + bias;
  }
}

std::size_t affine_row_bytes(const MatrixView& m) { return m.k * static_cast<std::size_t>(m.bits) / 8; }

Result<void> validate_affine(const MatrixView& m) {
  const std::size_t element_bits = 8 * size_of(m.dtype);
  const bool known_bits = m.bits >= 2 && m.bits <= 8 && m.bits != 7;
  if (!known_bits)
    return fail(Errc::invalid_argument,
                fmt::format("{}: affine weights have 2, 3, 4, 5, 6 or 8 bits, got {}", m.name, m.bits));
  if (m.group_size != 32 && m.group_size != 64 && m.group_size != 128)
    return fail(Errc::invalid_argument,
                fmt::format("{}: affine groups have 32, 64 or 128 elements, got {}", m.name, m.group_size));
  const auto group = static_cast<std::size_t>(m.group_size);
  if (m.k % group != 0)
    return fail(Errc::invalid_argument,
                fmt::format("{}: {} columns do not divide into groups of {}", m.name, m.k, group));
  HALYARD_TRY(check_part(m, "data", m.n, m.k, static_cast<std::size_t>(m.bits), m.data));
  HALYARD_TRY(check_part(m, "scales", m.n, m.k / group, element_bits, m.scales));
  return check_part(m, "biases", m.n, m.k / group, element_bits, m.biases);
}

}  // namespace

const FormatInfo affine_format = {"affine", affine_row_bytes, validate_affine, decode_affine};

std::vector<std::byte> dequantise(const MatrixView& m) {
  std::vector<std::byte> out(m.n * m.k * size_of(m.dtype));
  const auto group = static_cast<std::size_t>(m.group_size);
  std::vector<std::uint8_t> q(m.k);
  for (std::size_t i = 0; i < m.n; ++i) {
    if (m.format == Format::dense) return {m.data.begin(), m.data.end()};
    unpack_affine(m.data.data() + i * row_bytes(m), m.bits, 0, q);
    for (std::size_t j = 0; j < m.k; ++j) {
      const std::size_t g = (i * m.k + j) / group;
      const float product = rounded_to(m.dtype, element(m.dtype, m.scales.data(), g) * static_cast<float>(q[j]));
      store(m.dtype, out.data(), i * m.k + j, product + element(m.dtype, m.biases.data(), g));
    }
  }
  return out;
}

ReferenceProduct reference_product(const MatrixView& m, std::span<const float> x, std::size_t t) {
  ReferenceProduct r{std::vector<double>(t * m.n), std::vector<double>(t * m.n)};
  std::vector<float> w(m.k);
  for (std::size_t i = 0; i < m.n; ++i) {
    dequantise_row(m, i, 0, w);
    for (std::size_t row = 0; row < t; ++row) {
      double sum = 0, magnitude = 0;
      for (std::size_t j = 0; j < m.k; ++j) {
        const double p = static_cast<double>(x[row * m.k + j]) * static_cast<double>(w[j]);
        sum += p;
        magnitude += std::abs(p);
      }
      r.y[row * m.n + i] = sum;
      r.magnitude[row * m.n + i] = magnitude;
    }
  }
  return r;
}

}  // namespace halyard::quant

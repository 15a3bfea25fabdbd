// From MLX's rows of packed integers to panels, and back.
#include <algorithm>
#include <array>
#include <cstring>

#include "halyard/ops/weight/panels.h"
#include "halyard/quant/affine.h"

namespace halyard::ops {
namespace {

// The nibbles of 16 bits, one in each byte.
std::uint32_t spread(std::uint32_t x) {
  x = (x | (x << 8)) & 0x00ff00ffU;
  return (x | (x << 4)) & 0x0f0f0f0fU;
}

template <class T> T load_as(const std::byte* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// `count` columns from `first` of one row into a block's data; `out` is the row's first byte there.
void place_row(const quant::MatrixView& m, const std::byte* row, std::size_t first, std::size_t count, std::byte* out) {
  constexpr std::size_t step = 64;  // from the bytes of a row to its next ones
  if (m.bits == 4) {
    for (std::size_t c = 0; c < count; c += 8, out += step) {
      const auto eight = load_as<std::uint32_t>(row + (first + c) / 2);
      const std::uint32_t placed = spread(eight & 0xffffU) | (spread(eight >> 16) << 4);
      std::memcpy(out, &placed, 4);
    }
    return;
  }
  if (m.bits == 8) {
    for (std::size_t c = 0; c < count; c += 4, out += step) std::memcpy(out, row + first + c, 4);
    return;
  }
  std::array<std::uint8_t, 128> q;
  quant::unpack_affine(row, m.bits, first, std::span(q).first(count));
  if (panel_bits(m.bits) == 8) {
    for (std::size_t c = 0; c < count; c += 4, out += step) std::memcpy(out, q.data() + c, 4);
    return;
  }
  for (std::size_t c = 0; c < count; c += 8, out += step)
    for (std::size_t i = 0; i < 4; ++i) out[i] = static_cast<std::byte>(q[c + i] | (q[c + 4 + i] << 4));
}

}  // namespace

void repack_panel(const quant::MatrixView& m, std::size_t p, std::byte* out) {
  const std::size_t element = size_of(m.dtype), group = static_cast<std::size_t>(m.group_size), groups = m.k / group;
  const std::size_t block = block_bytes(m.bits, group, m.dtype), row_bytes = quant::row_bytes(m);
  const std::size_t first = p * panel_rows, rows = std::min(panel_rows, m.n - first);
  for (std::size_t g = 0; g < groups; ++g, out += block) {
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t at = ((first + r) * groups + g) * element;
      std::memcpy(out + r * element, m.scales.data() + at, element);
      std::memcpy(out + (panel_rows + r) * element, m.biases.data() + at, element);
      place_row(m, m.data.data() + (first + r) * row_bytes, g * group, group, out + 2 * panel_rows * element + 4 * r);
    }
  }
}

void decode_panel_row(const std::byte* panels, int bits, std::size_t group, DType dtype, std::size_t row,
                      std::span<float> out) {
  const std::size_t element = size_of(dtype), block = block_bytes(bits, group, dtype), place = row % panel_rows;
  const std::byte* at = panels + row / panel_rows * (out.size() / group) * block;
  for (std::size_t g = 0; g < out.size(); g += group, at += block) {
    const float scale = quant::element(dtype, at, place),
                bias = quant::element(dtype, at + panel_rows * element, place);
    const std::byte* data = at + 2 * panel_rows * element + 4 * place;
    for (std::size_t c = 0; c < group; ++c) {
      const std::size_t columns = panel_bits(bits) == 4 ? 8 : 4;  // of 64 bytes
      const auto byte = std::to_integer<unsigned>(data[c / columns * 64 + c % 4]);
      const unsigned q = columns == 4 ? byte : c % 8 < 4 ? byte & 15 : byte >> 4;
      out[g + c] = scale * static_cast<float>(q) + bias;
    }
  }
}

}  // namespace halyard::ops

// Quantised weight formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "halyard/base/result.h"
#include "halyard/base/types.h"

namespace halyard::quant {

/// How a weight matrix is stored in its file.
enum class Format : std::uint8_t {
  dense,   ///< elements of a float dtype, row-major
  affine,  ///< MLX affine: w = scale · q + bias for each group of a row; q packed into u32 words, lowest bits first
};

/// A weight matrix as its file has it: w [n, k], one row for each output. Views of memory that `owner` keeps alive.
struct MatrixView {
  std::string name;  ///< for messages: "model.layers.0.mlp.down_proj"
  Format format = Format::dense;
  std::size_t n = 0;                  ///< rows: outputs
  std::size_t k = 0;                  ///< columns: inputs
  DType dtype = DType::f32;           ///< dense: the elements' type; affine: that of scales and biases (f32, f16, bf16)
  int bits = 0;                       ///< affine: 2, 3, 4, 5, 6 or 8
  int group_size = 0;                 ///< affine: 32, 64 or 128; divides k
  std::span<const std::byte> data;    ///< dense: n·k elements; affine: n rows of k·bits/8 bytes. May be unaligned.
  std::span<const std::byte> scales;  ///< affine: [n, k / group_size] of dtype
  std::span<const std::byte> biases;  ///< affine: likewise
  std::shared_ptr<const void> owner;  ///< keeps the spans' memory
};

/// What is particular to a format: a row of the table that format.cc holds.
struct FormatInfo {
  std::string_view name;
  std::size_t (*row_bytes)(const MatrixView&);  ///< of `data`
  /// Whether fields and spans agree; dtype and extents have been checked.
  Result<void> (*validate)(const MatrixView&);
  /// Columns of one row as f32, from `first` on, which begins a group: what all kernels are held to.
  void (*decode)(const MatrixView&, std::size_t row, std::size_t first, std::span<float> out);
};
const FormatInfo& info(Format);

/// Whether the view's fields agree with each other and with the sizes of its spans. Errors name the matrix and say what
/// was expected and what came.
Result<void> validate(const MatrixView&);
/// Whether a part [n, k] of elements of so many bits is as long as it must be.
Result<void> check_part(const MatrixView&, const char* part, std::size_t n, std::size_t k, std::size_t bits,
                        std::span<const std::byte>);

/// Bytes of one row of `data`.
inline std::size_t row_bytes(const MatrixView& m) { return info(m.format).row_bytes(m); }
/// Columns of one row as f32, from `first` on: s·q + b rounded once for the product and once for the sum (affine), or the
/// elements themselves (dense). `first` begins a group.
inline void dequantise_row(const MatrixView& m, std::size_t row, std::size_t first, std::span<float> out) {
  info(m.format).decode(m, row, first, out);
}
/// Element `i` of a float array of any alignment, as f32.
float element(DType, const std::byte* data, std::size_t i);

/// Rows [first, first + n) of a matrix.
MatrixView rows_of(const MatrixView&, std::size_t first, std::size_t n);

}  // namespace halyard::quant

// MLX affine quantisation: w = scale · q + bias for each group of a row, q unsigned, packed lowest bits first.
// The scalar forms here define what the kernels are held to. Format and rounding: mlx.core.quantize.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halyard/base/result.h"
#include "halyard/quant/format.h"

namespace halyard::quant {

/// A quantised matrix and the memory that its view refers to.
struct AffineMatrix {
  std::vector<std::byte> data;            ///< n rows of k·bits/8 bytes
  std::vector<std::byte> scales, biases;  ///< [n, k / group_size] of the source's dtype
};

/// Quantises a dense matrix: for each group the scale and bias that map its range onto 0 … 2^bits - 1, the end of greater
/// magnitude and zero falling on whole steps.
Result<AffineMatrix> quantise_affine(const MatrixView& dense, int bits, int group_size);

/// The integers of q.size() columns from `first` of a row of affine data.
void unpack_affine(const std::byte* row, int bits, std::size_t first, std::span<std::uint8_t> q);

extern const FormatInfo affine_format;

/// The matrix in its own dtype, [n, k], as mlx.core.dequantize rounds it.
std::vector<std::byte> dequantise(const MatrixView&);

/// y[t, i] = Σ_j x[t, j] · w[i, j] and magnitude[t, i] = Σ_j |x[t, j] · w[i, j]|, summed in f64: the reference for products.
struct ReferenceProduct {
  std::vector<double> y, magnitude;  ///< [t, n]
};
ReferenceProduct reference_product(const MatrixView&, std::span<const float> x, std::size_t t);

}  // namespace halyard::quant

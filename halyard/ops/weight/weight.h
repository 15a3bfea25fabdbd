// Weight matrices on a device.
#pragma once

#include <memory>
#include <span>

#include "halyard/hal/device.h"
#include "halyard/quant/format.h"

namespace halyard::ops {

enum class Precision : std::uint8_t {
  exact,  ///< f32 activations and sums, weights taken to f32 (affine: s·q + b); a row's result does not depend on T
  fast,   ///< the quickest form for the device: int8 activations in groups of 32 with affine weights, bf16 dot products
          ///< with bf16 ones where the processor has them
};

/// A weight matrix [n, k] in the layout that ops on one device want. Made once, at load; one copy serves products and rows
/// that are looked up.
class Weight {
 public:
  /// Fast affine weights are rearranged for the processor's dot products; others, and so all exact ones, are used where they
  /// lie: what is only looked up is best loaded so.
  static Result<Weight> load(Device, const quant::MatrixView&, Precision);
  /// Matrices of one shape and format: the experts of a layer, for matmul_experts.
  static Result<Weight> load_experts(Device, std::span<const quant::MatrixView>, Precision);

  std::size_t rows() const { return n_; }           ///< outputs
  std::size_t columns() const { return k_; }        ///< inputs
  std::size_t experts() const { return experts_; }  ///< 0: one matrix
  DType dtype() const { return dtype_; }            ///< of its values, or of the scales of quantised ones
  /// Bytes that one product with a single row reads.
  std::size_t bytes() const;
  /// Whether products need the activations packed (see pack_activations).
  bool wants_packed() const { return packed_; }

  struct Impl;

 private:
  friend struct WeightAccess;
  std::size_t n_ = 0, k_ = 0, experts_ = 0;
  DType dtype_ = DType::f32;
  bool packed_ = false;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace halyard::ops

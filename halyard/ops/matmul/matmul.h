// Products with weight matrices.
#pragma once

#include <span>

#include "halyard/hal/device.h"
#include "halyard/hal/encoder.h"
#include "halyard/quant/format.h"

namespace halyard::ops {

enum class Precision : std::uint8_t {
  exact,  ///< f32 activations and sums, weights taken to f32 (affine: s·q + b); a row's result does not depend on T
  fast,   ///< the quickest form for the device: int8 activations in groups of 32 with affine weights, bf16 dot products
          ///< with bf16 ones where the processor has them
};

/// A weight matrix [n, k] in the layout that products on one device want. Made once, at load.
class Weight {
 public:
  /// Fast affine weights are rearranged for the processor's dot products; others are used where they lie.
  static Result<Weight> load(Device, const quant::MatrixView&, Precision);
  /// Matrices of one shape and format: the experts of a layer, for matmul_experts.
  static Result<Weight> load_experts(Device, std::span<const quant::MatrixView>, Precision);

  std::size_t rows() const { return n_; }      ///< outputs
  std::size_t columns() const { return k_; }   ///< inputs
  std::size_t experts() const { return experts_; }  ///< 0: one matrix
  /// Bytes that one product with a single row reads.
  std::size_t bytes() const;
  /// Whether products need the activations packed (see pack_activations).
  bool wants_packed() const { return packed_; }

  struct Impl;

 private:
  friend struct MatmulAccess;
  std::size_t n_ = 0, k_ = 0, experts_ = 0;
  bool packed_ = false;
  std::shared_ptr<const Impl> impl_;
};

/// Bytes of the packed form of [t, k] activations.
std::size_t packed_bytes(std::size_t t, std::size_t k);
/// packed = x in int8 with an f32 scale and the sum of each group of 32 along k. x: f32 [T, k], k a multiple of 32;
/// packed: u8 [packed_bytes(T, k)], apart from x.
Result<void> pack_activations(CommandEncoder&, const Buffer& x, const Buffer& packed);

/// The left side of products: the activations, and their packed form where a weight wants it (else null).
struct Activations {
  Buffer x;       ///< f32 [T, k]
  Buffer packed;  ///< u8 [packed_bytes(T, k)] made by pack_activations from x, or null
};
struct MatmulOptions {
  Buffer bias = {};         ///< f32 [n] added to every row, or null
  bool accumulate = false;  ///< out += instead of out =
};
/// out[t, i] = Σ_j x[t, j] · w[i, j]. out: f32 [T, n], apart from x, packed, bias and the weight.
Result<void> matmul(CommandEncoder&, const Activations&, const Weight&, const Buffer& out, const MatmulOptions& = {});

/// The same where each row has an expert: out[p, i] = Σ_j x[p, j] · w[e, i, j], starts[e] ≤ p < starts[e + 1]. starts: i32 [E + 1],
/// ascending to at most the rows of x, or the command buffer fails; rows of no expert are undefined in out. out: f32 [T, n], apart
/// from all else.
Result<void> matmul_experts(CommandEncoder&, const Activations&, const Weight&, const Buffer& starts, const Buffer& out);

}  // namespace halyard::ops

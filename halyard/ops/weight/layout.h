// How weights lie in a backend's memory, and the kernels that read them so.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "halyard/hal/kernel.h"
#include "halyard/ops/weight/weight.h"

namespace halyard::ops {

/// A row of a backend's table. Which of them a matrix gets is decided at load: the first that takes it.
struct Layout {
  bool (*takes)(const quant::MatrixView&, Precision);
  bool packed_activations = false;  ///< products want them so
  /// Null: the bytes of the file, in one binding (dense), or three: data, scales, biases. Else writes unit `i` of as many as
  /// `units` says, each of `unit_bytes`, into zeros.
  void (*pack)(const quant::MatrixView&, std::size_t i, std::byte* out) = nullptr;
  std::size_t (*units)(std::size_t n) = nullptr;
  std::size_t (*unit_bytes)(const quant::MatrixView&) = nullptr;
  /// out = …; out += …, which also reads it; out = … with experts; and rows of it. See MatmulArgs, ExpertArgs, EmbeddingArgs.
  KernelDef store, accumulate, experts;
  const KernelDef* look_up;
};

/// The layouts of devices whose kernels are CPU forms, best first.
std::span<const Layout* const> cpu_layouts();
extern const Layout affine4_panels, affine8_panels;

struct Weight::Impl {
  const Layout* layout = nullptr;
  std::uint32_t n = 0, k = 0;
  std::uint32_t group = 0;       ///< elements of a group; 0: dense
  int bits = 0;                  ///< affine: of the source
  DType dtype = DType::f32;      ///< Weight::dtype
  std::array<Buffer, 3> memory;  ///< as many as `bindings`
  std::size_t bindings = 1;
};

struct WeightAccess {
  static const Weight::Impl* impl(const Weight& w) { return w.impl_.get(); }
};

}  // namespace halyard::ops

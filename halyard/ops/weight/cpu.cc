// The CPU's layouts: fast affine weights in panels, all others as their files have them.
#include "halyard/ops/embedding/kernels.h"
#include "halyard/ops/matmul/kernels.h"
#include "halyard/ops/weight/layout.h"
#include "halyard/ops/weight/panels.h"

namespace halyard::ops {
namespace {

using quant::Format;
using quant::MatrixView;

template <DType type> bool is_dense(const MatrixView& m, Precision) {
  return m.format == Format::dense && m.dtype == type;
}
bool is_fast_bf16(const MatrixView& m, Precision p) { return p == Precision::fast && is_dense<DType::bf16>(m, p); }
bool is_affine(const MatrixView& m, Precision) { return m.format == Format::affine; }
template <int bits> bool is_fast_affine(const MatrixView& m, Precision p) {
  return p == Precision::fast && is_affine(m, p) && panel_bits(m.bits) == bits;
}

const KernelDef embedding_dense = {"embedding_dense", "rrw", {.cpu = &cpu::embedding_dense}};
const KernelDef embedding_affine = {"embedding_affine", "rrrrw", {.cpu = &cpu::embedding_affine}};
const KernelDef embedding_panels = {"embedding_panels", "rrw", {.cpu = &cpu::embedding_panels}};

}  // namespace

/// The kernels of a layout; `weights`: its bindings.
#define HALYARD_KERNELS(kind, weights, rows)                                              \
  .store = {"matmul_" #kind, "r" weights "rw", {.cpu = &cpu::matmul_##kind}},             \
  .accumulate = {"matmul_" #kind "_add", "r" weights "rx", {.cpu = &cpu::matmul_##kind}}, \
  .experts = {"experts_" #kind, "r" weights "rw", {.cpu = &cpu::experts_##kind}}, .look_up = &embedding_##rows
#define HALYARD_PANELS .packed_activations = true, .pack = repack_panel, .units = panels_of, .unit_bytes = panel_bytes

const Layout affine4_panels = {.takes = is_fast_affine<4>, HALYARD_PANELS, HALYARD_KERNELS(affine4_fast, "r", panels)};
const Layout affine8_panels = {.takes = is_fast_affine<8>, HALYARD_PANELS, HALYARD_KERNELS(affine8_fast, "r", panels)};

namespace {

const Layout affine_rows = {.takes = is_affine, HALYARD_KERNELS(affine, "rrr", affine)};
const Layout bf16_fast_rows = {.takes = is_fast_bf16, HALYARD_KERNELS(bf16_fast, "r", dense)};
const Layout bf16_rows = {.takes = is_dense<DType::bf16>, HALYARD_KERNELS(bf16, "r", dense)};
const Layout f16_rows = {.takes = is_dense<DType::f16>, HALYARD_KERNELS(f16, "r", dense)};
const Layout f32_rows = {.takes = is_dense<DType::f32>, HALYARD_KERNELS(f32, "r", dense)};
constexpr const Layout* kLayouts[] = {&affine4_panels, &affine8_panels, &bf16_fast_rows, &affine_rows,
                                      &bf16_rows,      &f16_rows,       &f32_rows};

}  // namespace

std::span<const Layout* const> cpu_layouts() { return kLayouts; }

}  // namespace halyard::ops

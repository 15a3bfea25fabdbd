#include <algorithm>

#include "halyard/ops/matmul/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {
namespace {

const KernelDef gated_pack4_def = {"matmul_affine4_gated_pack", "rrrrrw", {1, gated_positions},
                                   HALYARD_CPU_KERNEL(matmul_affine4_gated_pack_cpu)};
const KernelDef gated_pack8_def = {"matmul_affine8_gated_pack", "rrrrrw", {1, gated_positions},
                                   HALYARD_CPU_KERNEL(matmul_affine8_gated_pack_cpu)};

/// out = x·w + other: a bias of one position, or `other` itself as what the product is added to. Fast affine products add
/// both to the finished sum, as the op does; the others begin with them.
template <const Product& product>
Fused product_into_add(Parts p) {
  const Record &matmul = p[0], &add = p[1];
  auto c = constants_of<MatmulArgs>(matmul);
  const bool left = add.bindings[0] == matmul.bindings[3], right = add.bindings[1] == matmul.bindings[3];
  if (left == right) return {};  // not all of it, or twice
  const Binding &other = add.bindings[left ? 1 : 0], &out = add.bindings[2];
  FusedDispatch f{.kernel = &product.store,
                  .grid = matmul.grid,
                  .bindings = {{0, 0}, {0, 1}, {0, 2}, {1, 2}},
                  .shared_bytes = matmul.shared_bytes};
  if (out == other) {
    f.kernel = &product.accumulate;
    c.accumulate = 1;
  } else if (!c.has_bias && matmul.grid.y == 1) {
    f.bindings[2] = {1, left ? 1U : 0U};
    c.has_bias = 1;
  } else {
    return {};
  }
  f.constants = c;
  return f;
}

template <const KernelDef& def>
Fused gate_and_up_into_pack(Parts p) {
  const Record &gate = p[0], &up = p[1], &pack = p[2];
  const GatedArgs c = {constants_of<MatmulArgs>(gate), constants_of<MatmulArgs>(up), constants_of<Gate>(pack)};
  const Binding *g = gate.bindings, *u = up.bindings;
  if (pack.bindings[0] != g[3] || pack.bindings[1] != u[3] || g[0] != u[0]) return {};
  if (c.gate.n != c.up.n || c.gate.k != c.up.k || c.gate.n % 32 != 0) return {};
  const std::uint32_t positions = gate.grid.y;
  return FusedDispatch{.kernel = &def,
                       .grid = {c.gate.n / 32, positions},
                       .bindings = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}},
                       .constants = c,
                       .shared_bytes = std::min(positions, gated_positions) * 64 * sizeof(float)};
}

}  // namespace

std::vector<FusionRule> matmul_rules() {
  return {{{"matmul_affine4_fast"}, "add_f32", product_into_add<affine4_fast>},
          {{"matmul_affine8_fast"}, "add_f32", product_into_add<affine8_fast>},
          {{"matmul_affine4_fast", "matmul_affine4_fast"}, "gated_pack", gate_and_up_into_pack<gated_pack4_def>},
          {{"matmul_affine8_fast", "matmul_affine8_fast"}, "gated_pack", gate_and_up_into_pack<gated_pack8_def>}};
}

}  // namespace halyard::ops

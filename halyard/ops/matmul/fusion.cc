#include <algorithm>

#include "halyard/ops/attention/kernels.h"
#include "halyard/ops/matmul/kernels.h"
#include "halyard/ops/rules.h"

namespace halyard::ops {
namespace {

// Tiles read as many rows of weights in a row as those of plain products do.
constexpr std::uint32_t gated_groups = tile_rows / 32;
const KernelDef gated_pack4_def = {"matmul_affine4_gated_pack", "rrrrrw", {gated_groups, fused_positions},
                                   HALYARD_CPU_KERNEL(matmul_affine4_gated_pack_cpu), true};
const KernelDef gated_pack8_def = {"matmul_affine8_gated_pack", "rrrrrw", {gated_groups, fused_positions},
                                   HALYARD_CPU_KERNEL(matmul_affine8_gated_pack_cpu), true};

constexpr KernelDef heads_kernel(std::string_view name, AccessList access, CpuKernelSelect cpu) {
  return {name, access, {1, fused_positions}, cpu, true};
}
const KernelDef heads4_def = heads_kernel("matmul_affine4_heads", "rrrrrrw", HALYARD_CPU_KERNEL(matmul_affine4_heads_cpu));
const KernelDef heads8_def = heads_kernel("matmul_affine8_heads", "rrrrrrw", HALYARD_CPU_KERNEL(matmul_affine8_heads_cpu));
const KernelDef append4_def =
    heads_kernel("matmul_affine4_heads_append", "rrrrrrx", HALYARD_CPU_KERNEL(matmul_affine4_heads_cpu));
const KernelDef append8_def =
    heads_kernel("matmul_affine8_heads_append", "rrrrrrx", HALYARD_CPU_KERNEL(matmul_affine8_heads_cpu));

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
  const std::uint64_t positions = gate.grid.y;
  return FusedDispatch{
      .kernel = &def,
      .grid = {c.gate.n / 32, positions},
      .bindings = {{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}},
      .constants = c,
      .shared_bytes = std::min<std::uint64_t>(positions, fused_positions) * 2 * tile_rows * sizeof(float)};
}

/// A product and the steps that `h` names. `weight`, `cos_sin`, `slots`, `out`: where they are bound.
Fused product_heads(const KernelDef& def, Parts p, const HeadConstants& h, FusedDispatch::From weight,
                    FusedDispatch::From cos_sin, FusedDispatch::From slots, FusedDispatch::From out) {
  const Record& matmul = p[0];
  const ProductHeadsArgs c = {constants_of<MatmulArgs>(matmul), h};
  const std::uint64_t positions = matmul.grid.y;
  if (matmul.bindings[3] != p[1].bindings[0] || h.head_dim % panel_rows != 0) return {};
  if (h.heads * h.head_dim != c.product.n || h.heads * positions != h.rows) return {};
  return FusedDispatch{
      .kernel = &def,
      .grid = {h.heads, positions},
      .bindings = {{0, 0}, {0, 1}, {0, 2}, weight, cos_sin, slots, out},
      .constants = c,
      .shared_bytes = (std::min<std::uint64_t>(positions, fused_positions) + 1) * h.head_dim * sizeof(float)};
}
template <const KernelDef& def, bool interleaved>
Fused product_into_rope(Parts p) {
  return product_heads(def, p, turned_heads(p[1], interleaved), {0, 1}, {1, 1}, {1, 1}, {1, 2});
}
template <const KernelDef& def>
Fused product_into_norm_rope(Parts p) {
  return product_heads(def, p, constants_of<HeadConstants>(p[1]), {1, 1}, {1, 2}, {1, 2}, {1, 4});
}
template <const KernelDef& def>
Fused product_into_append(Parts p) {
  const auto c = constants_of<KvAppendConstants>(p[1]);
  HeadConstants h = {};
  h.rows = c.rows;
  h.heads = c.pages.n_kv_heads;
  h.head_dim = c.pages.head_dim;
  return append_heads(h, p[1]) ? product_heads(def, p, h, {0, 1}, {0, 1}, {1, 1}, {1, 2}) : Fused();
}
template <const KernelDef& def>
Fused heads_into_append(Parts p) {
  const Record &heads = p[0], &append = p[1];
  auto c = constants_of<ProductHeadsArgs>(heads);
  if (heads.bindings[6] != append.bindings[0] || !append_heads(c.heads, append)) return {};
  return FusedDispatch{.kernel = &def,
                       .grid = heads.grid,
                       .bindings = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {1, 1}, {1, 2}},
                       .constants = c,
                       .shared_bytes = heads.shared_bytes};
}

/// The rules of fast affine products of one width.
template <const Product& product, const KernelDef& gated, const KernelDef& heads, const KernelDef& append>
std::vector<FusionRule> rules_of() {
  const std::string_view store = product.store.name;
  return {{{store}, "add_f32", product_into_add<product>},
          {{store, store}, "gated_pack", gate_and_up_into_pack<gated>},
          {{store}, "rope_half_split", product_into_rope<heads, false>},
          {{store}, "rope_interleaved", product_into_rope<heads, true>},
          {{store}, "norm_rope", product_into_norm_rope<heads>},
          {{store}, "kv_append", product_into_append<append>},
          {{heads.name}, "kv_append", heads_into_append<append>}};
}

}  // namespace

std::vector<FusionRule> matmul_rules() {
  std::vector<FusionRule> rules = rules_of<affine4_fast, gated_pack4_def, heads4_def, append4_def>();
  const std::vector<FusionRule> wide = rules_of<affine8_fast, gated_pack8_def, heads8_def, append8_def>();
  rules.insert(rules.end(), wide.begin(), wide.end());
  return rules;
}

}  // namespace halyard::ops
